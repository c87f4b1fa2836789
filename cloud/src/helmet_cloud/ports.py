# SPDX-License-Identifier: Apache-2.0
"""The seams of the hub: workers, the channel, time. The controller knows its surroundings only through these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from helmet_agent.contract import Delivery, MiningRule


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job by name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A train or eval worker that is to run.

    Attributes:
        name: unique for ever, such as ``helmet-detection-demo-train-3-1-ab12c`` (job, kind, round, attempt, random).
        job: whose it is.
        kind: ``train`` or ``eval``.
        environment: Sedna's variables (reference: Sedna v0.7.0), ``LC_SERVER`` and ``WORKER_NAME`` left to the runner.
        folder: for its log and checkpoint; the same for every attempt of one round's stage, so that a later attempt
            goes on where an earlier one was.
        timeout_seconds: after which it is ended.
        memory_bytes: limit of its resident memory.
    """

    name: str
    job: JobRef
    kind: str
    environment: Mapping[str, str]
    folder: Path
    timeout_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What is known of a worker.

    Attributes:
        running: whether its process is there.
        exit_code: how it ended (negative: by a signal); None while it runs or when nobody knows.
        reason: why it was ended by us, such as ``timeout after 3600 s``; else None.
        log: its log file.
    """

    running: bool
    exit_code: int | None
    reason: str | None
    log: Path


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker said at Sedna's endpoint; the last one counts.

    Attributes:
        worker: its name.
        kind: ``train``, ``eval`` or ``deploy``.
        status: ``completed``, ``failed`` or ``running``.
        results: ``[{"format", "url", "metrics"}]`` as sent; for eval the new model first, the old one second.
        owner_info: as sent; progress while it runs.
    """

    worker: str
    kind: str
    status: str
    results: tuple[dict[str, Any], ...] = ()
    owner_info: dict[str, Any] = field(default_factory=dict)


class WorkerRunner(Protocol):
    """Runs workers as processes of this machine. A restart of the hub ends those that it had started."""

    def start(self, spec: WorkerSpec) -> None:
        """Starts it; returns at once.

        Raises:
            HubError: it cannot be started.
        """

    def state(self, name: str) -> WorkerState | None:
        """What became of it; None when this hub, since its start, never started it."""

    def stop(self, name: str, reason: str) -> None:
        """Ends it and all its children; idempotent."""

    def reports(self, name: str) -> Sequence[WorkerReport]:
        """All that it said, in order; reports survive a restart of the hub."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A model that is to go out.

    Attributes:
        job: the job it belongs to.
        folder: model folder with ``manifest.json``, ``model.tflite``, ``weights.npz`` and golden pictures.
        mining: the job's hard-example rule.
        delivery: poll period, hot or cold.
        ring: ``canary`` or ``stable``.
        parent: digest of the model it was trained from.
        dataset: digest of the data set it was trained on.
        report: the figures that let it out.
        reason: for the history.
        any_canaries: whether it goes to the canary ring however many nodes are in it.
    """

    job: JobRef
    folder: Path
    mining: MiningRule
    delivery: Delivery
    ring: str
    parent: str | None
    dataset: str | None
    report: dict[str, Any]
    reason: str
    any_canaries: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A model that went out: digest of its int8 file, and its release number."""

    sha256: str
    release: int


class ModelChannel(Protocol):
    """The signed channel."""

    def publish(self, publication: Publication) -> Published:
        """Signs and publishes; publishing what the ring already has with the same manifest changes nothing.

        Raises:
            HubError: the folder is no complete model, keys are missing, or the canary ring holds too many nodes.
        """

    def live(self, job: JobRef, ring: str) -> Published | None:
        """What the ring has now."""


class RolloutChannel(Protocol):
    """What a staged rollout does with the channel; doing it again after a crash changes nothing."""

    def live(self, job: JobRef, ring: str) -> Published | None:
        """What the ring has now."""

    def promote(self, job: JobRef, reason: str, only: int | None = None) -> Published:
        """Publishes to everybody what the canary ring has, if that is the release ``only``.

        Raises:
            NotFound: it has another one.
            HubError, StorageError: not now.
        """

    def restore(self, job: JobRef, ring: str, release: int, reason: str) -> Published:
        """Publishes again, under a new release, what an earlier one had.

        Raises:
            NotFound: that cannot be done, now or later.
            HubError, StorageError: not now.
        """


class Clock(Protocol):
    """Time, so that tests can play it."""

    def now(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Waits."""
