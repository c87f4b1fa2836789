# SPDX-License-Identifier: Apache-2.0
"""Sizes such as ``2Gi`` and durations such as ``1h30m``, as configuration files have them. Standard library only."""

from __future__ import annotations

import math
import re
from fractions import Fraction

# The Kubernetes quantities that make sense for bytes, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SIZE_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}
_DURATION_UNITS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([A-Za-z]*?)B?\Z")
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ms|s|m|h|d))+\Z")
_DURATION_PART = re.compile(r"([0-9.]+)([a-z]+)")
_MAX_BYTES = (1 << 63) - 1
_MAX_SECONDS = 100 * 366 * 86400


class QuantityError(ValueError):
    """A text that is no size or no duration; the message says what was expected."""


def parse_bytes(value: str | int) -> int:
    """Reads a size: ``1048576``, ``2Gi``, ``512Mi``, ``1.5G``, with or without a ``B`` behind the unit.

    ``k``, ``M``, ``G`` and ``T`` count in thousands, ``Ki``, ``Mi``, ``Gi`` and ``Ti`` in 1024s, as Kubernetes has it.

    Returns:
        Bytes, 0 to 2**63 - 1; a fraction of a byte is rounded up.

    Raises:
        QuantityError: it is no size, negative or too large.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        count = value
    else:
        match = _SIZE.match(value) if isinstance(value, str) else None
        if match is None or match[2] not in _SIZE_UNITS:
            raise QuantityError(f"expected a size such as 512Mi, 2Gi or 1000000, found {value!r}{_hint(match)}")
        count = math.ceil(Fraction(match[1]) * _SIZE_UNITS[match[2]])
    if not 0 <= count <= _MAX_BYTES:
        raise QuantityError(f"expected a size from 0 to {_MAX_BYTES} bytes, found {value!r}")
    return count


def format_bytes(count: int) -> str:
    """The short form for people: ``512 B``, ``1.5 KiB``, ``2.0 GiB``; one decimal, not meant to be read back."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:  # noqa: PLR2004 - bytes in a KiB
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def parse_seconds(value: str | float) -> float:
    """Reads a duration: a number of seconds, or parts such as ``500ms``, ``30s``, ``1h30m``, ``7d``.

    Returns:
        Seconds, from 0 to a hundred years.

    Raises:
        QuantityError: it is no duration, negative, not finite or too long.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.match(value):
        seconds = float(sum(Fraction(part[1]) * _DURATION_UNITS[part[2]] for part in _DURATION_PART.finditer(value)))
    else:
        raise QuantityError(f"expected a duration such as 500ms, 30s, 1h30m or 7d, found {value!r}")
    if not 0 <= seconds <= _MAX_SECONDS:  # also refuses NaN
        raise QuantityError(f"expected a duration from 0 to 100 years, found {value!r}")
    return seconds


def _hint(match: re.Match[str] | None) -> str:
    if match is not None and match[2].lower() in {"k", "m", "g", "t", "ki", "mi", "gi", "ti"}:
        letter = match[2][0].upper()
        decimal = "k" if letter == "K" else letter
        return f"; write {match[1]}{decimal} for thousands or {match[1]}{letter}i for 1024s"
    return ""
