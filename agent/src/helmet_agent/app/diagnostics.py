# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent diagnostics``: one archive with what somebody needs who looks for a fault from afar, and no secret.

Everything goes through `Scrubber` on its way in. Files with secrets, keys and pictures are never read into it.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent import __version__
from helmet_agent.app.checks import ask_agent, bundled_manifest
from helmet_agent.app.doctor import diagnose
from helmet_agent.app.model_commands import list_models
from helmet_agent.app.scrubbing import Scrubber
from helmet_agent.app.settings import settings_from_file
from helmet_agent.durable import reported, write_atomic
from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.config import AgentConfig

EVENT_LINES = 500
JOURNAL_LINES = 1000
JOURNAL_SECONDS = 20.0
UNIT = "helmet-agent"
MACHINE_FILES = ("/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/etc/os-release")


def write_diagnostics(config_file: Path, output: Path) -> tuple[str, ...]:
    """Writes the archive, readable by its owner only; returns the names in it.

    What cannot be had is in the archive as a line that says why: a broken node is what it is for.

    Args:
        config_file: the agent's configuration; it may be wrong.
        output: the archive, ``.tar.gz``; its folder must exist.

    Raises:
        StorageError: it was not written.
    """
    try:
        config: AgentConfig | None = settings_from_file(config_file)
    except AgentError:
        config = None  # doctor.json says what is wrong with it
    scrub = Scrubber.of(config)
    members = {name: _text(make) for name, make in _members(config_file, config).items()}
    content = _packed({name: scrub(text) for name, text in members.items() if text})
    with reported("write", output):
        write_atomic(output, content, mode=0o600)
    return tuple(name for name, text in members.items() if text)


def _members(config_file: Path, config: AgentConfig | None) -> dict[str, Callable[[], object]]:
    makers: dict[str, Callable[[], object]] = {
        "version.json": _version,
        "agent.toml": lambda: config_file.read_text(errors="replace"),
        "doctor.json": lambda: diagnose(config_file, cameras=False).to_json(),
        "machine.json": lambda: _machine(config),
        "journal.txt": _journal,
    }
    if config is not None:
        node = config
        makers |= {
            "models.json": lambda: list_models(config_file),
            "health.json": lambda: ask_agent(node, "/healthz")[1],
            "status.json": lambda: ask_agent(node, "/v1/status")[1],
            "events.jsonl": lambda: _tail(node.node.data_dir / "events" / "events.jsonl", EVENT_LINES),
        }
    return makers


def _text(make: Callable[[], object]) -> str:
    try:
        made = make()
    except (AgentError, OSError, subprocess.SubprocessError) as error:
        return f"not to be had: {error}\n"
    return made if isinstance(made, str) else json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _version() -> dict[str, Any]:
    about = {"version": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return about | {"bundled_model": bundled_manifest().model.sha256, "collected_at": time.time()}


def _machine(config: AgentConfig | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"kernel": platform.release(), "processors": os.cpu_count()}
    for name in MACHINE_FILES:
        try:
            facts[name] = Path(name).read_text().splitlines()
        except OSError as error:
            facts[name] = f"not to be had: {error.strerror}"
    folders = {"/"} | ({str(config.node.data_dir)} if config is not None else set())
    for folder in sorted(folders):
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            facts[f"disk {folder}"] = f"not to be had: {error.strerror}"
        else:
            facts[f"disk {folder}"] = {"total_bytes": usage.total, "free_bytes": usage.free}
    return facts


def _journal() -> str:
    """The end of the unit's journal; nothing where there is no journal."""
    program = shutil.which("journalctl")
    if program is None:
        return ""
    command = (program, "--unit", UNIT, "--lines", str(JOURNAL_LINES), "--no-pager", "--output", "short-iso")
    done = subprocess.run(  # noqa: S603 - a program of the system's, with words of ours
        command, capture_output=True, text=True, errors="replace", timeout=JOURNAL_SECONDS, check=False
    )
    return done.stdout + done.stderr


def _tail(path: Path, lines: int) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, maxlen=lines))


def _packed(members: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in members.items():
            content = text.encode()
            info = tarfile.TarInfo(f"helmet-diagnostics/{name}")
            info.size, info.mode, info.mtime = len(content), 0o600, int(time.time())
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()
