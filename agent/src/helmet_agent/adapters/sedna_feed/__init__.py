# SPDX-License-Identifier: Apache-2.0
"""New models from Sedna's local controller: a folder that it writes into, and the address that it is told at."""

from helmet_agent.adapters.sedna_feed.announcement import Announcement
from helmet_agent.adapters.sedna_feed.feed import Announced, SednaFeed
from helmet_agent.adapters.sedna_feed.local_controller import DEFAULT_SERVER, LocalController, WorkerName
from helmet_agent.adapters.sedna_feed.package import is_package, unpack, write_package

__all__ = [
    "DEFAULT_SERVER",
    "Announced",
    "Announcement",
    "LocalController",
    "SednaFeed",
    "WorkerName",
    "is_package",
    "unpack",
    "write_package",
]
