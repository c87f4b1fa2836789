# SPDX-License-Identifier: Apache-2.0
"""Reads manifests: JSON and YAML into plain values, whatever was sent. Fields that stand twice are named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
"""Deeper than any pod template."""

MAX_DOCUMENTS = 1000
_MAX_INTEGER = 1 << 63
_MAX_DOUBLED = 100
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_TEXT = "tag:yaml.org,2002:str"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Reading:
    """A document that was read.

    Attributes:
        value: it.
        duplicates: a message for every field that stood twice; the last one counted.
        line: in the file, from 1.
    """

    value: Any
    duplicates: tuple[str, ...] = ()
    line: int = 1


def read_json(body: bytes) -> Reading:
    """Reads one JSON document.

    Raises:
        BadRequest: it is none, is nested too deep, or holds what JSON has no way to say.
    """
    doubled: list[tuple[dict[str, Any], str]] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(given)
        if len(found) < len(given):
            seen: set[str] = set()
            doubled.extend((found, key) for key, _ in given if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return found

    try:
        value = json.loads(body.decode(), object_pairs_hook=pairs, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadRequest("the body is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    _check(value)
    return Reading(value, tuple(_doubled(value, doubled)) if doubled else ())


def read_yaml(body: bytes) -> Reading:
    """Reads one YAML document; raises as ``read_yaml_stream`` does, also when there is none or more than one."""
    found = read_yaml_stream(body)
    if len(found) != 1:
        raise BadRequest(f"expected one YAML document, found {len(found)}")
    return found[0]


def read_yaml_stream(body: bytes) -> list[Reading]:
    """Reads YAML as Ansible and other YAML 1.1 readers do, so that ``20:00`` is the number 1200.

    Built from the parser's events without recursion: no nesting can exhaust the stack, and aliases, by which a short
    text becomes a huge value, are refused.

    Raises:
        BadRequest: it is no YAML, or uses what manifests do not need: aliases, tags, merge keys.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadRequest("the manifest is no UTF-8 text") from None
    found = []
    try:
        builder = _Builder()
        for event in yaml.parse(text, Loader=_Loader):
            if builder.take(event):
                found.append(Reading(builder.value, tuple(builder.duplicates), builder.line))
                builder = _Builder()
                if len(found) > MAX_DOCUMENTS:
                    raise BadRequest(f"more than {MAX_DOCUMENTS} documents")
    except yaml.YAMLError as error:
        raise BadRequest(f"the manifest is no YAML: {' '.join(str(error).split())[:300]}") from None
    for each in found:
        _check(each.value)
    return [each for each in found if each.value is not None]


@dataclass
class _Open:
    """A mapping or list that is being read."""

    value: Any
    path: str
    key: str | None = None


@dataclass
class _Builder:
    """Builds one document from events."""

    value: Any = None
    line: int = 1
    duplicates: list[str] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: Any) -> bool:
        """Takes an event; True when the document is complete."""
        if isinstance(event, yaml.DocumentEndEvent):
            return True
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, "aliases are not read: write the value out")
        if isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.CollectionStartEvent):
            if event.tag is not None:
                raise _refused(event, "tags are not read")
            if len(self.stack) >= MAX_DEPTH:
                raise _refused(event, f"nested deeper than {MAX_DEPTH} levels")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            path = self._path()
            self._place(value, event)
            self.stack.append(_Open(value, path))
        elif isinstance(event, yaml.ScalarEvent):
            top = self.stack[-1] if self.stack else None
            if top is not None and isinstance(top.value, dict) and top.key is None:
                self._key(top, event)
            else:
                self._place(_scalar(event), event)
        return False

    def _key(self, top: _Open, event: Any) -> None:
        key = _scalar(event)
        # kubectl makes texts of such keys too.
        top.key = json.dumps(key) if not isinstance(key, str) else key
        if top.key in top.value:
            self.duplicates.append(f'duplicate field "{top.path}{"." if top.path else ""}{top.key[:100]}"')

    def _place(self, value: Any, event: Any) -> None:
        if not self.stack:
            self.value, self.line = value, event.start_mark.line + 1
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            raise _refused(event, "a field's name cannot be a list or mapping")
        else:
            top.value[top.key] = value
            top.key = None

    def _path(self) -> str:
        if not self.stack:
            return ""
        top = self.stack[-1]
        if isinstance(top.value, list):
            return f"{top.path}[{len(top.value)}]"
        return f"{top.path}.{top.key}".removeprefix(".")


_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_CONSTRUCT = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": _CONSTRUCTOR.construct_yaml_bool,
    "tag:yaml.org,2002:int": _CONSTRUCTOR.construct_yaml_int,
    "tag:yaml.org,2002:float": _CONSTRUCTOR.construct_yaml_float,
}


def _scalar(event: Any) -> Any:
    if event.tag not in (None, _TEXT):
        raise _refused(event, "tags are not read")
    if event.tag == _TEXT or not event.implicit[0]:
        return event.value
    tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False))
    if tag == _MERGE:
        raise _refused(event, "merge keys are not read: write the fields out")
    if tag not in _CONSTRUCT:
        return event.value  # texts; dates too, as kubectl has it
    try:
        return _CONSTRUCT[tag](yaml.ScalarNode(tag, event.value))
    except ValueError:
        raise _refused(event, "a number that cannot be read") from None


def _refused(event: Any, why: str) -> BadRequest:
    return BadRequest(f"line {event.start_mark.line + 1}: {why}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _check(value: Any) -> None:
    """Refuses what is nested too deep, and values that cannot be written back."""
    for depth, each in _walk(value):
        if depth > MAX_DEPTH:
            raise BadRequest(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(each, int) and not -_MAX_INTEGER <= each < _MAX_INTEGER:
            raise BadRequest("a number does not fit 64 bits")
        if isinstance(each, str):
            try:
                each.encode()
            except UnicodeEncodeError:
                raise BadRequest("a text holds half a character (a lone surrogate)") from None


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    rest = [(1, value)]
    while rest:
        depth, each = rest.pop()
        yield depth, each
        if isinstance(each, dict):
            rest += [(depth, key) for key in each]
            rest += [(depth + 1, inner) for inner in each.values()]
        elif isinstance(each, list):
            rest += [(depth + 1, inner) for inner in each]


def _doubled(value: Any, doubled: list[tuple[dict[str, Any], str]]) -> Iterator[str]:
    keys: dict[int, list[str]] = {}
    for owner, key in doubled[:_MAX_DOUBLED]:
        keys.setdefault(id(owner), []).append(key)
    rest: list[tuple[str, Any]] = [("", value)]
    while rest:
        path, each = rest.pop()
        if isinstance(each, dict):
            yield from (f'duplicate field "{path}{key[:100]}"' for key in keys.get(id(each), ()))
            rest += [(f"{path}{key}.", inner) for key, inner in each.items()]
        elif isinstance(each, list):
            rest += [(f"{path.removesuffix('.')}[{index}].", inner) for index, inner in enumerate(each)]
