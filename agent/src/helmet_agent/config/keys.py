# SPDX-License-Identifier: Apache-2.0
"""How a dataclass field says which configuration key it is: its kind, its default and what it means."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from helmet_agent.config.kinds import Kind

T = TypeVar("T")
_META = "helmet_agent.config"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        kind: checks it.
        about: explains it in the reference.
        absent: what leaving it out means, where the default is not a value that could be written.
        example: a value for the example file, as TOML, where there is no default to show.
    """

    kind: Kind[Any]
    about: str
    absent: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table ``[name]`` or, if ``many``, a list of tables ``[[name]]`` whose ``unique`` key must not repeat."""

    cls: type
    many: bool = False
    unique: str = ""


def key(kind: Kind[T], default: T, about: str, *, absent: str = "", example: str = "") -> T:
    """A key with a default."""
    return field(default=default, metadata={_META: Key(kind, about, absent, example)})


def computed(kind: Kind[T], factory: Callable[[], T], about: str, *, absent: str, example: str) -> T:
    """A key whose default is found when the configuration is read."""
    return field(default_factory=factory, metadata={_META: Key(kind, about, absent, example)})


def required(kind: Kind[T], about: str, *, example: str) -> dict[str, Key]:
    """The metadata of a key that must be given; use as ``field(metadata=required(...))``."""
    return {_META: Key(kind, about, example=example)}


def section(cls: type[T]) -> T:
    """A table of keys that all have defaults."""
    return field(default_factory=cls, metadata={_META: Section(cls)})


def sections(cls: type[T], *, unique: str = "") -> tuple[T, ...]:
    """A list of tables, empty by default."""
    return field(default=(), metadata={_META: Section(cls, many=True, unique=unique)})


def entries(cls: type) -> Iterator[tuple[Field[Any], Key | Section]]:
    """The keys and sections of a configuration dataclass, in order."""
    for entry in fields(cls):
        yield entry, entry.metadata[_META]
