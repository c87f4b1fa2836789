# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent run``: the agent's life from start to exit code."""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import TYPE_CHECKING, TextIO

import structlog

from helmet_agent.app.composition import Agent, compose
from helmet_agent.app.housekeeping import Housekeeping
from helmet_agent.app.hub import make_reporter
from helmet_agent.app.memory import memory_governor
from helmet_agent.app.node import STUCK_SECONDS, Node
from helmet_agent.app.progress import Progress
from helmet_agent.app.summary import kept
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.errors import EXIT_FAILED, EXIT_OK
from helmet_agent.logs import configure_logging
from helmet_agent.systemd import Notifier, Watchdog, watchdog_interval

if TYPE_CHECKING:
    from types import FrameType

    from helmet_agent.api.server import ApiServer
    from helmet_agent.config import AgentConfig
    from helmet_agent.errors import RestartWanted
    from helmet_agent.ports import Clock
    from helmet_agent.sedna_hot import HotUpdates
    from helmet_agent.services.pipeline import FrameObserver, ProcessedFrame

API_WAITS_SECONDS = 2.0
"""So long the node's API waits for a first frame before it is loaded."""

_log = structlog.get_logger(__name__)


def run_agent(
    config: AgentConfig, *, until_eof: bool, frames_to: TextIO | None = None, hot: HotUpdates | None = None
) -> int:
    """Runs until a signal, the end of all files, the memory limit, or an error; returns the exit code.

    Args:
        config: checked.
        until_eof: stop when every file and folder was read to its end.
        frames_to: where one JSON object a frame is printed, if anywhere.
        hot: new models come by Sedna's hot update, not from a channel.

    Raises:
        AgentError: it cannot start, or cannot go on.
    """
    configure_logging(config.log.level, config.log.format)
    clock = SystemClock()
    notifier = Notifier()
    observers: list[FrameObserver] = []
    progress = None
    if frames_to is not None:
        observers.append(_JsonLines(frames_to))
    elif until_eof:
        progress = Progress(sys.stderr, clock)
        observers.append(progress)
    first = _FirstFrame()
    agent = compose(config, clock, until_eof=until_eof, observers=[first, *observers], hot=hot)
    life = _Life(agent, clock, notifier, first.seen)
    try:
        life.run()
    finally:
        if progress is not None:
            progress.close()
        life.close()
    return _settle(agent, life, until_eof=until_eof, table=until_eof and frames_to is None)


def _settle(agent: Agent, life: _Life, *, until_eof: bool, table: bool) -> int:
    """Says how the run ended and returns the exit code."""
    if life.restart_wanted is not None:
        sys.stderr.write(f"helmet-agent: {life.restart_wanted}\n")
        return life.restart_wanted.exit_code
    if table:
        _tell(agent)
    failures = [str(failure) for failure in agent.ingest.failures]
    if until_eof:
        failures += _lost(agent)
    for failure in failures:
        sys.stderr.write(f"helmet-agent: {failure}\n")
    return EXIT_FAILED if until_eof and failures else EXIT_OK


def _lost(agent: Agent) -> list[str]:
    """What a batch run could not keep: somebody asked for all of it, so it counts as failed."""
    counters = {} if agent.mining is None else agent.mining.counters()
    lost = sum(counters.get(f"dropped.{cause}", 0) for cause in ("sink_error", "encode_error"))
    return [f"{lost} hard examples could not be kept; the log above says why"] if lost else []


