# SPDX-License-Identifier: Apache-2.0
"""Compliance events: JSON lines and snapshots on disk, written by one thread that also tells live listeners."""

from helmet_agent.adapters.event_log.log import EventLog
from helmet_agent.adapters.event_log.snapshots import Snapshots
from helmet_agent.adapters.event_log.writer import EventWriter

__all__ = ["EventLog", "EventWriter", "Snapshots"]
