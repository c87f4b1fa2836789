# SPDX-License-Identifier: Apache-2.0
"""Which adapter reads which address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.source_url import SourceKind, SourceSettings, classify

if TYPE_CHECKING:
    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Clock, FrameSource


def open_source(settings: SourceSettings, clock: Clock) -> FrameSource:
    """Makes the source of an address; nothing is opened yet. Adapters are imported when one is needed.

    Raises:
        SourceMissing: the address is of no known kind.
    """
    kind = classify(settings.url).kind
    if kind is SourceKind.PICTURES:
        from helmet_agent.adapters.pictures import Pictures  # noqa: PLC0415 - keeps the start short

        return Pictures(settings, clock)
    if kind is SourceKind.CLIP:
        from helmet_agent.adapters.clip import Clip  # noqa: PLC0415 - as above

        return Clip(settings, clock)
    from helmet_agent.adapters.camera import Camera  # noqa: PLC0415 - as above

    return Camera(settings, clock)


def configured_sources(
    config: AgentConfig, clock: Clock, *, until_eof: bool = False
) -> list[tuple[FrameSource, SourceSettings]]:
    """The sources of a configuration, none of them opened. A run until the end of all files plays each of them once.

    Raises:
        SourceMissing: an address is of no known kind.
    """
    settings = [
        SourceSettings(
            name=source.name,
            url=source.url,
            loop=source.loop and not until_eof,
            realtime=source.realtime,
            every_nth=source.every_nth,
            max_fps=source.max_fps,
            credentials_file=source.credentials_file,
            open_timeout_seconds=source.open_timeout_seconds,
            read_timeout_seconds=source.read_timeout_seconds,
            stall_seconds=source.stall_seconds,
        )
        for source in config.sources
    ]
    return [(open_source(each, clock), each) for each in settings]
