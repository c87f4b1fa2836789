# SPDX-License-Identifier: Apache-2.0
"""The configuration, from a file or from Sedna's environment, checked against the rules and the model there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from helmet_agent.app.models import served_manifest
from helmet_agent.app.sedna_updates import unpacked_slot
from helmet_agent.config import load_config
from helmet_agent.sedna_env import read_sedna_env
from helmet_agent.vision.mining import OWN_RULES, SEDNA_RULES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from helmet_agent.config import AgentConfig
    from helmet_agent.sedna_env import SednaEnvironment

KNOWN_RULES = (*SEDNA_RULES, *OWN_RULES)


def settings_from_file(path: Path) -> AgentConfig:
    """Reads the TOML file.

    Raises:
        ConfigError: every problem there is, one a line.
    """
    return load_config(path, KNOWN_RULES)


def settings_from_environment(environ: Mapping[str, str], *, until_eof: bool) -> SednaEnvironment:
    """Reads the environment of Sedna's inference worker and compares it with the model.

    Raises:
        ConfigError: every problem there is, one a line. ModelError: the model's manifest cannot be read.
        UpdateError: Sedna's cold update left something that is no model.
    """
    found = read_sedna_env(environ, KNOWN_RULES, until_eof=until_eof)
    if found.model_slot is not None:
        folder = unpacked_slot(found.model_slot, found.config.node.data_dir)
        if folder is not None:
            found = replace(found, config=replace(found.config, model=replace(found.config.model, path=folder)))
    found.check_model(served_manifest(found.config))
    return found