class _Life:
    """Starts everything in order, and ends it in the order that loses nothing."""

    def __init__(self, agent: Agent, clock: Clock, notifier: Notifier, first_frame: threading.Event) -> None:
        self._agent = agent
        self._first_frame = first_frame
        self._notifier = notifier
        self._stop = threading.Event()
        self._asked_to_stop = False
        self._node = Node(agent, clock)
        self.restart_wanted: RestartWanted | None = None
        self._api: ApiServer | None = None
        self._api_error: Exception | None = None
        self._watchdog = Watchdog(self._node.beats, STUCK_SECONDS, notifier, watchdog_interval())
        self._memory = memory_governor(agent, self._node.preview, self._leave_for_restart, clock)
        self._node.watch_memory(self._memory)
        self._housekeeping = Housekeeping(agent)
        self._reporter = make_reporter(agent.config.hub, self._node, clock, agent.updates)
        if self._reporter is not None:
            self._node.watch_reports(self._reporter)
        agent.events.add_listener(self._node.events.publish)

    def run(self) -> None:
        """Runs the inference loop on this thread.

        Raises:
            AgentError: the API's port is taken, or the model fails on frame after frame.
        """
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._agent.ingest.start()
            threading.Thread(target=self._start_api, name="api start", daemon=True).start()
            self._memory.start()
            self._housekeeping.start()
            if self._agent.updates is not None:
                self._agent.updates.start()
            if self._agent.deploys is not None:
                self._agent.deploys.start()
            if self._agent.uplink is not None:
                self._agent.uplink.start()
            if self._reporter is not None:
                self._reporter.start()
            self._node.started()
            self._notifier.ready(f"watching {len(self._agent.config.sources)} sources")
            self._watchdog.start()
            self._agent.pipeline.run(self._stop)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self._api_error is not None:
            raise self._api_error

    def close(self) -> None:
        """Ends everything."""
        self._node.stopping()
        if self._agent.updates is not None:
            # A restart for want of memory or after an error may be the new model's doing: no goodbye then.
            self._agent.updates.close(goodbye=self._asked_to_stop)
        if self._agent.deploys is not None:
            self._agent.deploys.close()
        self._notifier.stopping("writing what is queued")
        self._watchdog.stop()
        self._memory.close()
        self._housekeeping.stop()
        if self._reporter is not None:
            self._reporter.close()
        try:
            self._agent.close()
        finally:
            if self._api is not None:
                self._api.stop()

    def _start_api(self) -> None:
        if not self._agent.config.api.enabled:
            return
        # Its libraries take longer to load than the model; the first frame comes first, unless no camera answers.
        self._first_frame.wait(API_WAITS_SECONDS)
        try:
            from helmet_agent.app.serving import start_api  # noqa: PLC0415 - loads FastAPI

            self._api = start_api(self._agent.config.api, self._node)
        except Exception as error:
            self._api_error = error
            self._stop.set()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        _log.info("asked to stop", signal=signal.Signals(number).name)
        self._asked_to_stop = True
        self._stop.set()

    def _leave_for_restart(self, reason: RestartWanted) -> None:
        self.restart_wanted = reason
        self._stop.set()


class _FirstFrame:
    """Notices the first frame; a ``FrameObserver``."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def observe(self, _processed: ProcessedFrame) -> None:
        self.seen.set()


class _JsonLines:
    """Prints one JSON object a frame; a ``FrameObserver``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def observe(self, processed: ProcessedFrame) -> None:
        self._out.write(json.dumps(processed.report.to_json()) + "\n")
        self._out.flush()


def _tell(agent: Agent) -> None:
    """The closing table of a batch run, and where its results lie."""
    config = agent.config
    inference = agent.pipeline.inference.summary()
    lines = ["", agent.summary.table(agent.slot.current.manifest.labels), ""]
    lines.append(f"inference  {1000 * inference.median_seconds:.1f} ms a frame (median)")
    lines.append(f"events     {config.node.data_dir / 'events' / 'events.jsonl'}")
    if agent.mining is not None:
        where = config.sink.directory or config.node.data_dir / "spool"
        lines.append(f"examples   {where}   ({kept(agent.mining.counters())})")
    if config.results.directory is not None:
        lines.append(f"results    {config.results.directory}")
    sys.stdout.write("\n".join(lines) + "\n")
