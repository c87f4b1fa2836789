# SPDX-License-Identifier: Apache-2.0
"""How a machine stands to a KubeEdge cloud: clean, partial, joined, elsewhere. Rules only; nothing is read here.

What edgecore does with its files follows KubeEdge's source (edge/pkg/edgehub/certificate, edge/cmd/edgecore/app): a
pair that loads and carries the node's name is used, whatever else is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLEAN, PARTIAL, JOINED, ELSEWHERE = "clean", "partial", "joined", "elsewhere"


@dataclass(frozen=True)
class Certificate:
    """The pair that a cloud has given.

    Attributes:
        node: the node's name in it; empty where it cannot be read.
        authority_sha256: sha256 of the authority's certificate (DER) beside it, hexadecimal; empty without one.
        problem: why edgecore cannot work with it; empty where it can.
        expires: Unix seconds.
    """

    node: str
    authority_sha256: str
    problem: str
    expires: float


@dataclass(frozen=True)
class Found:
    """What lies on a machine.

    Attributes:
        leftovers: paths of KubeEdge that are there.
        config: edgecore.yaml, parsed; empty where there is none or it cannot be read.
        certificate: None where there is none.
        bootstrap: whether the file with the token is there.
        enabled: whether the service starts at boot.
        active: whether it runs.
        version: of the program, such as v1.23.1; empty where there is none.
    """

    leftovers: tuple[str, ...]
    config: Mapping[str, Any]
    certificate: Certificate | None
    bootstrap: bool
    enabled: bool
    active: bool
    version: str


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        node: the node's name in the cluster.
        websocket: HOST:PORT that edgecore keeps a connection to.
        http_server: URL that it gets its certificate from.
        authority_sha256: of the cloud that the token is from; empty where there is no token.
    """

    node: str
    websocket: str
    http_server: str
    authority_sha256: str = ""


@dataclass(frozen=True)
class State:
    """The verdict.

    Attributes:
        name: clean, partial, joined or elsewhere.
        reasons: why it is partial or elsewhere, one sentence each.
        certified: whether there is a certificate that edgecore can use, so that no token is needed.
    """

    name: str
    reasons: tuple[str, ...]
    certified: bool


def judge(found: Found, wanted: Wanted, now: float) -> State:
    """The verdict on what was found; ``now`` in Unix seconds."""
    certified = found.certificate is not None and not _unusable(found.certificate, now)
    if not found.leftovers:
        return State(CLEAN, (), certified=False)
    foreign = tuple(_foreign(found, wanted))
    if foreign:
        return State(ELSEWHERE, foreign, certified=certified)
    lacks = tuple(_lacks(found, now))
    return State(PARTIAL if lacks else JOINED, lacks, certified=certified)


def setting(config: Mapping[str, Any], path: str) -> Any:
    """The value under a dotted path of edgecore.yaml; None where there is none."""
    value: Any = config
    for key in path.split("."):
        value = value.get(key) if hasattr(value, "get") else None
    return value


def _foreign(found: Found, wanted: Wanted) -> Iterator[str]:
    """Without a certificate nobody has let this machine in, so it cannot be anybody else's."""
    certificate = found.certificate
    if certificate is None or not certificate.node:
        return
    if certificate.node != wanted.node:
        yield f"its certificate is for the node {certificate.node}, not {wanted.node}"
    for key, value in (("websocket.server", wanted.websocket), ("httpServer", wanted.http_server)):
        named = setting(found.config, f"modules.edgeHub.{key}")
        if named and str(named).rstrip("/") != value:
            yield f"edgecore.yaml names {named} as {key}, not {value}"
    known = certificate.authority_sha256
    if known and wanted.authority_sha256 and known != wanted.authority_sha256:
        yield f"its authority is {known[:12]}, that of the token {wanted.authority_sha256[:12]}"


def _lacks(found: Found, now: float) -> Iterator[str]:
    if not found.version:
        yield "there is no program edgecore"
    if not found.config:
        yield "there is no edgecore.yaml that can be read"
    elif setting(found.config, "modules.edgeHub.token"):
        yield "edgecore.yaml holds a token"
    elif found.version and found.config.get("edgecoreVersion") != found.version:
        # edgecore would write the file anew, with the token of the bootstrap file in it.
        yield f"edgecore.yaml is for {found.config.get('edgecoreVersion')}, edgecore is {found.version}"
    if found.bootstrap:
        yield "the file with the token was left behind"
    if found.certificate is None:
        yield "it has no certificate"
    elif _unusable(found.certificate, now):
        yield _unusable(found.certificate, now)
    if not found.enabled:
        yield "the service edgecore does not start at boot"
    if not found.active:
        yield "the service edgecore does not run"


def _unusable(certificate: Certificate, now: float) -> str:
    if certificate.problem:
        return f"its certificate cannot be used: {certificate.problem}"
    return "its certificate has expired" if certificate.expires <= now else ""
