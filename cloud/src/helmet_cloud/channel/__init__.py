# SPDX-License-Identifier: Apache-2.0
"""The signed model channel: a TUF repository of static files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from helmet_cloud.channel.channel import SignedChannel
from helmet_cloud.channel.keys import KeyStore
from helmet_cloud.channel.lock import ChannelLock
from helmet_cloud.channel.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database


def open_repository(
    home: HubHome, now: Callable[[], float] = time.time, reached: Callable[[str], None] = lambda _: None
) -> Repository:
    """The channel's files of a hub's folder."""
    return Repository(home.channel, KeyStore(home.keys, home.offline_keys), now, reached)


def channel_lock(home: HubHome) -> ChannelLock:
    """The lock that every writer of a hub's channel takes."""
    return ChannelLock(home.folder / "channel.lock")


def open_channel(
    home: HubHome,
    database: Database,
    now: Callable[[], float] = time.time,
    reached: Callable[[str], None] = lambda _: None,
) -> SignedChannel:
    """The channel of a hub's folder; the serving hub and commands beside it may each open one."""
    repository = open_repository(home, now, reached)
    lock = channel_lock(home)
    return SignedChannel(
        database=database,
        repository=repository,
        models=home.models,
        lock=lock,
        now=now,
        canary_share=home.settings.canary_share,
        reached=reached,
    )


__all__ = ["ChannelLock", "KeyStore", "Repository", "SignedChannel", "channel_lock", "open_channel", "open_repository"]
