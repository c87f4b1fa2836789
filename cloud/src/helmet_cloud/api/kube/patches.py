# SPDX-License-Identifier: Apache-2.0
"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from helmet_cloud.api.kube.failure import Refused
from helmet_cloud.errors import BadRequest, TooLarge

MAX_OPERATIONS = 1000
MAX_COPIED_BYTES = 3 << 20
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")


def merge_patch(target: Any, patch: Any) -> Any:
    """What the patch makes of the target; neither is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merge_patch(found.get(key), value)
    return found


def json_patch(target: Any, operations: Any) -> Any:
    """What the operations make of the target; it is not changed.

    Raises:
        BadRequest: no list of operations.
        Refused: 422, an operation that cannot be done, or a test that fails.
        TooLarge: copies that grow beyond any resource.
    """
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise BadRequest("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"a JSON patch has at most {MAX_OPERATIONS} operations")
    holder: dict[str, Any] = {"": copy.deepcopy(target)}
    copied = 0
    for number, operation in enumerate(operations):
        try:
            copied += _apply(holder, operation)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            said = error.args[0] if isinstance(error, ValueError) else "there is no such place"
            shown = f"{operation.get('op')} {operation.get('path')}"[:200]
            raise Refused(422, f"operation {number} of the JSON patch ({shown}): {said}") from None
        if copied > MAX_COPIED_BYTES:
            raise TooLarge("the JSON patch copies more than a resource may hold")
    return holder.get("")


def _apply(holder: dict[str, Any], operation: dict[str, Any]) -> int:
    name, path = operation.get("op"), operation["path"]
    if name == "test":
        if _get(holder, path) != operation["value"]:
            raise ValueError("the test failed")
    elif name == "remove":
        _remove(holder, path)
    elif name == "add":
        _add(holder, path, copy.deepcopy(operation["value"]))
    elif name == "replace":
        _get(holder, path)
        _remove(holder, path)
        _add(holder, path, copy.deepcopy(operation["value"]))
    elif name == "move":
        if path.startswith(operation["from"] + "/"):
            raise ValueError("a value cannot move into itself")
        _add(holder, path, _remove(holder, operation["from"]))
    elif name == "copy":
        value = copy.deepcopy(_get(holder, operation["from"]))
        _add(holder, path, value)
        return len(json.dumps(value))
    else:
        raise ValueError("expected op to be add, remove, replace, move, copy or test")
    return 0


def _parts(pointer: str) -> list[str]:
    """A JSON pointer; the first part finds the document in its holder."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise ValueError("expected a JSON pointer such as /spec/outputDir")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _inner(value: Any, part: str) -> Any:
    if isinstance(value, list):
        if not _INDEX.match(part):
            raise ValueError("expected a position in the list")
        return value[int(part)]
    return value[part]


def _get(holder: dict[str, Any], pointer: str) -> Any:
    value: Any = holder
    for part in _parts(pointer):
        value = _inner(value, part)
    return value


def _parent(holder: dict[str, Any], pointer: str) -> tuple[Any, str]:
    *parts, last = _parts(pointer)
    value: Any = holder
    for part in parts:
        value = _inner(value, part)
    return value, last


def _add(holder: dict[str, Any], pointer: str, new: Any) -> None:
    parent, last = _parent(holder, pointer)
    if isinstance(parent, list):
        position = len(parent) if last == "-" else int(last) if _INDEX.match(last) else -1
        if not 0 <= position <= len(parent):
            raise ValueError("expected a position in the list")
        parent.insert(position, new)
    elif isinstance(parent, dict):
        parent[last] = new
    else:
        raise ValueError("there is no such place")  # noqa: TRY004 - answered as any operation that cannot be done


def _remove(holder: dict[str, Any], pointer: str) -> Any:
    parent, last = _parent(holder, pointer)
    found = _inner(parent, last)
    del parent[int(last) if isinstance(parent, list) else last]
    return found
