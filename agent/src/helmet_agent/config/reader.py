# SPDX-License-Identifier: Apache-2.0
"""Reads TOML tables into the schema's dataclasses and collects every problem on the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from helmet_agent.config.keys import Key, Section, entries
from helmet_agent.config.kinds import UnfitValueError, kind_of, shown

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}\Z")


def nearest(name: str, known: Collection[str]) -> str:
    """What a misspelt name most likely means, as the end of a sentence."""
    close = get_close_matches(name[:100], list(known), 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


class Reader:
    """One pass over a document.

    Attributes:
        problems: one line each, ``key.path: what was expected, found X``.
    """

    def __init__(self, base: Path, rules: Collection[str] | None = None) -> None:
        self.problems: list[str] = []
        self._base = base
        self._rules = rules

    def table(self, cls: type[T], value: object, at: str = "") -> T | None:
        """Reads a table; None if anything in it was wrong (and is now in ``problems``)."""
        if not isinstance(value, Mapping):
            self._problem(at, f"expected a table [{at}], found {kind_of(value)}")
            return None
        before = len(self.problems)
        known = {entry.name: entry for entry, _ in entries(cls)}
        found: dict[str, Any] = {}
        for entry, meaning in entries(cls):
            where = f"{at}.{entry.name}" if at else entry.name
            if entry.name in value:
                found[entry.name] = self._value(meaning, value[entry.name], where)
            elif entry.default is MISSING and entry.default_factory is MISSING and isinstance(meaning, Key):
                self._problem(where, f"expected {meaning.kind.expected}, found nothing")
        for name in value:
            if name not in known:
                self._problem(_join(at, name), f"unknown {'key' if at else 'section or key'}; {nearest(name, known)}")
        if len(self.problems) > before:
            return None
        made = cls(**found)
        return made if self._agrees(made, at) else None

    def _value(self, meaning: Key | Section, value: object, where: str) -> Any:
        if isinstance(meaning, Key):
            return self._key(meaning, value, where)
        if not meaning.many:
            return self.table(meaning.cls, value, where)
        if not isinstance(value, list):
            self._problem(where, f"expected a list of tables [[{where}]], found {kind_of(value)}")
            return None
        if meaning.unique:
            self._repeats(value, meaning.unique, where)
        return tuple(self.table(meaning.cls, item, f"{where}[{index}]") for index, item in enumerate(value))

    def _key(self, meaning: Key, value: object, where: str) -> Any:
        kind = meaning.kind
        try:
            return kind.read(value, self._base)
        except UnfitValueError as error:
            display = kind_of(value) if kind.private else shown(value)
            self._problem(where, str(error) or f"expected {kind.expected}, found {display}")
            return None

    def _repeats(self, items: list[Any], unique: str, where: str) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(items):
            name = item.get(unique) if isinstance(item, Mapping) else None
            if not isinstance(name, str):
                continue
            if name in seen:
                first = f"{where}[{seen[name]}]"
                self._problem(
                    f"{where}[{index}].{unique}",
                    f"expected a name that is used once, found {shown(name)} as in {first}",
                )
            else:
                seen[name] = index
                if where == "mining.rules" and self._rules is not None and name not in self._rules:
                    self._problem(
                        f"{where}[{index}].{unique}",
                        f"expected a mining rule, found {shown(name)}; {nearest(name, self._rules)}",
                    )

    def _agrees(self, made: object, at: str) -> bool:
        check = getattr(made, "problems", None)
        found = list(check()) if check else []
        for name, message in found:
            self._problem(_join(at, name), message)
        return not found

    def _problem(self, where: str, message: str) -> None:
        self.problems.append(f"{where}: {message}")


def _join(at: str, name: str) -> str:
    shown_name = name if _BARE_KEY.match(name) else shown(name)
    return f"{at}.{shown_name}" if at else shown_name
