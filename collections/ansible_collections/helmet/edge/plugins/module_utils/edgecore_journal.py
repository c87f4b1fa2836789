# SPDX-License-Identifier: Apache-2.0
"""Which line of edgecore's journal says why it does not come up, without the token that edgecore may print.

The messages are KubeEdge's (edge/pkg/edgehub/certificate/certmanager.go) and containerd's own, and what users reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
_PRINTED_TOKEN = re.compile(r"\btoken .* credentials are in the wrong format")
# Four parts with dots between: a hash of the authority, then a JWT; or the JWT alone.
_TOKEN_SHAPED = re.compile(
    r"\b(?:[0-9a-fA-F]{64}\.)?eyJ[\w-]*\.[\w-]+\.[\w-]*|\b[0-9a-fA-F]{64}\.[\w-]+\.[\w-]+\.[\w-]+"
)


@dataclass(frozen=True)
class Decisive:
    """A line and what it means.

    Attributes:
        line: as edgecore said it, redacted.
        advice: what people have to do.
        final: whether waiting any longer cannot help.
    """

    line: str
    advice: str
    final: bool


# What is said, whether waiting is vain, and what helps. The first that is found counts: causes before consequences.
_KNOWN: tuple[tuple[str, bool, str], ...] = (
    (
        r"credentials are in the wrong format",
        True,
        "kubeedge_node_token is no token as keadm gettoken prints it; edgecore has written it into this node's journal",
    ),
    (
        r"failed to validate CA certificate",
        True,
        "the token is another cloud's: get one by keadm gettoken of this cloud",
    ),
    (r"Token is expired|token is expired", True, "tokens live 12 to 24 hours: get a new one by keadm gettoken"),
    (r"code: 401", True, "the cloud does not know this token: get a new one by keadm gettoken"),
    (
        r"certificate is valid for|signed by unknown|failed to verify certificate|doesn't contain any IP SANs",
        True,
        "cloudcore's certificate does not name this address: put it into cloudcore's advertiseAddress or dnsNames",
    ),
    (r"kubelet should not", True, "stop and disable kubelet on this machine: edgecore is its kubelet"),
    (
        r"[Cc]group subsystem not mounted: \[?memory",
        True,
        "the kernel cannot limit memory",
    ),
    (r"unknown service runtime\.v1", True, "the runtime has no CRI v1: switch containerd's CRI plugin on"),
    (
        r"expected cgroupsPath",
        True,
        "containerd and edgecore have other cgroup drivers: see kubeedge_node_cgroup_driver",
    ),
    (r"failed to get sandbox image", False, "the pause image cannot be had: see kubeedge_node_pause_image"),
    (r"Start edged failed, err", True, "edgecore's kubelet does not start"),
    (r"CGroupDriver value error|Invalid value", True, "edgecore refuses its configuration: see kubeedge_node_settings"),
    (r"failed to get CA certificate, err", False, "the cloud does not answer on its certificate port"),
    (r"failed to get edge certificate", False, "the cloud gives no certificate"),
    (r"websocket connect failed|failed to connect to cloud", False, "the cloud does not answer on its websocket port"),
    (r"cni plugin not initialized", False, "there is no network configuration in /etc/cni/net.d"),
    (r"^panic: |^F\d{4} ", False, "edgecore ends"),
    (r"^E\d{4} ", False, "edgecore complains"),
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the secrets and without whatever looks like a token."""
    for secret in sorted((part for whole in secrets for part in _pieces(whole)), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _PRINTED_TOKEN.sub(f"token {MASK} credentials are in the wrong format", text)
    return _TOKEN_SHAPED.sub(MASK, text)


def decisive(lines: Iterable[str], secrets: Iterable[str] = ()) -> Decisive | None:
    """The last line of the gravest kind; None where nothing was said that tells anything."""
    clean = [redacted(line.strip(), secrets) for line in lines]
    for pattern, final, advice in _KNOWN:
        for line in reversed(clean):
            if re.search(pattern, line):
                return Decisive(line, advice, final)
    return None


def _pieces(secret: str) -> list[str]:
    """A secret as it is, and its parts that are long enough to be worth anything by themselves."""
    secret = secret.strip()
    longest = max(secret.split("."), key=len, default="") if "." in secret else ""
    signature = secret.rpartition(".")[2] if "." in secret else ""
    return [piece for piece in (secret, longest, signature) if len(piece) >= _WORTH_HIDING]


_WORTH_HIDING = 8
