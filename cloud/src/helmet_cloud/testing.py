# SPDX-License-Identifier: Apache-2.0
"""Fakes of the hub's seams that ship with it: workers from a script and a channel in memory, both fit to be killed."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import FileReference, InputSpec, MiningRule, ModelManifest, OutputSpec, Thresholds
from helmet_agent.durable import make_folder, write_atomic
from helmet_cloud.labels import LABELS
from helmet_cloud.ports import Published, WorkerReport, WorkerState
from helmet_cloud.store.worker_reports import WorkerReports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from helmet_cloud.errors import HubError
    from helmet_cloud.ports import JobRef, Publication, WorkerSpec
    from helmet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class Report:
    """A worker says something."""

    status: str
    results: tuple[dict[str, Any], ...] = ()
    owner_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker's process ends."""

    code: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker runs on."""


Act = Report | Exit | Idle


class ScriptedRunner:
    """Implements ``ports.WorkerRunner`` without processes: each look at a worker plays the next act of its script.

    Names and reports are kept in the database as the real runner keeps them; processes are forgotten with the object,
    as a restart of the hub ends them.

    Args:
        database: of the hub.
        script: what a worker does; at the end of its acts it runs on for ever.

    Attributes:
        script: as given; may be changed at any time.
        started: the workers, in order.
        stopped: (name, reason) in order.
        refuses: raised by every ``start`` while it is set.
    """

    def __init__(self, database: Database, script: Callable[[WorkerSpec], Iterable[Act]]) -> None:
        self._reports = WorkerReports(database)
        self.script = script
        self._acts: dict[str, deque[Act]] = {}
        self._states: dict[str, WorkerState] = {}
        self.started: list[WorkerSpec] = []
        self.stopped: list[tuple[str, str]] = []
        self.refuses: HubError | None = None

    def start(self, spec: WorkerSpec) -> None:
        """Begins a worker's script."""
        if self.refuses is not None:
            raise self.refuses
        self._reports.register(spec.name, spec.job, spec.kind)
        self.started.append(spec)
        self._acts[spec.name] = deque(self.script(spec))
        self._states[spec.name] = WorkerState(running=True, exit_code=None, reason=None, log=spec.folder / "log")

    def state(self, name: str) -> WorkerState | None:
        """Plays the next act and says what became of the worker."""
        state = self._states.get(name)
        acts = self._acts.get(name)
        if state is None or not acts:
            return state
        act = acts.popleft()
        if isinstance(act, Report):
            kind = next(spec.kind for spec in self.started if spec.name == name)
            self._reports.add(WorkerReport(name, kind, act.status, act.results, act.owner_info))
        elif isinstance(act, Exit):
            state = WorkerState(running=False, exit_code=act.code, reason=act.reason, log=state.log)
            self._states[name] = state
        return state

    def stop(self, name: str, reason: str) -> None:
        """Ends a worker; what is left of its script is not played."""
        self.stopped.append((name, reason))
        state = self._states.get(name)
        if state is not None and state.running:
            self._acts[name].clear()
            self._states[name] = WorkerState(running=False, exit_code=-15, reason=reason, log=state.log)

    def reports(self, name: str) -> Sequence[WorkerReport]:
        """All that it said."""
        return self._reports.of(name)


class MemoryChannel:
    """Implements ``ports.ModelChannel``: remembers what was published.

    Args:
        file: where it is remembered beyond the end of the process; None: nowhere.

    Attributes:
        fails_with: raised by every ``publish`` while it is set.
        publications: what went out, oldest first; of this object only.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._out: list[dict[str, Any]] = json.loads(file.read_bytes()) if file is not None and file.exists() else []
        self.fails_with: Exception | None = None
        self.publications: list[Publication] = []

    @property
    def out(self) -> list[dict[str, Any]]:
        """What went out, oldest first: job, ring, sha256, release and data set."""
        return list(self._out)

    def publish(self, publication: Publication) -> Published:
        """Publishes, unless that is what the ring has already."""
        if self.fails_with is not None:
            raise self.fails_with
        model = ModelManifest.from_bytes((publication.folder / "manifest.json").read_bytes()).model
        content = {
            "job": str(publication.job),
            "ring": publication.ring,
            "sha256": model.sha256,
            "dataset": publication.dataset,
            "parent": publication.parent,
        }
        live = self._live(publication.job, publication.ring)
        if live is None or {key: live[key] for key in content} != content:
            release = 1 + max((one["release"] for one in self._out if one["job"] == content["job"]), default=0)
            live = content | {"release": release}
            self._out.append(live)
            self.publications.append(publication)
            if self._file is not None:
                write_atomic(self._file, json.dumps(self._out).encode())
        return Published(live["sha256"], live["release"])

    def live(self, job: JobRef, ring: str) -> Published | None:
        """What the ring has."""
        found = self._live(job, ring)
        return None if found is None else Published(found["sha256"], found["release"])

    def _live(self, job: JobRef, ring: str) -> dict[str, Any] | None:
        return next((one for one in reversed(self._out) if (one["job"], one["ring"]) == (str(job), ring)), None)


def write_model(folder: Path, content: bytes = b"model") -> str:
    """Writes the folder of a model that nobody can run; returns the digest of its int8 file."""
    make_folder(folder)
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = ModelManifest(
        name="fake",
        release=0,
        model=FileReference("model.tflite", sha256, len(content)),
        input=InputSpec(352, 640),
        outputs=OutputSpec(),
        labels=LABELS,
        thresholds=Thresholds(dict.fromkeys(LABELS, 0.25)),
        mining=MiningRule("IBT"),
    )
    write_atomic(folder / "model.tflite", content)
    write_atomic(folder / "weights.npz", b"weights of " + content)
    write_atomic(folder / "manifest.json", manifest.to_bytes())
    return sha256


def figures(precision: Sequence[float | None], recall: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """The metrics of an evaluated model as an eval worker reports them; ``more`` replaces some.

    Args:
        precision: one a class.
        recall: one a class; also on the regression set.
        more: other metrics.
    """
    found = {
        "precision": list(precision),
        "recall": list(recall),
        "f1": list(recall),
        "map50": list(recall),
        "labels": list(LABELS),
        "samples": 100,
        "objects": [0 if value is None else 50 for value in recall],
        "predictions": [0 if value is None else 50 for value in precision],
        "regression": {"precision": list(precision), "recall": list(recall), "map50": list(recall)},
    }
    return found | more


def well_behaved(
    new: Callable[[WorkerSpec], dict[str, Any]], old: Callable[[WorkerSpec], dict[str, Any]]
) -> Callable[[WorkerSpec], Iterable[Act]]:
    """A script of workers that do what they should: train a model, or report these figures.

    Args:
        new: figures of the new model.
        old: those of the model in service.
    """

    def script(spec: WorkerSpec) -> Iterable[Act]:
        if spec.kind == "train":
            url = spec.environment["MODEL_URL"]
            data = Path(spec.environment["TRAIN_DATASET_URL"]).read_bytes()
            write_model(Path(url), hashlib.sha256(url.rpartition("/")[2].encode() + data).digest())
            results: tuple[dict[str, Any], ...] = ({"format": "tflite", "url": url, "metrics": {"loss": 1.0}},)
        else:
            urls = spec.environment["MODEL_URLS"].split(";")
            found = (new(spec), old(spec))
            results = tuple(
                {"format": "tflite", "url": url, "metrics": metrics} for url, metrics in zip(urls, found, strict=True)
            )
        return (Idle(), Report("completed", results), Exit(0))

    return script
