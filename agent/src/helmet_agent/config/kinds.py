# SPDX-License-Identifier: Apache-2.0
"""The kinds of value that a configuration key can hold: what is expected, how it is read, how it is written."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import urlsplit

from helmet_agent.quantities import QuantityError, parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LONGEST_SHOWN = 60
_LONGEST_TEXT = 4096
SOURCE_SCHEMES = ("file", "rtsp", "rtsps", "http", "https")


class UnfitValueError(ValueError):
    """The value is not of the kind; the message, if there is one, says more than the kind's ``expected``."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a key can hold.

    Attributes:
        expected: for messages and the reference, such as ``a whole number from 1 to 8``.
        read: turns the TOML value into the field's; gets the folder that relative paths start from. Raises
            UnfitValueError.
        write: the TOML value of a field's value; None leaves the key out.
        private: whether a wrong value is kept out of messages, since a secret may have been put there by mistake.
    """

    expected: str
    read: Callable[[object, Path], T]
    write: Callable[[T], Any] = lambda value: value
    private: bool = False


def shown(value: object) -> str:
    """A TOML value on one line, for people; long ones are cut."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool | str):
        text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    else:
        try:
            text = str(value)
        except ValueError:  # Python refuses to print numbers of more than 4300 digits
            return "a number of very many digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def kind_of(value: object) -> str:
    """The type of a TOML value in words, for values that may be secret."""
    names = {bool: "a truth value", str: "a string", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "a table" if isinstance(value, Mapping) else "a date or time")


def flag() -> Kind[bool]:
    """``true`` or ``false``."""

    def read(value: object, _base: Path) -> bool:
        if not isinstance(value, bool):
            raise UnfitValueError
        return value

    return Kind("true or false", read)


