# SPDX-License-Identifier: Apache-2.0
"""The commands that look and change nothing: check-config, self-test, health, version."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.config import AgentConfig
    from helmet_agent.contract import ModelManifest

HEALTH_TIMEOUT_SECONDS = 5.0


def bundled_manifest() -> ModelManifest:
    """The manifest of the model that ships with the agent.

    Raises:
        ManifestError: the installation is damaged.
    """
    from helmet_agent.adapters.litert import bundled_model_dir, load_manifest  # noqa: PLC0415 - loads LiteRT

    return load_manifest(bundled_model_dir())


def check_config(file: Path) -> str:
    """Reads a configuration with everything that can be checked without opening cameras; returns one reassuring line.

    Raises:
        ConfigError: every problem there is, one a line.
    """
    from helmet_agent.app.composition import check_composition  # noqa: PLC0415 - loads OpenCV
    from helmet_agent.app.settings import settings_from_file  # noqa: PLC0415 - as above
    from helmet_agent.app.system_clock import SystemClock  # noqa: PLC0415 - as above

    config = settings_from_file(file)
    try:
        check_composition(config, SystemClock())
    except AgentError as error:
        raise ConfigError(f"{file}: {error}") from error
    count = len(config.sources)
    return f"{file}: good; node {config.node.name}, {count} source{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class SelfTest:
    """What a self-test found.

    Attributes:
        model: name of the model.
        digest: sha256 of its file.
        golden: how many golden frames it was shown.
        load_seconds, first_seconds: how long loading and the first golden frame took.
        problems: one line each; empty when the model may serve here.
    """

    model: str
    digest: str
    golden: int
    load_seconds: float
    first_seconds: float
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "ok": not self.problems,
            "model": self.model,
            "sha256": self.digest,
            "golden_frames": self.golden,
            "load_seconds": round(self.load_seconds, 4),
            "probe_seconds": round(self.first_seconds, 4),
            "problems": list(self.problems),
        }

    def text(self) -> str:
        """For people."""
        if self.problems:
            return "\n".join([f"model {self.model} must not serve here:", *(f"  {line}" for line in self.problems)])
        return (
            f"model {self.model} ({self.digest[:12]}) is good: {self.golden} golden frames recognised, "
            f"loaded in {1000 * self.load_seconds:.0f} ms"
        )


def self_test(config_file: Path | None) -> SelfTest:
    """Loads the model and shows it its golden frames.

    Raises:
        ConfigError: the configuration cannot be used. ModelError: the model cannot even be loaded.
    """
    from helmet_agent.adapters.litert import bundled_model_dir, load_model  # noqa: PLC0415 - loads LiteRT
    from helmet_agent.detector import HelmetDetector, probe  # noqa: PLC0415 - as above

    folder, threads = bundled_model_dir(), 1
    if config_file is not None:
        config = _load(config_file)
        folder, threads = config.model.path or folder, config.model.threads
    started = time.monotonic()
    model = load_model(folder, threads)
    loaded = time.monotonic()
    manifest = model.manifest
    problems = probe(HelmetDetector(model), folder if folder.is_dir() else folder.parent)
    return SelfTest(
        manifest.name,
        manifest.model.sha256,
        len(manifest.golden),
        loaded - started,
        time.monotonic() - loaded,
        tuple(problems),
    )


def ask_health(config_file: Path | None) -> tuple[bool, dict[str, Any]]:
    """Asks the running agent; (whether it is well, its answer).

    Raises:
        ConfigError: the configuration cannot be used, or has the API switched off.
        AgentError: nobody answers there.
    """
    config = _load(config_file)
    if not config.api.enabled:
        raise ConfigError(f"{config_file}: api.enabled is false, so the running agent cannot be asked")
    return ask_agent(config, "/healthz")


def ask_agent(config: AgentConfig, path: str) -> tuple[bool, dict[str, Any]]:
    """Asks the agent that runs with this configuration for a JSON object; (whether it says it is well, the object).

    Raises:
        ConfigError: its token cannot be read. AgentError: nobody answers there, or no agent.
    """
    import httpx  # noqa: PLC0415 - only what asks needs it

    headers = {}
    if config.api.token_file is not None:
        try:
            headers["Authorization"] = f"Bearer {config.api.token_file.read_text().strip()}"
        except OSError as error:
            raise ConfigError(f"{config.api.token_file}: the token cannot be read: {error.strerror}") from error
    listen = config.api.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - asked, not bound
    address = f"http://{f'[{host}]' if ':' in host else host}:{listen.port}{path}"
    try:
        answer = httpx.get(address, headers=headers, timeout=HEALTH_TIMEOUT_SECONDS, trust_env=False)
        document = answer.json()
    except httpx.HTTPError as error:
        raise AgentError(f"{address}: nobody answers ({error}); is the agent running?") from error
    except ValueError as error:
        raise AgentError(f"{address}: somebody else answers there, no helmet-agent") from error
    if not isinstance(document, dict):
        raise AgentError(f"{address}: somebody else answers there, no helmet-agent")
    return answer.is_success, document


def _load(config_file: Path | None) -> AgentConfig:
    from helmet_agent.config import AgentConfig, load_config  # noqa: PLC0415 - only when asked for

    return AgentConfig.defaults() if config_file is None else load_config(config_file)
