# SPDX-License-Identifier: Apache-2.0
"""New models: the parts of the updater put together from the configuration."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog

from helmet_agent.adapters.litert import MANIFEST_NAME
from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.adapters.model_store import ModelStore, files_of
from helmet_agent.adapters.probe_process import ProbeProcess
from helmet_agent.app.models import load_detector, model_folder
from helmet_agent.app.probe_child import ProbeTask
from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.crash_points import nothing
from helmet_agent.errors import ConfigError, ManifestError, ModelError, UpdateError
from helmet_agent.quantities import format_bytes
from helmet_agent.services.live_model import UpdateRules
from helmet_agent.services.update_book import UpdateBook
from helmet_agent.services.update_events import Kind, ModelRef
from helmet_agent.services.update_loop import UpdateLoop
from helmet_agent.services.update_state import Phase
from helmet_agent.services.updater import Updater

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.adapters.tuf_feed import TufFeed
    from helmet_agent.adapters.tuf_feed.transport import Transport
    from helmet_agent.config import AgentConfig
    from helmet_agent.config.updates import UpdatesConfig
    from helmet_agent.contract import FileReference
    from helmet_agent.crash_points import Reach
    from helmet_agent.detector import HelmetDetector
    from helmet_agent.ports import Clock, ModelFeed, ModelOffer, ModelProbe
    from helmet_agent.runtime import ModelSlot
    from helmet_agent.services.governor_loop import Reading
    from helmet_agent.services.live_model import LiveModel
    from helmet_agent.timekeeping import Calendar

MOST_FALLBACKS = 5
PROBE_ROOM_BYTES = 128 << 20
"""Memory that a trial gets for each of two models, on top of what the program itself takes."""

PROBE_NEEDS_BYTES = 192 << 20
"""Memory that must be free, by every limit there is, before a trial begins."""

_log = structlog.get_logger(__name__)


@dataclass
class Models:
    """The node's folder of models and what is known of them.

    Attributes:
        store: the folder; owned.
        book: the updater's state.
    """

    store: ModelStore
    book: UpdateBook

    def close(self) -> None:
        """Lets go of the folder."""
        self.store.close()


def open_models(config: AgentConfig, clock: Clock, reach: Reach = nothing) -> Models:
    """Opens the folder of models; the configured model is in it afterwards.

    Raises:
        StorageError: another process owns the folder, or it cannot be written.
        ManifestError: the configured model's manifest cannot be used.
    """
    store = ModelStore(models_folder(config), reach=reach)
    try:
        base = _install_base(config, store)
        return Models(store, UpdateBook(store, base, clock, reach))
    except BaseException:
        store.close()
        raise


def models_folder(config: AgentConfig) -> Path:
    """Where the node keeps its models."""
    return config.node.data_dir / "models"


def first_detector(config: AgentConfig, models: Models) -> HelmetDetector:
    """The model to start with: the current one, or the best of those before it that can be loaded.

    Raises:
        ModelError: not even the configured model can serve. StorageError: the journal cannot be written.
    """
    models.book.begin()
    for _ in range(MOST_FALLBACKS):
        state = models.book.state
        try:
            return load_detector(config, models.store.folder(state.current.key))
        except (ModelError, ConfigError) as error:
            if state.phase is Phase.LIVE:
                models.book.note(Kind.QUARANTINED, reason=str(error))
                _log.error("models: the new one is refused", sha256=state.current.sha256, reason=str(error))
            elif state.current.key == models.book.base.key:
                raise
            else:
                models.book.fall_back(str(error))
    raise ModelError(
        f"no model in {models_folder(config)} can serve; remove the folder to begin with the configured one"
    )


def make_updates(
    config: AgentConfig,
    models: Models,
    live: LiveModel,
    slot: ModelSlot,
    clock: Clock,
    *,
    calendar: Calendar,
    feed: ModelFeed | None = None,
) -> UpdateLoop:
    """The updater on its thread; not started.

    Args:
        config: with updates enabled.
        models: opened, and begun by ``first_detector``.
        live: swaps models.
        slot: the live model, whose manifest says how often to poll.
        clock: time.
        calendar: how far it can be believed.
        feed: where new models come from; None: the configured channel.
    """
    settings = config.updates
    feed = feed or LateFeed(config, models.store, clock, calendar)
    probe = make_probe(config)

    def poll_seconds() -> float:
        return settings.poll_seconds or float(slot.current.manifest.delivery.poll_seconds)

    return UpdateLoop(
        updater=make_updater(config, models, live, clock, feed=feed, probe=probe),
        feed=feed,
        probe=probe,
        shelf=models.store,
        open_bundle=lambda name: bundle_feed(
            config, models.store, models.store.desk.bundle_folder(name), clock, calendar
        ),
        clock=clock,
        doubt=calendar.doubt,
        random=random.SystemRandom().random,
        poll_seconds=poll_seconds,
        job=settings.follow or "",
        ring=settings.ring,
    )


def make_updater(
    config: AgentConfig,
    models: Models,
    live: LiveModel,
    clock: Clock,
    *,
    feed: ModelFeed,
    probe: ModelProbe,
    cold: bool = False,
) -> Updater:
    """The updater alone; ``cold``: without a running agent, new models wait for its next start."""
    settings = config.updates
    rules = UpdateRules(
        settings.follow or "",
        settings.probation_seconds,
        settings.probation_frames,
        settings.max_latency_ratio,
        cold=cold,
    )
    return Updater(feed=feed, shelf=models.store, book=models.book, probe=probe, live=live, clock=clock, rules=rules)


def make_probe(config: AgentConfig) -> ProbeProcess:
    """Tries models by ``app.probe_child``."""
    settings = config.updates

    def command(candidate: Path, current: Path) -> Sequence[str]:
        free = free_bytes(MemoryReader().read(), config.memory.limit)
        if free < PROBE_NEEDS_BYTES:
            needs = format_bytes(PROBE_NEEDS_BYTES)
            raise UpdateError(f"not enough memory to try a new model: it takes {needs}, {format_bytes(free)} are free")
        task = ProbeTask(
            candidate=str(candidate),
            current=str(current),
            allowance_bytes=PROBE_ROOM_BYTES,
            limit_bytes=config.memory.limit,
            cpu_seconds=round(settings.probe_seconds),
            max_latency_ratio=settings.max_latency_ratio,
            max_memory_ratio=settings.max_memory_ratio,
        )
        return [sys.executable, "-m", "helmet_agent.app.probe_child", json.dumps(asdict(task))]

    return ProbeProcess(command, settings.probe_seconds)


def free_bytes(reading: Reading, configured: int | None) -> int:
    """Memory that is left below the nearest limit: the configured one, a control group's, or the machine's."""
    own = reading.physical_bytes if configured is None else min(configured, reading.physical_bytes)
    groups = [group.limit_bytes - group.used_bytes for group in reading.groups if group.limit_bytes]
    return max(0, min([own - reading.rss_bytes, *groups]))


class LateFeed:
    """The channel's feed, made when it is first asked: its libraries take longer to load than a model.

    Implements ``ports.ModelFeed``; without ``channel_url`` it never has anything.
    """

    def __init__(self, config: AgentConfig, store: ModelStore, clock: Clock, calendar: Calendar) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._calendar = calendar
        self._feed: TufFeed | None = None
        self._cancelled = False

    def check(self) -> ModelOffer | None:
        """See ``ports.ModelFeed``."""
        settings = self._config.updates
        if settings.channel_url is None:
            return None
        if self._feed is None:
            from helmet_agent.adapters.tuf_feed import HttpTransport  # noqa: PLC0415 - see above

            try:
                transport = HttpTransport(
                    settings.channel_url,
                    settings.ca_file,
                    settings.timeout_seconds,
                    settings.proxy,
                    lambda: self._calendar.doubt() is not None,
                )
                self._feed = _tuf_feed(settings, transport, self._store, self._clock, self._calendar)
            except ConfigError as error:
                raise UpdateError(str(error)) from error
            if self._cancelled:
                self._feed.cancel()
        return self._feed.check()

    def fetch(self, wanted: FileReference, into: Path) -> None:
        """See ``ports.ModelFeed``."""
        if self._feed is None:
            raise UpdateError("the channel was not read yet")
        self._feed.fetch(wanted, into)

    def cancel(self) -> None:
        """See ``ports.ModelFeed``."""
        self._cancelled = True
        if self._feed is not None:
            self._feed.cancel()


def bundle_feed(config: AgentConfig, store: ModelStore, folder: Path, clock: Clock, calendar: Calendar) -> TufFeed:
    """A feed of a folder that somebody carried here, verified like the channel.

    Raises:
        ConfigError: the root file cannot be read.
    """
    from helmet_agent.adapters.tuf_feed import FolderTransport  # noqa: PLC0415 - loads TUF

    return _tuf_feed(config.updates, FolderTransport(folder), store, clock, calendar)


def check_update_files(config: AgentConfig) -> None:
    """Looks at the files that updates need; nothing is asked of the channel.

    Raises:
        ConfigError: the root metadata or the certificates cannot be used.
    """
    settings = config.updates
    if not settings.enabled:
        return
    from helmet_agent.adapters.tuf_feed import HttpTransport, check_root  # noqa: PLC0415 - loads TUF

    try:
        check_root(_root(settings))
    except ValueError as error:
        raise ConfigError(f"updates.root_file: {settings.root_file}: {error}") from error
    if settings.channel_url is not None:
        HttpTransport(settings.channel_url, settings.ca_file, settings.timeout_seconds, settings.proxy).close()


def _tuf_feed(
    settings: UpdatesConfig, transport: Transport, store: ModelStore, clock: Clock, calendar: Calendar
) -> TufFeed:
    from helmet_agent.adapters.tuf_feed import Channel, TufFeed  # noqa: PLC0415 - loads TUF

    channel = Channel(settings.follow or "", settings.ring, _root(settings))
    return TufFeed(transport, channel, store.metadata_folder(), clock, calendar)


def _root(settings: UpdatesConfig) -> bytes:
    if settings.root_file is None:
        raise ConfigError("updates.root_file: expected the path of a root.json, found nothing")
    try:
        return settings.root_file.read_bytes()
    except OSError as error:
        raise ConfigError(f"updates.root_file: {settings.root_file}: cannot be read: {error.strerror}") from error


def base_model(config: AgentConfig) -> tuple[ModelRef, ModelManifest, bytes]:
    """The configured model, its manifest, and the manifest's file.

    Raises:
        ManifestError: the manifest cannot be used.
    """
    path = model_folder(config) / MANIFEST_NAME
    try:
        content = path.read_bytes()
        manifest = ModelManifest.from_bytes(content)
    except OSError as error:
        raise ManifestError(f"manifest cannot be read: {error.strerror}: {path}") from error
    except ContractError as error:
        raise ManifestError(f"{path}: {error}") from error
    key = hashlib.sha256(content).hexdigest()
    return ModelRef(key, manifest.model.sha256, manifest.release, name=manifest.name), manifest, content


def _install_base(config: AgentConfig, store: ModelStore) -> ModelRef:
    model, manifest, content = base_model(config)
    folder = model_folder(config)
    files = {wanted.name: folder / wanted.name for wanted in files_of(manifest)}
    given = config.model.path
    if given is not None and not given.is_dir():
        files[manifest.model.name] = given
    store.install(content, manifest, files)
    return model
