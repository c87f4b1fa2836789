# SPDX-License-Identifier: Apache-2.0
"""edgecore.yaml by its keys.

edgecore writes the file anew, with every default and in its own order; only the keys that were asked for count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Maps whose keys are data: one that is no longer asked for has to go.
_WHOLE = ("nodeLabels",)
_SECRET = "token"  # noqa: S105 - a key's name
_MASK = "***"


def parsed(text: str) -> dict[str, Any]:
    """The document; empty where the text is none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def merged(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The present document with what was asked for in it; lists are replaced."""
    found = dict(present)
    for key, value in wanted.items():
        deeper = isinstance(value, dict) and isinstance(found.get(key), dict) and key not in _WHOLE
        found[key] = merged(found[key], value) if deeper else value
    return found


def brought_to(text: str, wanted: Mapping[str, Any]) -> str:
    """The text as it is where all that was asked for is in it, else written anew."""
    present = parsed(text)
    after = merged(present, wanted)
    return text if present == after and text else yaml.safe_dump(after, sort_keys=True)


def differences(text: str, wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted key, value before, value after; a token is never among the values."""
    present = parsed(text)
    return list(_differences(present, merged(present, wanted), ""))


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(after, dict) and isinstance(before, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif path.rpartition(".")[2] == _SECRET:
        yield path, _MASK if before else before, _MASK if after else after
    else:
        yield path, _masked(before), _masked(after)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _MASK if key == _SECRET and part else _masked(part) for key, part in value.items()}
    return value
