#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/configuration.md and the example configuration from the agent's schema; --check only compares."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import MISSING, Field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.config.document import toml_value
from helmet_agent.config.keys import Key, Section, entries
from helmet_agent.config.schema import AgentConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "agent" / "src" / "helmet_agent" / "assets" / "agent.example.toml"

INTRODUCTION = """\
# Configuration of the agent

<!-- Made by tools/config_doc.py from helmet_agent/config/schema.py; change it there and run `tools/config_doc.py`. -->

One TOML file, given to `helmet-agent run --config FILE`. Every key has the default shown here, so a file names only
what differs; a source's `name` and `url` are the only keys that must be given. `helmet-agent check-config FILE` reports
every mistake at once, one line each, and ends with exit code 2 if there is one. A commented file with all keys comes
with the agent: [agent.example.toml](../agent/src/helmet_agent/assets/agent.example.toml).

- Sizes are whole numbers of bytes or strings such as `"500Mi"` and `"2Gi"`; times are numbers of the unit in the key.
- Relative paths start from the folder of the file.
- Unknown keys are refused, with the nearest known one.
- Secrets stand in files of their own (`credentials_file`, `token_file`); no message shows them.
- `run --from-sedna-env` needs no file: [what it reads](#sednas-environment).
"""

# ruff: noqa: E501 - a table row is one line
SEDNA = """\
## Sedna's environment

`helmet-agent run --from-sedna-env` takes what Sedna gives an inference worker instead of a file.

| variable | becomes |
|---|---|
| `MODEL_URL` | `model.path`; a file such as `/models/deploy_model/saved_model.pb` names the folder it lies in, unless it is a package (what Sedna's cold update leaves): that is unpacked |
| `HEM_NAME`, `HEM_PARAMETERS` | the only rule in `mining.rules`; `mining.follow_manifest` is off |
| `video_url` | the source `video`; a file is played at its own rate, over and over (with `--until-eof` once, every frame); `file://video/video.mp4` is `/video/video.mp4` |
| `HE_SAVED_URL` | `sink.directory` |
| `RESULT_SAVED_URL` | `results.directory`; pictures, the last thousand (with `--until-eof` a video) |
| `obj_threshold` | `detection.min_score` |
| `nms_threshold` | `detection.nms_iou` |
| `input_shape`, `class_names` | compared with the model's manifest when it is loaded |
| `MODEL_HOT_UPDATE`, `MODEL_POLL_PERIOD_SECONDS`, `MODEL_HOT_UPDATE_CONFIG` | new models by [Sedna's hot update](sedna-on-kubernetes.md), through the updater |
| `LC_SERVER` | who is told what became of a new model; `http://localhost:9100` |
| `WORKER_NAME` | `node.name` |
| `NAMESPACE`, `JOB_NAME` | `updates.follow` with hot update, and in reports |
| `DATA_PATH_PREFIX` | nothing; the paths above are the container's own already |
| `LOG_LEVEL` | `log.level` |
| `HELMET_AGENT_DATA_DIR`, `HELMET_AGENT_LISTEN`, `HELMET_AGENT_TOKEN_FILE`, `HELMET_AGENT_PROBATION_SECONDS` | `node.data_dir`, `api.listen`, `api.token_file`, `updates.probation_seconds` (this project's own) |
"""


def reference() -> str:
    """The reference page."""
    parts = [INTRODUCTION]
    for path, section in _sections():
        title = f"`[[{path}]]`" if section.many else f"`[{path}]`"
        parts.append(f"## {title}\n\n{_about(section)}\n")
        rows = ["| key | default | what it may be | meaning |", "|---|---|---|---|"]
        rows += [
            f"| `{entry.name}` | {_default(entry, key)} | {_cell(key.kind.expected)} | {_cell(key.about)} |"
            for entry, key in _keys(section.cls)
        ]
        parts.append("\n".join(rows) + "\n")
    parts.append(SEDNA)
    return "\n".join(parts)


def example() -> str:
    """A configuration with every key at its default, commented out, and one source."""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        "# Configuration of helmet-agent. Every key stands here with its default, commented out.",
        "# Check a file with `helmet-agent check-config FILE`.",
    ]
    for path, section in _sections():
        lines += ["", *textwrap.wrap(_about(section), 110, initial_indent="# ", subsequent_indent="# ")]
        optional = path == "mining.rules"
        title = f"[[{path}]]" if section.many else f"[{path}]"
        lines.append(f"# {title}" if optional else title)
        for entry, key in _keys(section.cls):
            lines += textwrap.wrap(_comment(key), 110, initial_indent="# ", subsequent_indent="# ")
            line = f"{entry.name} = {key.example or toml_value(_written(entry, key))}"
            needed = _must_be_given(entry) and not optional
            lines.append(line if needed else f"# {line}" + (f"  # default: {key.absent}" if key.absent else ""))
    return "\n".join(lines) + "\n"


def _comment(key: Key) -> str:
    expected = key.kind.expected
    return key.about if expected in key.about or expected == "true or false" else f"{key.about} Expected: {expected}."


def _must_be_given(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _about(section: Section) -> str:
    return " ".join((section.cls.__doc__ or "").split())


def _sections(cls: type = AgentConfig, at: str = "") -> Iterator[tuple[str, Section]]:
    for entry, meaning in entries(cls):
        if isinstance(meaning, Section):
            path = f"{at}.{entry.name}" if at else entry.name
            yield path, meaning
            yield from _sections(meaning.cls, path)


def _keys(cls: type) -> Iterator[tuple[Field[Any], Key]]:
    for entry, meaning in entries(cls):
        if isinstance(meaning, Key):
            yield entry, meaning


def _default(entry: Field[Any], key: Key) -> str:
    if key.absent:
        return key.absent if "`" in key.absent or '"' not in key.absent else f"`{key.absent}`"
    if _must_be_given(entry):
        return "must be given"
    return f"`{toml_value(_written(entry, key))}`"


def _written(entry: Field[Any], key: Key) -> Any:
    default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
    return key.kind.write(default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Writes both files, or with --check says whether they are current."""
    wanted = {REFERENCE: reference(), EXAMPLE: example()}
    if arguments not in ([], ["--check"]):
        print("usage: config_doc.py [--check]", file=sys.stderr)
        return 2
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if arguments:
            print(f"{path.relative_to(ROOT)}: not current; run tools/config_doc.py", file=sys.stderr)
        else:
            path.write_text(wanted[path])
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
