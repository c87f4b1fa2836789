# SPDX-License-Identifier: Apache-2.0
"""The configuration, from a file or from Sedna's environment, checked against the rules and the model there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.app.models import served_manifest
from helmet_agent.config import load_config
from helmet_agent.sedna_env import read_sedna_env
from helmet_agent.vision.mining import OWN_RULES, SEDNA_RULES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from helmet_agent.config import AgentConfig

KNOWN_RULES = (*SEDNA_RULES, *OWN_RULES)


def settings_from_file(path: Path) -> AgentConfig:
    """Reads the TOML file.

    Raises:
        ConfigError: every problem there is, one a line.
    """
    return load_config(path, KNOWN_RULES)


def settings_from_environment(environ: Mapping[str, str], *, until_eof: bool) -> AgentConfig:
    """Reads the environment of Sedna's inference worker and compares it with the model.

    Raises:
        ConfigError: every problem there is, one a line. ModelError: the model's manifest cannot be read.
    """
    found = read_sedna_env(environ, KNOWN_RULES, until_eof=until_eof)
    found.check_model(served_manifest(found.config))
    return found.config
