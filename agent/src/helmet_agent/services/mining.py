# SPDX-License-Identifier: Apache-2.0
"""The mining stage: judges every frame on the inference thread, keeps the chosen ones on a thread of its own.

::

    inference thread:  consider = rules -> shed? -> budget -> near duplicate? -> bounded queue
    its own thread:    JPEG -> HardExample -> ExampleSink.put

Every frame that a rule chose is counted once more where it ends: kept, or dropped with the cause.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2

from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.services.worker import BoundedWorker
from helmet_agent.vision.mining import RuleContext, dhash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_agent.contract import Detection
    from helmet_agent.ports import BgrImage, Clock, ExampleSink, Frame
    from helmet_agent.vision.mining import NearDuplicates, Rule, RuleBudgets, Verdict
    from helmet_agent.vision.tracks import TrackUpdate

DROP_CAUSES = ("shed", "budget", "duplicate", "queue_full", "encode_error", "sink_error", "closed")
"""Why a hard frame was not kept.

shed: the memory governor asked for it. budget: every rule that chose it has kept enough this hour. duplicate: it looks
like one kept lately, or the sink has the very same picture. queue_full: frames come faster than they can be stored.
encode_error: it could not be made a JPEG. sink_error: it could not be stored. closed: it came, or was still waiting,
when the stage had to end.
"""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A frame on its way to the sink."""

    frame: Frame
    detections: tuple[Detection, ...]
    model: str
    verdict: Verdict
    image_hash: int