def integer(low: int, high: int) -> Kind[int]:
    """A whole number in [low, high]."""

    def read(value: object, _base: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UnfitValueError
        return value

    return Kind(f"a whole number from {low} to {high}", read)


def number(low: float, high: float) -> Kind[float]:
    """A finite number in [low, high]."""

    def read(value: object, _base: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UnfitValueError
        return float(value)

    return Kind(f"a number from {low:g} to {high:g}", read)


def seconds(low: float, high: float) -> Kind[float]:
    """A time in [low, high] seconds, plain or as ``"1m30s"``."""

    def read(value: object, _base: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UnfitValueError
        try:
            found = parse_seconds(value) if isinstance(value, str) else value
        except QuantityError as error:
            raise UnfitValueError from error
        if not low <= found <= high:
            raise UnfitValueError
        return float(found)

    return Kind(f'seconds from {low:g} to {high:g}, plain or such as "500ms"', read)


def size(low: int, high: int) -> Kind[int]:
    """A number of bytes in [low, high], plain or as ``"2Gi"``."""

    def read(value: object, _base: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UnfitValueError
        try:
            found = parse_bytes(value) if isinstance(value, str) else value
        except QuantityError as error:
            raise UnfitValueError(str(error) if len(str(value)) < _LONGEST_SHOWN else "") from error
        if not low <= found <= high:
            raise UnfitValueError
        return found

    return Kind(f'a size from {write_size(low)} to {write_size(high)}, such as "500Mi" or "2Gi"', read, write_size)


def write_size(value: int) -> str | int:
    """The shortest exact way to write a number of bytes."""
    for shift, suffix in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if value and not value % (1 << shift):
            return f"{value >> shift}{suffix}"
    return value


def choice(*names: str) -> Kind[str]:
    """One of a few words."""

    def read(value: object, _base: Path) -> str:
        if not isinstance(value, str) or value not in names:
            raise UnfitValueError
        return value

    return Kind(f"one of {', '.join(names)}", read)


def safe_name() -> Kind[str]:
    """A name that is safe in file names, metrics and addresses."""

    def read(value: object, _base: Path) -> str:
        if not isinstance(value, str) or not _SAFE_NAME.match(value):
            raise UnfitValueError
        return value

    return Kind("a name of letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit", read)


def path(expected: str = "a path") -> Kind[Path]:
    """A path; a relative one starts from the folder of the configuration file."""

    def read(value: object, base: Path) -> Path:
        return base / _line(value)

    return Kind(expected, read, str, private=True)


def model_path() -> Kind[Path | None]:
    """A folder with a manifest, a .tflite file, or the word for the model that is shipped (None)."""

    def read(value: object, base: Path) -> Path | None:
        found = _line(value)
        return None if found == "bundled" else base / found

    def write(value: Path | None) -> str:
        return "bundled" if value is None else str(value)

    return Kind('"bundled", a folder with manifest.json, or a .tflite file with manifest.json beside it', read, write)


def source_url() -> Kind[str]:
    """Where pictures come from; a plain relative path starts from the folder of the configuration file."""

    def read(value: object, base: Path) -> str:
        found = _line(value)
        if found.startswith("file:"):
            location = found.removeprefix("file:")
            return found if location.startswith("/") else f"file:{base / location}"
        scheme = _SCHEME.match(found)
        if scheme is None:
            return found if found.isascii() and found.isdigit() else str(base / found)
        if scheme[1].lower() not in SOURCE_SCHEMES:
            raise UnfitValueError(f"expected one of {', '.join(SOURCE_SCHEMES)} before ://, found {shown(scheme[1])}")
        try:
            _ = urlsplit(found).port
        except ValueError as error:
            raise UnfitValueError("expected a host and a port from 0 to 65535 behind ://, found others") from error
        return found

    return Kind(
        "a file, a folder of pictures, a device such as /dev/video0, or an rtsp:// or http:// address",
        read,
        private=True,
    )


def hub_url() -> Kind[str]:
    """Where the hub is: ``https://``, or ``http://`` within this machine, where nobody can listen to the token."""

    def read(value: object, _base: Path) -> str:
        found = _address(value, ("https", "http"))
        parts = urlsplit(found)
        if parts.scheme == "http" and not Listen(parts.hostname or "", 0).loopback:
            raise UnfitValueError("expected https://, since http:// would show the token to the network, found http://")
        return found.rstrip("/")

    return Kind("an https:// address", read, private=True)


def proxy_url() -> Kind[str]:
    """Where an HTTP proxy is."""
    return Kind("an http:// address", lambda value, _base: _address(value, ("http",)), private=True)


def channel_url() -> Kind[str]:
    """Where the signed channel is; what comes over plain http is verified all the same."""
    return Kind("an https:// or http:// address", lambda value, _base: _address(value, ("https", "http")), private=True)


def _address(value: object, schemes: tuple[str, ...]) -> str:
    """An address of a server, without user, query and fragment."""
    found = _line(value)
    try:
        parts = urlsplit(found)
        usable = parts.port != 0
    except ValueError as error:
        raise UnfitValueError from error
    if not usable or parts.scheme not in schemes or not parts.hostname or not found.isascii() or " " in found:
        raise UnfitValueError
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UnfitValueError("expected an address without user name, '?' and '#', found more")
    return found


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a host name or address without brackets, and a TCP port (0: any free one)."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")


def listen() -> Kind[Listen]:
    """``ADDRESS:PORT``, IPv6 addresses in brackets."""

    def read(value: object, _base: Path) -> Listen:
        if not isinstance(value, str):
            raise UnfitValueError
        host, colon, port = value.rpartition(":")
        if not colon or not re.match(r"[0-9]{1,5}\Z", port) or int(port) > 65535:  # noqa: PLR2004 - largest TCP port
            raise UnfitValueError
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            try:
                ipaddress.IPv6Address(host)
            except ValueError as error:
                raise UnfitValueError from error
        elif not _HOST.match(host):
            raise UnfitValueError
        return Listen(host, int(port))

    return Kind('ADDRESS:PORT such as "127.0.0.1:8765" or "[::1]:8765"', read, str)


def scores() -> Kind[Mapping[str, float]]:
    """A table from label to the smallest score shown."""

    def read(value: object, _base: Path) -> Mapping[str, float]:
        if not isinstance(value, Mapping):
            raise UnfitValueError
        for label, score in value.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
                raise UnfitValueError(f"expected a number from 0 to 1 for {shown(label)}, found {shown(score)}")
        return {label: float(score) for label, score in value.items()}

    return Kind("a table from label to a number from 0 to 1", read, dict)


def parameters() -> Kind[Mapping[str, str]]:
    """A table of a mining rule's parameters; values are kept as strings, as Sedna's resource carries them."""

    def read(value: object, _base: Path) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            raise UnfitValueError
        found: dict[str, str] = {}
        for key, item in value.items():
            finite = isinstance(item, str | int) or (isinstance(item, float) and math.isfinite(item))
            if isinstance(item, bool) or not finite:
                raise UnfitValueError(f"expected a number or a string for {shown(key)}, found {shown(item)}")
            if isinstance(item, int) and abs(item) > 1 << 62:
                raise UnfitValueError(f"expected a number of at most 62 bits for {shown(key)}, found a larger one")
            found[key] = str(item)
        return found

    return Kind("a table from parameter to number or string", read, dict)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same, where leaving the key out means None."""
    return cast("Kind[T | None]", kind)


def _line(value: object) -> str:
    """A non-empty string without control characters."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise UnfitValueError
    return value
