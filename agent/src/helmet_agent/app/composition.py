# SPDX-License-Identifier: Apache-2.0
"""Puts the parts together: configuration in, an agent that is ready to run out."""

from __future__ import annotations

import contextlib
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from helmet_agent.adapters.annotated_pictures import AnnotatedPictures
from helmet_agent.adapters.annotated_video import AnnotatedVideo
from helmet_agent.adapters.detection_lines import DetectionLines
from helmet_agent.adapters.directory_sink import DirectorySink
from helmet_agent.adapters.event_log import EventLog, EventWriter
from helmet_agent.adapters.spool import Spool
from helmet_agent.app.hub import check_hub_files, make_uplink
from helmet_agent.app.keeping import SpoolAndFolder, mining_rules, mining_stage
from helmet_agent.app.latest import LatestFrames, draw, jpeg
from helmet_agent.app.live_model import SwappedModel
from helmet_agent.app.models import load_detector, served_manifest
from helmet_agent.app.sedna_updates import deploy_reports, sedna_feed
from helmet_agent.app.sources import configured_sources
from helmet_agent.app.summary import Summary
from helmet_agent.app.system_clock import make_calendar
from helmet_agent.app.updates import check_update_files, first_detector, make_updates, open_models
from helmet_agent.errors import ConfigError
from helmet_agent.runtime import ModelSlot
from helmet_agent.services.detection_log import DetectionLog
from helmet_agent.services.event_stage import EventStage
from helmet_agent.services.ingest import Ingest
from helmet_agent.services.pipeline import Pipeline, SourceEyes
from helmet_agent.services.results import ResultsStage
from helmet_agent.vision.compliance import Compliance, ComplianceSettings
from helmet_agent.vision.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helmet_agent.app.updates import Models
    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import BgrImage, Clock, ExampleSink, FrameSource
    from helmet_agent.sedna_hot import HotUpdates
    from helmet_agent.services.deploy_reports import DeployReports
    from helmet_agent.services.mining import MiningStage
    from helmet_agent.services.pipeline import FrameObserver
    from helmet_agent.services.results import VideoFile
    from helmet_agent.services.update_loop import UpdateLoop
    from helmet_agent.services.uplink import Uplink
    from helmet_agent.source_url import SourceSettings
    from helmet_agent.timekeeping import Calendar
    from helmet_agent.vision.letterbox import PreparedFrame

VIDEO_RATE = 12.0
"""Playback rate in frames a second of annotated videos whose source does not tell its own."""

SWITCH_SECONDS = 0.0001
"""How long a thread may hold Python's lock while another one wants it."""

FLUSH_SECONDS = 30.0
"""How long a batch run may take to write what is still queued; a service has ``STOP_SECONDS``."""

STOP_SECONDS = 1.2
"""How long a stopping service may take to write what is still queued; SIGTERM to exit is promised in two seconds."""


@dataclass
class Agent:
    """The parts of an agent; ``close`` in the order that loses nothing.

    Attributes:
        config: what it was made from.
        slot: the live model.
        ingest: the sources, not started yet.
        pipeline: the inference loop.
        mining, spool: hard examples, if mining is on; the spool also where an earlier run left one.
        uplink: sends them to the hub, if there is one.
        events: the events file, its pictures and its subscribers.
        results: annotated videos or pictures, if wanted.
        summary: counts for the closing table.
        latest: the latest frame of each source, for the preview.
        calendar: how far the clock can be believed.
        batch: every source is read to its end, so every queue waits and nothing is dropped.
        models, updates: the folder of models and who takes new ones, if updates are on; a batch run keeps its model.
        detections: one line a frame, if wanted.
        deploys: who tells Sedna what became of a model that it announced.
    """

    config: AgentConfig
    slot: ModelSlot
    ingest: Ingest
    pipeline: Pipeline
    mining: MiningStage | None
    spool: Spool | None
    uplink: Uplink | None
    events: EventStage
    results: ResultsStage | None
    summary: Summary
    latest: LatestFrames
    calendar: Calendar
    batch: bool
    models: Models | None = None
    updates: UpdateLoop | None = None
    detections: DetectionLog | None = None
    deploys: DeployReports | None = None

    def close(self) -> None:
        """Stops the sources, writes what is queued, closes every file.

        Raises:
            StorageError: the finished results could not be put in place.
        """
        seconds = FLUSH_SECONDS if self.batch else STOP_SECONDS
        with contextlib.ExitStack() as stack:
            if self.models is not None:
                stack.callback(self.models.close)
            if self.spool is not None:
                stack.callback(self.spool.close)
            for stage in (self.results, self.detections):
                if stage is not None:
                    stack.callback(stage.close, seconds)
            stack.callback(self.events.close, seconds)
            if self.mining is not None:
                stack.callback(self.mining.close, seconds)
            stack.callback(self._finish)
            stack.callback(self.ingest.close)
            if self.uplink is not None:
                stack.callback(self.uplink.close)

    def _finish(self) -> None:
        for event in self.pipeline.finish():
            self.summary.ended(event)
            self.events.publish(event, None)


def check_composition(config: AgentConfig, clock: Clock) -> None:
    """Checks what goes beyond the configuration itself: addresses, the model's manifest, rules and their parameters.

    Raises:
        AgentError: the first thing that cannot work.
    """
    configured_sources(config, clock)
    mining_rules(config, served_manifest(config))
    check_hub_files(config.hub)
    check_update_files(config)


