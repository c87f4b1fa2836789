# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` for Prometheus, made when somebody asks.

Names follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` for what only grows.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.responses import Response

import helmet_cloud
from helmet_cloud.resources.kinds import JOB
from helmet_cloud.store.models import count_publications
from helmet_cloud.store.nodes import list_nodes
from helmet_cloud.store.rounds import RoundRow
from helmet_cloud.store.tokens import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from helmet_cloud.api.auth import Auth
    from helmet_cloud.channel import Repository
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.nodes import NodeRow
    from helmet_cloud.store.resources import ResourceStore

PREFIX = "helmet_hub_"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SAMPLE = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})?\Z")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def metrics_router(auth: Auth, *collectors: Collector) -> APIRouter:
    """The route, open to scope admin.

    Args:
        auth: knows tokens.
        collectors: whose figures are shown, beside those of the process.
    """
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    for one in collectors:
        registry.register(one)
    router = APIRouter(tags=["basics"])

    @router.get("/metrics", response_class=Response, dependencies=[Depends(auth.require(ADMIN))])
    def metrics() -> Response:
        """Figures in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=MEDIA_TYPE)

    return router


class HubCollector(Collector):
    """Figures of the loop, the channel and the HTTP interface.

    Args:
        database: rounds and publications.
        resources: jobs.
        repository: how long the channel's signatures last.
        answers: counters of HTTP answers by status, by what they belong to.
        certificate_days: until the server's certificate expires.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        resources: ResourceStore,
        repository: Repository,
        *,
        answers: Mapping[str, Counter[int]],
        certificate_days: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._resources = resources
        self._repository = repository
        self._answers = answers
        self._certificate_days = certificate_days
        self._now = now

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of one moment."""
        yield gauge("info", "The version of the hub.", ("version",), {(helmet_cloud.__version__,): 1})
        yield gauge(
            "jobs", "Jobs, by stage and state.", ("stage", "state"), jobs_by_stage(self._resources.list(JOB.name))
        )
        with self._database.read() as session:
            counted = select(RoundRow.status, func.count()).group_by(RoundRow.status)
            rounds = {(status,): count for status, count in session.execute(counted)}
            published = count_publications(session)
            nodes = Counter(node_state(row, self._now()) for row in list_nodes(session))
        yield gauge("nodes", "Enrolled nodes, by what they last said of themselves.", ("state",), nodes)
        yield gauge("rounds", "Rounds, by how they stand or ended.", ("status",), rounds)
        yield counter("publications", "Models that went out, by job and ring.", ("job", "ring"), published)
        expires = {(role,): moment for role, moment in self._repository.state().expires().items()}
        about = "When the signatures of a role of the channel expire, Unix time."
        yield gauge("channel_expiry_timestamp_seconds", about, ("role",), expires)
        days = {(): self._certificate_days() * 86400.0}
        yield gauge("certificate_seconds_left", "Until the server's certificate expires.", (), days)
        answers = {(part, str(code)): n for part, counts in self._answers.items() for code, n in dict(counts).items()}
        yield counter("answers", "HTTP answers, by part and status.", ("part", "status"), answers)


class FigureCollector(Collector):
    """Figures that a part hands over under their full names, labels included: ``helmet_hub_x{state="new"}``.

    Args:
        figures: asked at every scrape.
    """

    def __init__(self, figures: Callable[[], Mapping[str, float]]) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing, as above."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family a name; names that end in ``_total`` are counters."""
        families: dict[str, dict[tuple[str, ...], float]] = {}
        keys: dict[str, tuple[str, ...]] = {}
        for text, value in self._figures().items():
            found = _SAMPLE.match(text)
            if found is None:
                continue
            pairs = _LABEL.findall(found[2] or "")
            keys[found[1]] = tuple(key for key, _ in pairs)
            families.setdefault(found[1], {})[tuple(label for _, label in pairs)] = value
        for name, values in sorted(families.items()):
            short = name.removeprefix(PREFIX)
            make = counter if short.endswith("_total") else gauge
            yield make(short.removesuffix("_total"), short.replace("_", " "), keys[name], values)


def node_state(row: NodeRow, now: float) -> tuple[str]:
    """``new`` before its first report, ``silent`` when the last one is old, else whether it is ``healthy``."""
    last = row.last
    if last is None:
        return ("new",)
    if row.stale(now):
        return ("silent",)
    return ("healthy" if last.healthy else "unhealthy",)


def jobs_by_stage(documents: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], float]:
    """How many jobs stand where, by the last condition that has a stage."""
    found: Counter[tuple[str, ...]] = Counter()
    for document in documents:
        conditions = document.get("status", {}).get("conditions", [])
        staged = [one for one in conditions if one.get("stage") and one.get("status") == "True"]
        last = staged[-1] if staged else {}
        found[last.get("stage", "none"), last.get("type", "none")] += 1
    return {key: float(count) for key, count in found.items()}


def gauge(name: str, about: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """A family of values that may fall."""
    family = GaugeMetricFamily(PREFIX + name, about, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def counter(name: str, about: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """A family of values that only grow."""
    family = CounterMetricFamily(PREFIX + name, about, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
