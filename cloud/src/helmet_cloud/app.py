# SPDX-License-Identifier: Apache-2.0
"""Puts the hub together: one process, one database, one folder. The only place where all parts meet.

::

    listen          Front -> /channel/*  ChannelFiles
                          -> the rest    FastAPI: basics, metrics, resource API, examples, labels, nodes
    workers_listen  workers_app          reports of train and eval workers
    threads         the two servers, the job controller, housekeeping
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI

import helmet_cloud
from helmet_agent.durable import FolderLock, make_folder, write_atomic
from helmet_cloud.api.auth import Auth
from helmet_cloud.api.basics import basics_router
from helmet_cloud.api.channel import ChannelFiles
from helmet_cloud.api.connections import ConnectionLimits, room_for
from helmet_cloud.api.examples import examples_router, make_uploads
from helmet_cloud.api.front import Front
from helmet_cloud.api.kube import kube_router
from helmet_cloud.api.labels import MAX_LABELS_BYTES, labels_router
from helmet_cloud.api.metrics import FigureCollector, HubCollector, metrics_router
from helmet_cloud.api.nodes import nodes_router
from helmet_cloud.api.problem import install_problems
from helmet_cloud.api.rates import HubLimits
from helmet_cloud.api.server import KEEP_ALIVE_SECONDS, WebServer, load_certificate, server_tls
from helmet_cloud.api.upload_door import UploadDoor
from helmet_cloud.api.workers import workers_app
from helmet_cloud.channel import open_channel, open_repository
from helmet_cloud.clock import SystemClock
from helmet_cloud.controller import JobController
from helmet_cloud.controller.rollouts import Rollouts
from helmet_cloud.examples.labelling import Labelling
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.housekeeping import Chore, Housekeeping
from helmet_cloud.setup.kubeconfig import write_kubeconfig
from helmet_cloud.setup.steps import certificate_hosts, public_url
from helmet_cloud.setup.tls import RENEW_DAYS, TlsFiles, make_server
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from helmet_cloud.settings import HubHome

_log = structlog.get_logger(__name__)

FRESHEN_SECONDS = 600.0
RETENTION_SECONDS = 3600.0
DAY_SECONDS = 86400.0
HEADROOM_BYTES = 1 << 20
STUCK_SECONDS = 120.0


class Worker:
    """A loop on a thread of its own.

    Args:
        name: of the thread.
        run: turns until the event is set.
    """

    def __init__(self, name: str, run: Callable[[threading.Event], None]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it still turns."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the turn in hand, or leaves it alone after a second: what it does survives being killed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)


class Hub:
    """The whole hub of one folder, from the lock to the last thread.

    Making it takes the folder and the addresses; ``start`` begins to answer; ``stop`` ends everything, in any state.

    Args:
        home: the folder and its settings.
        now: Unix time in seconds.

    Raises:
        AgentError: the folder is in use, an address is taken, the channel cannot be read; one line says which.
    """

    def __init__(self, home: HubHome, now: Callable[[], float] = time.time) -> None:
        self.home = home
        self._now = now
        self._undo: list[Callable[[], object]] = []
        try:
            self._make()
        except BaseException:
            self.stop()
            raise

    def _make(self) -> None:
        home, settings = self.home, self.home.settings
        lock = FolderLock(home.folder)
        self._undo.append(lock.release)
        for folder in (home.work, home.models, home.pictures):
            make_folder(folder, mode=0o700)
        self.database = open_database(home)
        self._undo.append(self.database.close)
        self.channel = open_channel(home, self.database, self._now)
        self.repository = open_repository(home, self._now)
        self.channel.heal()
        self.channel.freshen()
        self.tls = TlsFiles(home.tls)
        self._renew_certificate()
        self._context = server_tls(self.tls.chain, self.tls.key)
        limits = ConnectionLimits(
            room_for(settings.connections),
            settings.address_connections,
            settings.head_seconds,
            KEEP_ALIVE_SECONDS + settings.head_seconds,
        )
        self.front_server = WebServer(settings.listen, "listen", self._context, limits)
        self._undo.append(self.front_server.stop)
        self.workers_server = WebServer(settings.workers_listen, "workers_listen")
        self._undo.append(self.workers_server.stop)
        self.url = public_url(settings, self.front_server.port)
        self.auth = Auth(self.database)
        self.resources = ResourceStore(self.database, self._now)
        self.examples = HubExamples(home, self.database, self._now)
        self._undo.append(self.examples.close)
        self.runner = ProcessRunner(self.database, f"http://{self.workers_server.address}")
        self._undo.append(lambda: _bounded(self.runner.close))
        controller = JobController(home, self.database, self.resources, self.runner, self.channel, SystemClock())
        self.controller = Worker("controller", controller.run)
        self._undo.append(self.controller.stop)
        rollouts = Rollouts(home.settings, self.database, self.resources, self.channel, SystemClock())
        self.rollouts = Worker("rollouts", rollouts.run)
        self._undo.append(self.rollouts.stop)
        self.files = ChannelFiles(home.channel)
        self.answers: dict[str, Counter[int]] = {"channel": self.files.answers}
        self.uploads = make_uploads(self.examples)
        self.rest = self._rest()
        self.front = Front(UploadDoor(self.rest, self.uploads, self.auth), self.files, self._caps(), self._limits())
        self.answers["api"] = self.front.answers
        self.housekeeping = Housekeeping(self._chores())
        self._undo.append(self.housekeeping.stop)

    def start(self) -> None:
        """Begins to answer and to work.

        Raises:
            AgentError: a server does not come up.
        """
        self.workers_server.start(workers_app(self.database))
        self.front_server.start(self.front)
        self.controller.start()
        self.rollouts.start()
        self.housekeeping.start()
        # Last, since whoever waits for the address asks at once whether every part turns.
        self._tell_address()

    def stop(self) -> None:
        """Ends everything that was begun, last things first; idempotent."""
        front = getattr(self, "front", None)
        if front is not None:
            front.close()
        for server in (getattr(self, name, None) for name in ("front_server", "workers_server")):
            if server is not None:
                server.ask_to_stop()
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:
                _log.warning("a part did not stop cleanly", reason=str(error))

    def problems(self) -> dict[str, str]:
        """What is wrong now, by part; what the watchdog looks at."""
        found = {}
        for name, server in (("listen", self.front_server), ("workers_listen", self.workers_server)):
            if not server.alive:
                found[name] = "the server has ended"
        for name, worker in (("controller", self.controller), ("rollouts", self.rollouts)):
            if not worker.alive:
                found[name] = "its thread has ended"
        if self.housekeeping.age_seconds > STUCK_SECONDS:
            found["housekeeping"] = f"stands still for {self.housekeeping.age_seconds:.0f} s"
        return found

    def _rest(self) -> FastAPI:
        app = FastAPI(
            title="helmet-cloud",
            version=helmet_cloud.__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
        )
        install_problems(app)
        figures = HubCollector(
            self.database,
            self.resources,
            self.repository,
            answers=self.answers,
            certificate_days=lambda: self.tls.days_left(self._now()),
            now=self._now,
        )
        checks = {"parts": self._parts_check, "database": self._database_check, "channel": self._channel_check}
        for router in (
            basics_router(checks),
            metrics_router(self.auth, figures, FigureCollector(self.examples.metrics)),
            examples_router(self.examples, self.auth, self.uploads),
            labels_router(Labelling(self.home, self.database, self.resources), self.auth, self._now),
            nodes_router(self.database, self.auth, self._now),
            kube_router(self.resources, self.home.settings, self.auth.require),
        ):
            app.include_router(router)
        return app

    def _caps(self) -> dict[str, int]:
        return {
            "/v1/examples": self.home.settings.max_example_bytes + HEADROOM_BYTES,
            "/v1/labels": MAX_LABELS_BYTES + HEADROOM_BYTES,
        }

    def _limits(self) -> HubLimits:
        settings = self.home.settings
        return HubLimits(
            self.auth.token_name,
            settings.token_requests_per_second,
            settings.address_requests_per_second,
            settings.channel_requests_per_second,
        )

    def _chores(self) -> list[Chore]:
        return [
            Chore("fresh signatures", FRESHEN_SECONDS, self.channel.freshen),
            Chore("fresh certificate", DAY_SECONDS, self._reload_certificate),
            Chore("retention", RETENTION_SECONDS, lambda: self.examples.housekeeping.expire(self._now())),
            Chore("pictures without a record", DAY_SECONDS, self.examples.housekeeping.heal, at_start=True),
        ]

    def _parts_check(self) -> str | None:
        return "; ".join(f"{part}: {said}" for part, said in self.problems().items()) or None

    def _database_check(self) -> str | None:
        with self.database.read() as session:
            session.connection().exec_driver_sql("SELECT 1")
        return None

    def _channel_check(self) -> str | None:
        late = [role for role, expires in self.repository.state().expires().items() if expires <= self._now()]
        return f"expired: {', '.join(late)}; run `helmet-cloud channel resign`" if late else None

    def _renew_certificate(self) -> bool:
        """Makes a new server certificate when the old one is about to expire and is our own."""
        days = self.tls.days_left(self._now())
        if days > RENEW_DAYS:
            return False
        if not self.tls.ca_key.exists():
            _log.warning("the server's certificate expires soon", days=round(days, 1), file=str(self.tls.certificate))
            return False
        names = self.tls.names() or certificate_hosts(self.home.settings, ())
        make_server(self.tls, names, self._now())
        _log.info("made a new server certificate", names=names)
        return True

    def _reload_certificate(self) -> None:
        if self._renew_certificate():
            load_certificate(self._context, self.tls.chain, self.tls.key)

    def _tell_address(self) -> None:
        """Writes ``DIR/address``; with port 0, also the kubeconfig that names the port."""
        document = {"url": self.url, "listen": self.front_server.address, "workers": self.workers_server.address}
        path = self.home.folder / "address"
        self._undo.append(lambda: path.unlink(missing_ok=True))
        write_atomic(path, json.dumps(document).encode() + b"\n", mode=0o644)
        token = self.home.folder / "tokens" / "admin.token"
        if self.home.settings.listen.endswith(":0") and token.exists():
            write_kubeconfig(self.home.kubeconfig, self.url, self.tls.ca.read_bytes(), token.read_text().strip())


def _bounded(close: Callable[[], object], seconds: float = 1.0) -> None:
    """Waits so long for it and no longer: workers whose hub has gone are ended by their guards."""
    thread = threading.Thread(target=close, name="closing", daemon=True)
    thread.start()
    thread.join(seconds)
