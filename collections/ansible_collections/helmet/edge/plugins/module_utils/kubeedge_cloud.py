# SPDX-License-Identifier: Apache-2.0
"""Whether a node reaches its cloud, and whether it is the cloud that the token is from. One sentence a fault.

The routes of cloudcore's certificate port are those of KubeEdge's cloud/pkg/cloudhub/servers/httpserver.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OK = 200
_LARGEST_ANSWER = 1 << 20


def faults(
    host: str,
    ports: dict[str, int],
    *,
    node: str,
    authority_sha256: str = "",
    known: bool = False,
    timeout: float = 5.0,
) -> Iterator[str]:
    """What keeps the node from joining, as far as the network tells.

    Args:
        host: of cloudcore.
        ports: by what they are for; ``certificates`` among them.
        node: its name, which no other node may have.
        authority_sha256: what the token says of the cloud's authority; empty where there is no token.
        known: the cluster may know the name already, since it was this machine's before.
        timeout: seconds of one attempt.
    """
    closed = {name: why for name, port in ports.items() if (why := _closed(host, port, timeout))}
    for name, why in closed.items():
        yield f"{host}:{ports[name]} ({name}) cannot be reached ({why}): is cloudcore there, and the port open?"
    if "certificates" in closed:
        return
    port = ports["certificates"]
    try:
        status, authority = _get(host, port, "/ca.crt", _unverified(), timeout)
        if status != _OK:
            yield f"https://{host}:{port}/ca.crt answers {status}: this is no cloudcore"
            return
        found = hashlib.sha256(authority).hexdigest()
        if authority_sha256 and found != authority_sha256:
            yield (
                f"the token is another cloud's: it is for the authority {authority_sha256[:12]}, "
                f"https://{host}:{port} has {found[:12]}; get one by keadm gettoken there"
            )
            return
        yield from _wrong_name(host, port, authority, timeout)
        if not known and _get(host, port, f"/node/{node}", _unverified(), timeout)[0] == _OK:
            yield (
                f"the cluster has a node {node} already: if it was this machine, kubectl delete node {node}, "
                "else give another kubeedge_node_name"
            )
    except (OSError, http.client.HTTPException) as error:
        yield f"https://{host}:{port} does not answer as cloudcore does: {error}"


def _closed(host: str, port: int, timeout: float) -> str:
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return ""
    except OSError as error:
        return str(error.strerror or error)


def _wrong_name(host: str, port: int, authority: bytes, timeout: float) -> Iterator[str]:
    """Edgecore verifies the server for /edge.crt, so the address must be in its certificate."""
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(authority))
    try:
        _get(host, port, "/ca.crt", context, timeout)
    except ssl.SSLCertVerificationError as error:
        yield (
            f"cloudcore's certificate is not for {host} ({error.verify_message}): "
            "put this address into cloudcore's advertiseAddress or dnsNames"
        )


def _unverified() -> ssl.SSLContext:
    """/ca.crt is fetched so, and held against the token's hash; nothing secret is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _get(host: str, port: int, path: str, context: ssl.SSLContext, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(_LARGEST_ANSWER)
    finally:
        connection.close()
