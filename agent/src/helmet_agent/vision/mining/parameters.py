# SPDX-License-Identifier: Apache-2.0
"""Reads the parameters of a rule, which resources carry as strings, into the fields of its dataclass."""

from __future__ import annotations

import difflib
import math
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def number(default: float, low: float = 0.0, high: float = 1.0) -> Any:
    """A dataclass field that is a parameter: a number in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "read": float})


def whole(default: int, low: int, high: int) -> Any:
    """A dataclass field that is a parameter: a whole number in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "read": int})


def read(rule: str, dataclass: type[Any], given: Mapping[str, str]) -> dict[str, float]:
    """The constructor arguments that the given parameters make; absent ones keep the field's default.

    Raises:
        ContractError: a parameter that the rule does not have (with the nearest it has), or a value that is no number
            or outside its range. The message begins with ``mining.<rule>.<parameter>``.
    """
    known = {item.name: item.metadata for item in fields(dataclass) if "read" in item.metadata}
    arguments: dict[str, float] = {}
    for key, text in given.items():
        if key not in known:
            raise ContractError(f"mining.{rule}.{key}: unknown parameter{nearest(key, known)}")
        arguments[key] = _read(f"mining.{rule}.{key}", text, **known[key])
    return arguments


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: what was probably meant, and what there is."""
    names = list(known)
    folded = {each.casefold(): each for each in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f"; did you mean {folded[close[0]]!r}?" if close else ""
    return f"{hint} (known: {', '.join(names) or 'none'})"


def _read(path: str, text: str, *, low: float, high: float, read: type[int | float]) -> float:
    kind = "a whole number" if read is int else "a number"
    try:
        value = read(str(text).strip())
    except ValueError:
        value = math.nan
    if not low <= value <= high:  # not a number included
        raise ContractError(f"{path}: expected {kind} from {low:g} to {high:g}, found {text!r}")
    return value
