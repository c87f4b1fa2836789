# SPDX-License-Identifier: Apache-2.0
"""A node's life whose promises are written to a file of marks: models that it confirmed, examples that it keeps.

``python one_life.py CONFIG MARKS CHANNEL...``: takes the model of each channel in turn, and keeps some examples after
each of them; the quota makes earlier ones leave.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lives import Live, Probe

from helmet_agent.adapters.spool import Spool
from helmet_agent.adapters.tuf_feed import Channel, FolderTransport, TufFeed
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.app.updates import make_updater, open_models
from helmet_agent.config import load_config
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.adapters.model_store import ModelStore
    from helmet_agent.config import AgentConfig

EXAMPLES = 3


def example(number: int) -> HardExample:
    jpeg = f"picture {number}".encode().ljust(5000, b".")
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node="n1",
        source="gate",
        frame=number,
        time_seconds=1.8e9 + number,
        width=64,
        height=64,
        model="a" * 64,
        rule="IBT",
        value=0.5,
        detections=(),
    )
    return HardExample(jpeg, record)


def feed_of(config: AgentConfig, channel: Path, store: ModelStore) -> TufFeed:
    settings = config.updates
    assert settings.root_file is not None
    followed = Channel(settings.follow or "", settings.ring, settings.root_file.read_bytes())
    return TufFeed(FolderTransport(channel), followed, store.metadata_folder(), SystemClock())


def live(config_file: Path, channels: list[Path], mark: Callable[[str], None]) -> None:
    config, clock = load_config(config_file), SystemClock()
    models = open_models(config, clock)
    models.book.begin()
    spool = Spool(config.node.data_dir / "spool", config.spool.quota)
    mark(f"confirmed {models.book.state.last_confirmed.key}")
    for number, channel in enumerate(channels):
        feed = feed_of(config, channel, models.store)
        updater = make_updater(config, models, Live(0), clock, feed=feed, probe=Probe([]))
        updater.update()
        while models.book.state.candidate is not None:
            updater.watch()
        mark(f"confirmed {models.book.state.last_confirmed.key}")
        for count in range(EXAMPLES):
            one = example(number * EXAMPLES + count)
            if spool.put(one):
                mark(f"example {one.record.sha256}")
    spool.close()
    models.close()


def main() -> None:
    configure_logging("error")
    config_file, marks, *channels = map(Path, sys.argv[1:])
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT, 0o640)

    def mark(text: str) -> None:
        os.write(descriptor, text.encode())

    live(config_file, channels, mark)


if __name__ == "__main__":
    main()
