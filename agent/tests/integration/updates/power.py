# SPDX-License-Identifier: Apache-2.0
"""What a disk may hold after a power cut, from the log of ``forgetful.py``.

Synced changes are there. Of the others any part may be, in whatever order they reached the disk: a rename without the
content of its file, a part of a write, a later write without an earlier one.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from forgetful import ROOT, Node, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Log = Sequence[tuple[Any, ...]]

NEVER = 1 << 60


def synced_at(log: Log) -> list[int]:
    """For every change the index of the first sync that makes it last; ``NEVER`` when none does."""
    found, coming = [NEVER] * len(log), dict[int, int]()
    for index in range(len(log) - 1, -1, -1):
        what = log[index]
        if what[0] == "sync":
            coming[what[1]] = index
        elif what[0] == "move":
            found[index] = min(coming.get(what[1], NEVER), coming.get(what[3], NEVER))
        elif what[0] in ("new", "mark"):
            found[index] = index
        else:
            found[index] = coming.get(what[1], NEVER)
    return found


def after_cut(log: Log, synced: Sequence[int], end: int, keep: Callable[[int], bool]) -> dict[int, Node]:
    """The nodes after a power cut before change ``end``; ``keep`` says which unsynced changes reached the disk."""
    nodes = {ROOT: Node(stat.S_IFDIR | 0o755)}
    for index in range(end):
        what = log[index]
        if what[0] in ("sync", "mark") or (synced[index] >= end and not keep(index)):
            continue
        _apply(nodes, what)
    return nodes


def _apply(nodes: dict[int, Node], what: tuple[Any, ...]) -> None:
    match what:
        case ("new", node, mode, data):
            nodes[node] = Node(mode, bytearray(data))
        case ("put", folder, name, node):
            nodes[folder].names[name] = node
        case ("drop", folder, name, node):
            if nodes[folder].names.get(name) == node:
                del nodes[folder].names[name]
        case ("move", folder, name, target, new, node):
            if nodes[folder].names.get(name) == node:
                del nodes[folder].names[name]
            nodes[target].names[new] = node
        case ("size", node, size):
            data = nodes[node].data
            data[:] = data[:size].ljust(size, b"\0")
        case ("write", node, offset, content):
            write(nodes[node].data, offset, content)


def lay_out(nodes: dict[int, Node], folder: Path, node: int = ROOT) -> None:
    """Writes the nodes into a real folder, which exists and is empty."""
    for name, number in nodes[node].names.items():
        one, place = nodes[number], folder / name
        if stat.S_ISDIR(one.mode):
            place.mkdir()
            lay_out(nodes, place, number)
        elif stat.S_ISLNK(one.mode):
            place.symlink_to(bytes(one.data).decode())
        else:
            place.write_bytes(one.data)


def shape(nodes: dict[int, Node]) -> int:
    """Equal for equal folders, to look at each of them once."""

    def of(number: int) -> Any:
        node = nodes[number]
        return node.mode, bytes(node.data), tuple((name, of(child)) for name, child in sorted(node.names.items()))

    return hash(of(ROOT))
