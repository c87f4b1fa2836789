# SPDX-License-Identifier: Apache-2.0
"""How often one may ask: each good token has a reserve of its own, everybody else one for their address.

A stranger who invents tokens spends the address's reserve, never a node's, also from behind the same address; and a
node whose token is good is let in while strangers at its address are told to wait. The channel's files have a reserve
for each address that a whole site of nodes fits in.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from helmet_cloud.api.channel import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_SECONDS = 10.0
"""A reserve holds what comes back in so many seconds."""

MOST_CLIENTS = 10_000
_IPV6_SITE_BITS = 64


class RateLimit(Protocol):
    """Slows down who asks too often."""

    def wait_seconds(self, client: str, authorization: str | None, path: str) -> float:
        """0 when the request may go on, else after how many seconds to try again.

        Args:
            client: address of the peer.
            authorization: the header, if there is one.
            path: what is asked for.
        """


class NoLimit:
    """Lets everybody in."""

    def wait_seconds(self, client: str, authorization: str | None, path: str) -> float:
        """Always 0."""
        del client, authorization, path
        return 0.0


class TokenBuckets:
    """So many requests a second for each key, with a reserve for bursts.

    Args:
        per_second: requests that come back each second; 0: no limit.
        burst: largest reserve.
        now: a clock that never goes back, in seconds.
    """

    def __init__(self, per_second: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = burst
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_seconds(self, key: str) -> float:
        """Takes one request out of the key's reserve; 0, or after how many seconds there is one again."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._now()
            level, seen = self._buckets.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - seen) * self._rate)
            allowed = level >= 1.0
            self._buckets[key] = (level - 1.0 if allowed else level, now)
            while len(self._buckets) > MOST_CLIENTS:  # who was heard of last stays known
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1.0 - level) / self._rate


class HubLimits:
    """Implements ``RateLimit`` for the hub.

    Args:
        token_name: whose token a header carries; None when nobody knows it.
        per_token, per_address, per_channel_address: requests a second; 0: no limit.
        now: a clock that never goes back, in seconds.
    """

    def __init__(
        self,
        token_name: Callable[[str | None], str | None],
        per_token: float,
        per_address: float,
        per_channel_address: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token_name = token_name
        self._tokens, self._addresses, self._files = (
            TokenBuckets(rate, max(1.0, rate * BURST_SECONDS), now)
            for rate in (per_token, per_address, per_channel_address)
        )

    def wait_seconds(self, client: str, authorization: str | None, path: str) -> float:
        """See ``RateLimit``."""
        if path.startswith(PREFIX):
            return self._files.wait_seconds(site(client))
        name = self._token_name(authorization)
        return self._addresses.wait_seconds(site(client)) if name is None else self._tokens.wait_seconds(name)


def site(client: str) -> str:
    """An IPv4 address, or the network of an IPv6 one: whoever has one of its addresses has all of them."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_SITE_BITS), strict=False))
