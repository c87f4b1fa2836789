# SPDX-License-Identifier: Apache-2.0
"""The agent's configuration: one TOML file, every key checked, all problems reported at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.config.hub import HubConfig
from helmet_agent.config.kinds import Listen
from helmet_agent.config.reader import Reader
from helmet_agent.config.schema import (
    AgentConfig,
    ApiConfig,
    ComplianceConfig,
    DetectionConfig,
    EventsConfig,
    LogConfig,
    MemoryConfig,
    MiningConfig,
    ModelConfig,
    NodeConfig,
    ResultsConfig,
    RuleConfig,
    SinkConfig,
    SourceConfig,
    SpoolConfig,
)
from helmet_agent.config.updates import UpdatesConfig
from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "AgentConfig",
    "ApiConfig",
    "ComplianceConfig",
    "DetectionConfig",
    "EventsConfig",
    "HubConfig",
    "Listen",
    "LogConfig",
    "MemoryConfig",
    "MiningConfig",
    "ModelConfig",
    "NodeConfig",
    "ResultsConfig",
    "RuleConfig",
    "SinkConfig",
    "SourceConfig",
    "SpoolConfig",
    "UpdatesConfig",
    "load_config",
    "read_config",
]

MAX_CONFIG_BYTES = 1 << 20


def load_config(path: Path | str, known_rules: Collection[str] | None = None) -> AgentConfig:
    """Reads and checks a configuration file.

    Args:
        path: the TOML file; relative paths in it start from its folder.
        known_rules: names of the mining rules there are; None leaves them unchecked.

    Raises:
        ConfigError: it cannot be read or used. One line for each problem:
            ``FILE: key.path: what was expected, found X``.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return read_config(content, str(path), path.absolute().parent, known_rules)


def read_config(content: bytes, name: str, base: Path, known_rules: Collection[str] | None = None) -> AgentConfig:
    """Reads and checks the content of a configuration file.

    Args:
        content: TOML, at most 1 MiB.
        name: what messages call the file.
        base: folder that relative paths start from; absolute.
        known_rules: as for load_config.

    Raises:
        ConfigError: as for load_config.
    """
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{name}: expected at most {MAX_CONFIG_BYTES} bytes of TOML, found more")
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: expected TOML in UTF-8, found other bytes at position {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: expected TOML, found a mistake: {error}") from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits and tables thousands deep are beyond Python's reader.
        raise ConfigError(f"{name}: expected TOML, found numbers too long or tables too deep to read") from error
    reader = Reader(base, known_rules)
    found = reader.table(AgentConfig, document)
    if found is None:
        raise ConfigError("\n".join(f"{name}: {problem}" for problem in reader.problems))
    return found
