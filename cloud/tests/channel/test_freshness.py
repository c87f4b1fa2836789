# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.channel import open_channel, open_repository
from helmet_cloud.channel.keys import ONLINE_ROLES
from helmet_cloud.channel.repository import DAY, LIFETIMES
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.store.opening import open_database

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database


def _later(home: HubHome, database: Database, days: float) -> SignedChannel:
    return open_channel(home, database, lambda: time.time() + days * DAY)


@pytest.mark.parametrize(
    ("days", "renewed"),
    [(0.9, []), (1.1, ["timestamp"]), (7.1, ["snapshot"]), (45.1, ["targets"]), (400.0, ["targets"])],
)
def test_what_has_lost_half_its_lifetime_is_signed_again(
    days: float, renewed: list[str], home: HubHome, database: Database
) -> None:
    assert _later(home, database, days).freshen() == renewed


@pytest.mark.parametrize("days", [0.5, 1.5, 3.0, 10.0, 60.0])
def test_after_freshening_no_online_role_has_less_than_half_left(
    days: float, home: HubHome, database: Database
) -> None:
    channel = _later(home, database, days)
    channel.freshen()
    assert channel.freshen() == []
    now = time.time() + days * DAY
    expires = open_repository(home).state().expires()
    assert all(expires[role] - now >= LIFETIMES[role] / 2 - 5 for role in ONLINE_ROLES)


def test_a_hub_that_was_away_for_long_serves_a_fresh_timestamp_again(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    long_ago = time.time() - 5 * DAY
    home = initialise(folder, InitOptions("127.0.0.1:0"), lambda: long_ago).home
    assert open_repository(home).state().timestamp.signed.is_expired()
    database = open_database(home)
    open_channel(home, database).freshen()
    database.close()
    assert not open_repository(home).state().timestamp.signed.is_expired()


def test_a_node_takes_what_was_signed_again(home: HubHome, database: Database, node: Any) -> None:
    assert node.look() is None
    before = open_repository(home).state().timestamp.signed
    open_channel(home, database, lambda: time.time() + 1.5 * DAY).freshen()
    assert node.look() is None
    after = open_repository(home).state().timestamp.signed
    assert after.version == before.version + 1
    assert after.expires - before.expires > dt.timedelta(days=1)
