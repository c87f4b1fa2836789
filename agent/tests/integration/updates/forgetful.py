# SPDX-License-Identifier: Apache-2.0
"""A file system in memory that notes every change and every fsync, so that power cuts can be played afterwards.

It speaks the kernel's FUSE protocol (linux/fuse.h, version 7.31) itself: no library, no daemon. ``python forgetful.py
MOUNT LOG COMMAND...`` mounts it on MOUNT, runs the command, and leaves what was noted in LOG; in a mount namespace of
its own (``unshare --mount --map-root-user``) nobody else sees it. What is written to the file ``marks`` in its top
folder is no file's content but a mark in the log: there the command says what it has promised.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT, MARKS = 1, "marks"
MOST_WRITTEN = 128 << 10
NO_MOUNT = 77
"""Exit code where this machine does not let us mount."""

_DIRECT_IO = 1
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_DETACH = 2
_SETS_MODE, _SETS_SIZE = 1, 8


@dataclass
class Node:
    """A file, folder or link."""

    mode: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, int] = field(default_factory=dict)


class RefusedError(Exception):
    """Answered by this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Forgetful:
    """The file system. ``log`` holds ``(what, ...)`` for every change, ``("sync", node)`` and ``("mark", text)``."""

    def __init__(self) -> None:
        self.nodes = {ROOT: Node(stat.S_IFDIR | 0o755)}
        self.log: list[tuple[Any, ...]] = []
        self._last = ROOT
        self._marks = 0
        self._calls = {
            1: self._lookup,
            3: self._getattr,
            4: self._setattr,
            5: self._readlink,
            6: self._symlink,
            8: self._mknod,
            9: self._mkdir,
            10: self._unlink,
            11: self._rmdir,
            12: self._rename,
            13: self._link,
            14: self._open,
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: self._nothing,
            20: self._sync,
            25: self._nothing,
            26: self._init,
            27: self._open,
            28: self._readdir,
            29: self._nothing,
            30: self._sync,
            34: self._nothing,
            35: self._create,
            45: self._rename2,
        }

    def serve(self, device: int) -> None:
        """Answers the kernel until it is unmounted."""
        while True:
            try:
                request = os.read(device, MOST_WRITTEN + 65_536)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            _, code, unique, node = struct.unpack_from("<IIQQ", request)
            if code in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET want no answer
                continue
            number, answer = 0, b""
            try:
                answer = self._calls.get(code, _unknown)(node, request[40:])
            except RefusedError as refused:
                number = -refused.number
            os.write(device, struct.pack("<IiQ", 16 + len(answer), number, unique) + answer)

    def _note(self, *what: Any) -> None:
        self.log.append(what)

    def _new(self, parent: int, name: str, mode: int, data: bytes = b"") -> int:
        if name in self.nodes[parent].names:
            raise RefusedError(errno.EEXIST)
        self._last += 1
        self.nodes[self._last] = Node(mode, bytearray(data))
        self._note("new", self._last, mode, data)
        self._put(parent, name, self._last)
        if (parent, name) == (ROOT, MARKS):
            self._marks = self._last
        return self._last

    def _put(self, parent: int, name: str, node: int) -> None:
        self.nodes[parent].names[name] = node
        self._note("put", parent, name, node)

    def _found(self, parent: int, name: str) -> int:
        try:
            return self.nodes[parent].names[name]
        except KeyError:
            raise RefusedError(errno.ENOENT) from None

    def _attributes(self, number: int) -> bytes:
        node = self.nodes[number]
        size, links = len(node.data), 1
        return struct.pack(
            "<6Q10I", number, size, -(-size // 512), 0, 0, 0, 0, 0, 0, node.mode, links, 0, 0, 0, 4096, 0
        )

    def _entry(self, number: int) -> bytes:
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _init(self, _node: int, body: bytes) -> bytes:
        major, _, ahead, _ = struct.unpack_from("<4I", body)
        return struct.pack(
            "<4I2H2I2H8I",
            *(major, 31, ahead, _BIG_WRITES | _MAX_PAGES, 8, 8, MOST_WRITTEN, 1, MOST_WRITTEN // 4096, 0),
            *([0] * 8),
        )

    def _nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def _lookup(self, node: int, body: bytes) -> bytes:
        return self._entry(self._found(node, _names(body)[0]))

    def _getattr(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attributes(node)

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, size, mode = (struct.unpack_from(form, body, at)[0] for form, at in (("<I", 0), ("<Q", 16), ("<I", 68)))
        if valid & _SETS_SIZE:
            data = self.nodes[node].data
            data[:] = data[:size].ljust(size, b"\0")
            self._note("size", node, size)
        if valid & _SETS_MODE:
            self.nodes[node].mode = stat.S_IFMT(self.nodes[node].mode) | stat.S_IMODE(mode)
        return self._getattr(node, b"")

    def _readlink(self, node: int, _body: bytes) -> bytes:
        return bytes(self.nodes[node].data)

    def _symlink(self, node: int, body: bytes) -> bytes:
        name, target = _names(body)
        return self._entry(self._new(node, name, stat.S_IFLNK | 0o777, target.encode()))

    def _mknod(self, node: int, body: bytes) -> bytes:
        return self._entry(self._new(node, _names(body[16:])[0], struct.unpack_from("<I", body)[0]))

    def _mkdir(self, node: int, body: bytes) -> bytes:
        mode = stat.S_IFDIR | struct.unpack_from("<I", body)[0]
        return self._entry(self._new(node, _names(body[8:])[0], mode))

    def _unlink(self, node: int, body: bytes) -> bytes:
        name = _names(body)[0]
        self._note("drop", node, name, self._found(node, name))
        del self.nodes[node].names[name]
        return b""

    def _rmdir(self, node: int, body: bytes) -> bytes:
        if self.nodes[self._found(node, _names(body)[0])].names:
            raise RefusedError(errno.ENOTEMPTY)
        return self._unlink(node, body)

    def _rename2(self, node: int, body: bytes) -> bytes:
        if struct.unpack_from("<I", body, 8)[0]:
            raise RefusedError(errno.EINVAL)
        return self._rename(node, body[:8] + body[16:])

    def _rename(self, node: int, body: bytes) -> bytes:
        folder, (old, new) = struct.unpack_from("<Q", body)[0], _names(body[8:])
        moved = self._found(node, old)
        there = self.nodes[folder].names.get(new)
        if there is not None and self.nodes[there].names:
            raise RefusedError(errno.ENOTEMPTY)
        del self.nodes[node].names[old]
        self.nodes[folder].names[new] = moved
        self._note("move", node, old, folder, new, moved)
        return b""

    def _link(self, node: int, body: bytes) -> bytes:
        name, number = _names(body[8:])[0], struct.unpack_from("<Q", body)[0]
        if name in self.nodes[node].names:
            raise RefusedError(errno.EEXIST)
        self._put(node, name, number)
        return self._entry(number)

    def _open(self, node: int, body: bytes) -> bytes:
        if struct.unpack_from("<I", body)[0] & os.O_TRUNC and stat.S_ISREG(self.nodes[node].mode):
            self.nodes[node].data.clear()
            self._note("size", node, 0)
        return struct.pack("<QII", 0, _DIRECT_IO if stat.S_ISREG(self.nodes[node].mode) else 0, 0)

    def _create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", body)
        number = self._new(node, _names(body[16:])[0], mode)
        return self._entry(number) + self._open(number, struct.pack("<I", flags))

    def _read(self, node: int, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        return bytes(self.nodes[node].data[offset : offset + size])

    def _write(self, node: int, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        content = body[40 : 40 + size]
        if node == self._marks:
            self._note("mark", content.decode())
        else:
            write(self.nodes[node].data, offset, content)
            self._note("write", node, offset, content)
        return struct.pack("<II", size, 0)

    def _sync(self, node: int, _body: bytes) -> bytes:
        self._note("sync", node)
        return b""

    def _statfs(self, _node: int, _body: bytes) -> bytes:
        return struct.pack("<5Q4I6I", 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096, 0, *([0] * 6))

    def _readdir(self, node: int, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        found = b""
        for at, (name, number) in enumerate([*self.nodes[node].names.items()][offset:], offset + 1):
            raw = name.encode()
            one = struct.pack("<QQII", number, at, len(raw), stat.S_IFMT(self.nodes[number].mode) >> 12) + raw
            one = one.ljust(-(-len(one) // 8) * 8, b"\0")
            if len(found) + len(one) > size:
                break
            found += one
        return found


def write(data: bytearray, offset: int, content: bytes) -> None:
    """Writes into a file's content, with a hole before it if need be."""
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(content)] = content


def _unknown(_node: int, _body: bytes) -> bytes:
    raise RefusedError(errno.ENOSYS)


def _names(body: bytes) -> list[str]:
    return [part.decode() for part in body.split(b"\0")[:-1]]


def main(mount: str, log: str, *command: str) -> int:
    """Mounts, runs the command, unmounts, writes the log; returns the command's exit code."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        sys.stderr.write(f"/dev/fuse: {error.strerror}\n")
        return NO_MOUNT
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"forgetful", mount.encode(), b"fuse", 0, options):
        sys.stderr.write(f"mount: {os.strerror(ctypes.get_errno())}\n")
        return NO_MOUNT
    child = subprocess.Popen(command)
    files = Forgetful()

    def end() -> None:
        child.wait()
        libc.umount2(mount.encode(), _DETACH)

    threading.Thread(target=end).start()
    files.serve(device)
    Path(log).write_bytes(pickle.dumps(files.log))
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
