# SPDX-License-Identifier: Apache-2.0
"""Reads JSON objects field by field, with an error that names the place and what was expected there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class ContractError(ValueError):
    """A document does not follow the contract; the message begins with the path of the offending field."""


class Fields:
    """A view of one JSON object that checks types as it reads and knows which keys were asked for.

    Args:
        value: the decoded JSON value; must be an object.
        path: where it stands in the document, for messages; empty for the top.

    Raises:
        ContractError: from every method, when the field is missing or cannot be right.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, Mapping):
            raise ContractError(f"{path or 'document'}: expected an object, found {_kind(value)}")
        self._value: Mapping[str, object] = value
        self._path = path
        self._seen: set[str] = set()

    def path(self, key: str) -> str:
        """The field's full path, such as ``golden[0].file``."""
        return f"{self._path}.{key}" if self._path else key

    def fail(self, key: str, expected: str) -> ContractError:
        """An error for one field of this object."""
        return ContractError(f"{self.path(key)}: expected {expected}, found {_kind(self._value.get(key))}")

    def has(self, key: str) -> bool:
        """Whether the field is present and not null."""
        self._seen.add(key)
        return self._value.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty string."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value:
            raise self.fail(key, "a non-empty string")
        return value

    def name(self, key: str) -> str:
        """A string that is safe as the name of one file: no separators, no leading dot."""
        value = self.text(key)
        if not _SAFE_NAME.match(value):
            raise self.fail(key, "a plain file name of letters, digits, '.', '_' and '-'")
        return value

    def sha256(self, key: str) -> str:
        """64 lower-case hexadecimal digits."""
        value = self._get(key, None)
        if not isinstance(value, str) or not _SHA256.match(value):
            raise self.fail(key, "64 lower-case hexadecimal digits")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in [low, high]."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f"a whole number from {low} to {high}")
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]."""
        return _number(self._get(key, default), self.path(key), low, high)

    def objects(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects; absent reads as empty."""
        return tuple(read(Fields(item, path)) for path, item in self._items(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of non-empty strings; absent reads as empty."""
        found: list[str] = []
        for path, item in self._items(key):
            if not isinstance(item, str) or not item:
                raise ContractError(f"{path}: expected a non-empty string, found {_kind(item)}")
            found.append(item)
        return tuple(found)

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """A list of finite numbers in [low, high]; absent reads as empty."""
        return tuple(_number(item, path, low, high) for path, item in self._items(key))

    def child(self, key: str) -> Fields:
        """A required object."""
        return Fields(self._get(key, None), self.path(key))

    def mapping(self, key: str) -> dict[str, Any]:
        """A free-form object, copied; absent reads as empty."""
        value = self._get(key, {})
        if not isinstance(value, Mapping):
            raise self.fail(key, "an object")
        return dict(value)

    def done(self) -> None:
        """Refuses fields nobody asked for: a misspelt key must not be silently ignored."""
        unknown = sorted(set(self._value) - self._seen)
        if unknown:
            raise ContractError(f"{self.path(unknown[0])}: unknown field; known are {', '.join(sorted(self._seen))}")

    def _get(self, key: str, default: object) -> object:
        self._seen.add(key)
        value = self._value.get(key)
        if value is None:
            if default is None:
                raise ContractError(f"{self.path(key)}: missing")
            return default
        return value

    def _items(self, key: str) -> Iterator[tuple[str, object]]:
        value = self._get(key, [])
        if not isinstance(value, list | tuple):
            raise self.fail(key, "a list")
        for index, item in enumerate(value):
            yield f"{self.path(key)}[{index}]", item


def _number(value: object, path: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(f"{path}: expected a number from {low:g} to {high:g}, found {_kind(value)}")
    if not low <= value <= high or not math.isfinite(value):
        raise ContractError(f"{path}: expected a number from {low:g} to {high:g}, found {value!r}")
    return float(value)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - enough to recognise the value