def compose(
    config: AgentConfig,
    clock: Clock,
    *,
    until_eof: bool,
    observers: Sequence[FrameObserver] = (),
    sources: Sequence[tuple[FrameSource, SourceSettings]] | None = None,
    hot: HotUpdates | None = None,
) -> Agent:
    """Makes all parts; nothing is started, no source is opened.

    Args:
        config: checked.
        clock: time.
        until_eof: a run that ends with its files.
        observers: told of every frame, before the agent's own.
        sources: instead of the configured ones.
        hot: new models come by Sedna's hot update, not from a channel.

    Raises:
        AgentError: a part cannot be made: no sources, a bad model, a folder that cannot be written.
    """
    # A thread that comes back from the network waits for Python's lock; the usual 5 ms are a frame's time.
    sys.setswitchinterval(SWITCH_SECONDS)
    cv2.setNumThreads(1)  # pictures are small and sources have their own threads: a pool would only cost
    chosen = configured_sources(config, clock, until_eof=until_eof) if sources is None else list(sources)
    if not chosen:
        raise ConfigError("no sources: give at least one [[sources]] table with name and url")
    batch = until_eof and not any(source.live for source, _ in chosen)
    calendar = make_calendar(config, clock)
    with contextlib.ExitStack() as undo:
        models = None
        if config.updates.enabled and not batch:
            models = open_models(config, clock)
            undo.callback(models.close)
        slot = ModelSlot(load_detector(config) if models is None else first_detector(config, models))
        spool, mining = _mining(config, slot, clock, calendar, undo, blocking=batch)
        uplink = make_uplink(config, spool, clock)
        events = _events(config, clock, calendar, blocking=batch)
        undo.callback(events.close, 0.0)
        results = _results(config, chosen, blocking=batch)
        detections = _detections(config, blocking=batch)
        summary, latest = Summary(), LatestFrames()
        ours: list[FrameObserver] = [summary, latest, events]
        if results is not None:
            ours.append(results)
        if detections is not None:
            ours.append(detections)
        ingest = Ingest(chosen, _preparing(slot), clock, random.SystemRandom().random, until_eof=until_eof)
        pipeline = Pipeline(
            feed=ingest,
            slot=slot,
            eyes=lambda source: _eyes(config, source),
            mining=mining,
            observers=[*observers, *ours],
            clock=clock,
            blocking=batch,
        )
        updates = deploys = None
        if models is not None:
            live = SwappedModel(config, slot, pipeline, mining, latest)
            feed = None if hot is None else sedna_feed(hot, models)
            updates = make_updates(config, models, live, slot, clock, calendar=calendar, feed=feed)
            pipeline.rescue = updates.rescue
            deploys = None if hot is None or feed is None else deploy_reports(hot, feed, models, clock)
        undo.pop_all()
    return Agent(
        config,
        slot,
        ingest,
        pipeline,
        mining,
        spool,
        uplink,
        events,
        results,
        summary,
        latest,
        calendar,
        batch,
        models,
        updates,
        detections,
        deploys,
    )


def _preparing(slot: ModelSlot) -> Callable[[BgrImage, PreparedFrame | None], PreparedFrame]:
    def prepare(image: BgrImage, reuse: PreparedFrame | None) -> PreparedFrame:
        return slot.current.prepare(image, reuse)

    return prepare


def _eyes(config: AgentConfig, source: str) -> SourceEyes:
    rule = config.compliance
    if not rule.enabled:
        return SourceEyes(Tracker(), None)
    settings = ComplianceSettings(rule.frames_needed, rule.window, rule.require_person)
    return SourceEyes(Tracker(), Compliance(source, settings))


def _mining(
    config: AgentConfig,
    slot: ModelSlot,
    clock: Clock,
    calendar: Calendar,
    undo: contextlib.ExitStack,
    *,
    blocking: bool,
) -> tuple[Spool | None, MiningStage | None]:
    folder = config.node.data_dir / "spool"
    # What was kept before mining was switched off is still sent, and still deleted after its time.
    if not config.mining.enabled and not folder.is_dir():
        return None, None
    rules = mining_rules(config, slot.current.manifest) if config.mining.enabled else ()
    spool = Spool(folder, config.spool.quota)
    undo.callback(spool.close)
    spool.expire(calendar.certain(), config.spool.retention_days)
    if not config.mining.enabled:
        return spool, None
    sink: ExampleSink = spool
    if config.sink.directory is not None:
        sink = SpoolAndFolder(spool, DirectorySink(config.sink.directory))
    stage = mining_stage(config, rules, sink, clock, blocking=blocking)
    undo.callback(stage.close, 0.0)
    return spool, stage


def _events(config: AgentConfig, clock: Clock, calendar: Calendar, *, blocking: bool) -> EventStage:
    settings = config.events
    log = EventLog(
        config.node.data_dir / "events", settings.quota, settings.snapshot_quota, retention_days=settings.retention_days
    )
    return EventStage(
        EventWriter(log, clock, blocking=blocking, certain=calendar.certain), jpeg if settings.snapshots else None
    )


def _results(
    config: AgentConfig, sources: Sequence[tuple[FrameSource, SourceSettings]], *, blocking: bool
) -> ResultsStage | None:
    folder = config.results.directory
    if folder is None:
        return None
    if not config.results.video:
        return ResultsStage(lambda source: AnnotatedPictures(folder, source), draw, blocking=blocking)
    by_name = {settings.display_name: source for source, settings in sources}

    def open_video(name: str) -> VideoFile:
        return AnnotatedVideo(folder, name, getattr(by_name.get(name), "frames_per_second", 0.0) or VIDEO_RATE)

    return ResultsStage(open_video, draw, blocking=blocking)


def _detections(config: AgentConfig, *, blocking: bool) -> DetectionLog | None:
    folder = config.results.detections
    if folder is None:
        return None
    return DetectionLog(lambda source: DetectionLines(folder, source), blocking=blocking)
