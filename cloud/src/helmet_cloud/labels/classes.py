# SPDX-License-Identifier: Apache-2.0
"""What the class ids and names of a file mean here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helmet_cloud.labels.checks import Unfit, shown
from helmet_cloud.labels.model import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

IGNORE = "ignore"
"""Meaning of a class whose boxes are ignore regions."""

DROP = "drop"
"""Meaning of a class whose boxes are knowingly not used."""

_ID_DIGITS = 9
_NO_ID = 10**_ID_DIGITS


@dataclass(frozen=True, slots=True)
class ClassMap:
    """How the classes of a file become labels.

    Attributes:
        names: the file's class names by id; None: those that the file carries itself, else the labels.
        meaning: by class name, the label it stands for, or ``ignore`` or ``drop``; other names stand for themselves.
        labels: what can be meant.
    """

    names: tuple[str, ...] | None = None
    meaning: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = LABELS

    def with_names(self, names: tuple[str, ...]) -> ClassMap:
        """The same with names that a file carries, unless the caller gave some."""
        return self if self.names is not None else ClassMap(names, self.meaning, self.labels)

    def by_id(self, number: int) -> str:
        """A label, IGNORE or DROP.

        Raises:
            Unfit: no class has that id, or its name means nothing here.
        """
        names = self.labels if self.names is None else self.names
        if not 0 <= number < len(names):
            known = ", ".join(f"{index} {name}" for index, name in enumerate(names))
            raise Unfit(f"unknown class {shown(str(number))}; known are {known}")
        return self.by_name(names[number])

    def by_name(self, name: str) -> str:
        """A label, IGNORE or DROP.

        Raises:
            Unfit: the name means nothing here.
        """
        meaning = self.meaning.get(name, name)
        if meaning not in (*self.labels, IGNORE, DROP):
            raise Unfit(f"unknown class {shown(name)}; known are {', '.join(self.labels)}")
        return meaning

    def by_token(self, token: str) -> str:
        """A label, IGNORE or DROP, from an id in digits or a name.

        Raises:
            Unfit: it is neither.
        """
        if token.isascii() and token.isdigit():
            return self.by_id(int(token) if len(token) <= _ID_DIGITS else _NO_ID)
        return self.by_name(token)


def still_complete(complete: frozenset[str], meaning: str | None) -> frozenset[str]:
    """What a picture is complete for once a box of that meaning was left out; None: nobody knows which it was."""
    if meaning == DROP:
        return complete
    return frozenset() if meaning in (None, IGNORE) else complete - {meaning}
