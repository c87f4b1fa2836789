# SPDX-License-Identifier: Apache-2.0
"""Writes a configuration back as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

from helmet_agent.config.keys import Key, entries

if TYPE_CHECKING:
    from helmet_agent.config.schema import AgentConfig


def to_toml(config: AgentConfig) -> str:
    """The file that reads back as this configuration; keys that stand at their default are left out.

    It holds what the configuration holds: an address with a password in it is written as it is.
    """
    return "\n".join(_table(config, "")).strip() + "\n"


def toml_value(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_value(str(key))} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for surrogate pairs and for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _table(part: object, at: str) -> Iterator[str]:
    inner: list[str] = []
    for entry, meaning in entries(type(part)):
        value = getattr(part, entry.name)
        where = f"{at}.{entry.name}" if at else entry.name
        if isinstance(meaning, Key):
            default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
            if value != default:
                yield f"{entry.name} = {toml_value(meaning.kind.write(value))}"
        elif meaning.many:
            for item in value:
                inner += [f"\n[[{where}]]", *_table(item, where)]
        else:
            lines = list(_table(value, where))
            bare = not lines or lines[0].startswith("\n")
            inner += lines if bare else [f"\n[{where}]", *lines]
    yield from inner