class MiningStage:
    """Chooses hard frames and hands them to a sink.

    ``consider`` is called from one thread, the others from any.

    Args:
        rules: in the order of precedence. A frame chosen by several rules is kept once, under the first of them that
            has budget left; every rule that chose it is counted.
        budget: how many each rule may keep in an hour.
        dedup: what was kept lately.
        sink: where examples go. While it fails, examples are dropped and counted, inference goes on, and the change
            of state is logged once.
        node_name: written into every record.
        clock: its monotonic face drives the budget and the memory for duplicates.
        queue_size: how many frames may wait for the sink; each holds a whole picture in memory.
        jpeg_quality: 1..100.
        blocking: wait for a place in the queue instead of dropping the frame; for files, where nothing may be lost.
    """

    def __init__(
        self,
        *,
        rules: Sequence[Rule],
        budget: RuleBudgets,
        dedup: NearDuplicates,
        sink: ExampleSink,
        node_name: str,
        clock: Clock,
        queue_size: int = 4,
        jpeg_quality: int = 90,
        blocking: bool = False,
    ) -> None:
        self._rules = tuple(rules)
        self._budget = budget
        self._dedup = dedup
        self._sink = sink
        self._node_name = node_name
        self._clock = clock
        self._jpeg_quality = jpeg_quality
        self._shedding = False
        self._closed = False
        self._abandoned = False
        self._lock = threading.Lock()  # guards the counters and what goes with them
        self._counts: Counter[str] = Counter()
        self._pending = 0
        # Hashes of frames that were lost behind the queue; they must not make later ones duplicates of nothing.
        self._lost: deque[tuple[str, int]] = deque(maxlen=256)
        self._worker: BoundedWorker[_Chosen] = BoundedWorker("mining", self._keep, size=queue_size, blocking=blocking)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in use, in the order of precedence."""
        return self._rules

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Judges by other rules from the next frame on: a new manifest may bring its own."""
        self._rules = tuple(rules)

    def set_shedding(self, shedding: bool) -> None:
        """Keeps nothing while true, and lets go of the pictures that wait; frames are still judged."""
        self._shedding = shedding

    def consider(self, frame: Frame, detections: Sequence[Detection], tracks: TrackUpdate, model_digest: str) -> bool:
        """Whether any rule calls the frame hard, be there budget for it or not.

        Args:
            frame: the picture; kept without a copy until it is stored, so nobody may change it.
            detections: what the detector shows.
            tracks: what the frame did to its source's tracks.
            model_digest: sha256 of the model that looked at it.
        """
        height, width = frame.image.shape[:2]
        context = RuleContext(detections, width, height, frame.time_seconds, tracks)
        rules = enumerate(self._rules)
        verdicts = {rank: verdict for rank, rule in rules if (verdict := rule.judge(context)) is not None}
        self._count("considered")
        if not verdicts:
            return False
        self._count("hard", *(f"hard.{verdict.rule}" for verdict in verdicts.values()))
        dropped = self._admit(frame, tuple(detections), model_digest, verdicts)
        if dropped:
            self._count(f"dropped.{dropped}")
        return True

    def counters(self) -> Mapping[str, int]:
        """A snapshot of the totals since the start, every name there from the beginning.

        ``considered``, ``hard``, ``kept``; ``hard.<rule>`` and ``kept.<rule>`` for every rule in use or used before;
        ``dropped.<cause>`` for every one of ``DROP_CAUSES``. A frame chosen by two rules counts once in ``hard``, in
        both of ``hard.<rule>``, and ends in exactly one of ``kept`` and ``dropped.*``.
        """
        names = ["considered", "hard", "kept", *(f"dropped.{cause}" for cause in DROP_CAUSES)]
        names += [f"{what}.{rule.name}" for rule in self._rules for what in ("hard", "kept")]
        with self._lock:
            return MappingProxyType({**dict.fromkeys(names, 0), **self._counts})

    def close(self, timeout: float) -> bool:
        """Stores what waits, at most ``timeout`` seconds; False when something was left.

        What was left counts as closed from then on. Idempotent.
        """
        if self._closed:
            return not self._abandoned
        self._closed = True
        self._worker.close(timeout)
        with self._lock:
            self._abandoned = self._pending > 0
            self._counts["dropped.closed"] += self._pending
            self._pending = 0
        return not self._abandoned

    def _admit(
        self, frame: Frame, detections: tuple[Detection, ...], model: str, verdicts: dict[int, Verdict]
    ) -> str | None:
        """Queues the frame, or says why not. The cheap questions come first; nothing is spent on what is dropped.

        ``verdicts`` has them by their rule's rank, in the order of precedence.
        """
        if self._closed:
            return "closed"
        if self._shedding:
            return "shed"
        now = self._clock.monotonic()
        rank = next((rank for rank, each in verdicts.items() if self._budget.available(each.rule, now)), None)
        if rank is None:
            return "budget"
        while self._lost:
            self._dedup.forget(*self._lost.popleft())
        image_hash = dhash(frame.image)
        if self._dedup.seen(frame.source, image_hash, now, rank):
            return "duplicate"
        with self._lock:
            self._pending += 1
        if not self._worker.submit(_Chosen(frame, detections, model, verdicts[rank], image_hash)):
            with self._lock:
                self._pending -= 1
            return "queue_full"
        self._budget.spend(verdicts[rank].rule, now)
        self._dedup.remember(frame.source, image_hash, now, rank)
        return None

    def _keep(self, chosen: _Chosen) -> None:
        """Stores one frame on the worker's thread, which logs when that begins to fail and when it works again."""
        if self._abandoned:
            return
        end = "dropped.shed"
        try:
            if not self._shedding:
                end = "dropped.encode_error"
                jpeg = _encode(chosen.frame.image, self._jpeg_quality)
                end = "dropped.sink_error"
                stored = self._sink.put(HardExample(jpeg, self._record(chosen, jpeg)))
                end = "kept" if stored else "dropped.duplicate"
        finally:
            self._finish(chosen, end)

    def _finish(self, chosen: _Chosen, end: str) -> None:
        if end not in {"kept", "dropped.duplicate"}:
            self._lost.append((chosen.frame.source, chosen.image_hash))
        with self._lock:
            if self._abandoned:
                return
            self._pending -= 1
            self._counts.update([end] if end != "kept" else [end, f"kept.{chosen.verdict.rule}"])

    def _record(self, chosen: _Chosen, jpeg: bytes) -> ExampleRecord:
        frame = chosen.frame
        height, width = frame.image.shape[:2]
        return ExampleRecord(
            sha256=hashlib.sha256(jpeg).hexdigest(),
            node=self._node_name,
            source=frame.source,
            frame=frame.seq,
            time_seconds=frame.time_seconds,
            width=width,
            height=height,
            model=chosen.model,
            rule=chosen.verdict.rule,
            value=chosen.verdict.value,
            detections=chosen.detections,
        )

    def _count(self, *names: str) -> None:
        with self._lock:
            self._counts.update(names)


def _encode(image: BgrImage, quality: int) -> bytes:
    """The picture as a JPEG file.

    Raises:
        ValueError: it cannot be one: empty, or a side of more than 65535 pixels.
    """
    try:
        done, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ValueError(f"a picture of shape {image.shape} cannot be a JPEG: {error.err}") from error
    if not done:
        raise ValueError(f"a picture of shape {image.shape} cannot be a JPEG")
    return buffer.tobytes()
