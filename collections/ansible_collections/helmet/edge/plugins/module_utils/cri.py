# SPDX-License-Identifier: Apache-2.0
"""Asks a container runtime over its socket what kubelet asks it: CRI v1, as far as a preflight and a removal need it.

gRPC is HTTP/2 (RFC 9113) with length-prefixed protobuf messages; field numbers are those of Kubernetes' api.proto (v1).
Standard library only: nodes have no crictl in Debian 12, and no gRPC package.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 1, 4, 1, 8
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_VARINT, _LENGTH = 0, 2
_LOW = 0x7F


class CriError(Exception):
    """The runtime is not there, does not answer, or refuses a call."""


@dataclass(frozen=True)
class Runtime:
    """What a runtime says of itself.

    Attributes:
        name: and its version, such as ``containerd 1.6.20``.
        network: why pods would have no network; empty where they would have one.
        cgroup_driver: systemd or cgroupfs; empty where it does not tell.
        sandbox_image: the pause image; empty where it does not tell.
    """

    name: str
    network: str
    cgroup_driver: str
    sandbox_image: str


class Cri:
    """One runtime.

    Args:
        endpoint: ``unix:///run/containerd/containerd.sock`` or a path.
        timeout: seconds that one answer may take.
    """

    def __init__(self, endpoint: str, timeout: float = 20.0) -> None:
        self._path = endpoint.removeprefix("unix://")
        self._timeout = timeout

    def look(self) -> Runtime:
        """What the runtime says of itself.

        Raises:
            CriError: it does not answer to CRI v1.
        """
        version = _texts(self._call("RuntimeService/Version", b""))
        status = self._call("RuntimeService/Status", b"\x08\x01")
        conditions = {_text(raw, 1): raw for part in _all(status, 1) for raw in _all(part, 1)}
        network = conditions.get("NetworkReady", b"")
        info = {_text(entry, 1): _text(entry, 2) for entry in _all(status, 2)}
        config = _document(info.get("config", ""))
        containerd = config.get("containerd") or {}
        runc = (containerd.get("runtimes") or {}).get(containerd.get("defaultRuntimeName") or "runc") or {}
        driver = (runc.get("options") or {}).get("SystemdCgroup") if runc else None
        return Runtime(
            name=f"{version.get(2, '')} {version.get(3, '')}".strip(),
            network="" if _first(network, 2) else _text(network, 4) or "it does not say why",
            cgroup_driver={True: "systemd", False: "cgroupfs", None: "cgroupfs" if runc else ""}[driver],
            sandbox_image=str(config.get("sandboxImage") or ""),
        )

    def has_image(self, name: str) -> bool:
        """Whether an image is there, by name."""
        return bool(_all(self._call("ImageService/ImageStatus", _field(1, _field(1, name.encode()))), 1))

    def pull(self, name: str) -> None:
        """Fetches an image.

        Raises:
            CriError: it cannot be had within the time.
        """
        self._call("ImageService/PullImage", _field(1, _field(1, name.encode())))

    def sandboxes(self) -> list[str]:
        """Identities of all pods that the runtime has."""
        return [_text(item, 1) for item in _all(self._call("RuntimeService/ListPodSandbox", b""), 1)]

    def remove(self, sandbox: str) -> None:
        """Stops a pod and takes it away."""
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            self._call(f"RuntimeService/{method}", _field(1, sandbox.encode()))

    def _call(self, method: str, message: bytes) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(self._timeout)
                channel.connect(self._path)
                return _exchange(channel, f"/runtime.v1.{method}", message)
        except TimeoutError as error:
            raise CriError(f"{self._path} did not answer {method} within {self._timeout:g} s") from error
        except OSError as error:
            raise CriError(f"{self._path}: {error.strerror or error}") from error


def _exchange(channel: socket.socket, path: str, message: bytes) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # Literal fields without indexing, as plain octets: no table and no Huffman code is needed to write them.
    block = b"".join(b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode() for k, v in headers.items())
    body = b"\0" + struct.pack(">I", len(message)) + message
    channel.sendall(
        _PREFACE + _frame(_SETTINGS) + _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, body)
    )
    answer = b""
    for kind, flags, stream, payload in _frames(channel):
        if kind == _SETTINGS and not flags & _ACK:
            channel.sendall(_frame(_SETTINGS, _ACK))
        elif kind == _PING and not flags & _ACK:
            channel.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA:
            answer += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            if payload:
                more = struct.pack(">I", len(payload))
                channel.sendall(_frame(_WINDOW, 0, 0, more) + _frame(_WINDOW, 0, stream, more))
        elif kind in {_RST, _GOAWAY}:
            break
        if stream == 1 and flags & _END_STREAM and kind in {_DATA, _HEADERS}:
            break
    if len(answer) < len(body) - len(message):
        # Only trailers: gRPC's way to refuse. Their text may be Huffman-coded, so the runtime's log has to tell.
        raise CriError(f"it refuses {path.removeprefix('/')}")
    return answer[5 : 5 + struct.unpack(">I", answer[1:5])[0]]


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _frames(channel: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    while True:
        head = _exactly(channel, 9)
        if not head:
            return
        length = int.from_bytes(head[:3], "big")
        yield head[3], head[4], int.from_bytes(head[5:], "big"), _exactly(channel, length)


def _exactly(channel: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = channel.recv(count - len(found))
        if not more:
            return b""
        found += more
    return found


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    found = b""
    while number > _LOW:
        found += bytes([number & _LOW | 0x80])
        number >>= 7
    return found + bytes([number])


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of every field: varints as numbers, what has a length as bytes; others are skipped."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
        elif kind == _LENGTH:
            length, at = _read_varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        else:
            at += 8 if kind == 1 else 4


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(message):
        byte = message[at]
        number |= (byte & _LOW) << shift
        at, shift = at + 1, shift + 7
        if byte <= _LOW:
            break
    return number, at


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for key, value in _fields(message) if key == number and isinstance(value, bytes)]


def _first(message: bytes, number: int) -> bytes | int | None:
    return next((value for key, value in _fields(message) if key == number), None)


def _text(message: bytes, number: int) -> str:
    return next((value.decode(errors="replace") for value in _all(message, number)), "")


def _texts(message: bytes) -> dict[int, str]:
    return {key: value.decode(errors="replace") for key, value in _fields(message) if isinstance(value, bytes)}


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
