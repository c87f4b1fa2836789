# SPDX-License-Identifier: Apache-2.0
"""Fakes of the ports that ship with the agent, so that every fault can be played in a test without patching."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from helmet_agent.contract import FileReference, InputSpec, MiningRule, ModelManifest, OutputSpec, Thresholds
from helmet_agent.errors import AgentError, HubDenied, HubUnavailable, ModelError
from helmet_agent.ports import Frame, RawOutput
from helmet_agent.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from helmet_agent.contract import Detection, ExampleRecord, HardExample, NodeReport
    from helmet_agent.ports import BgrImage, Clock
    from helmet_agent.vision.letterbox import LetterboxTransform, PreparedFrame

LABELS = ("person", "helmet", "helmet-on", "helmet-off")


def example_manifest(**changes: Any) -> ModelManifest:
    """A valid manifest of a model that does not exist; ``changes`` replace fields of ``ModelManifest``."""
    fields: dict[str, Any] = {
        "name": "fake",
        "release": 1,
        "model": FileReference("model.tflite", "0" * 64, 1),
        "input": InputSpec(352, 640),
        "outputs": OutputSpec(),
        "labels": LABELS,
        "thresholds": Thresholds(dict.fromkeys(LABELS, 0.25)),
        "mining": MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"}),
    }
    return ModelManifest(**(fields | changes))


class ManualClock:
    """Implements ``ports.Clock``: time passes only when somebody says so. Threads may share it.

    Args:
        unix_seconds: what ``now`` says first.

    Attributes:
        slept: every time that was slept, in order.
    """

    def __init__(self, unix_seconds: float = 1_767_225_600.0) -> None:
        self._lock = threading.Lock()
        self._unix = unix_seconds
        self._monotonic = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Unix time in seconds."""
        with self._lock:
            return self._unix

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Returns at once, that much later."""
        with self._lock:
            self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Lets time pass; never backwards."""
        if seconds < 0.0:
            raise ValueError(f"time cannot pass backwards: {seconds}")
        with self._lock:
            self._unix += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Sets the Unix clock forwards or back, as an operator or NTP does; ``monotonic`` stays."""
        with self._lock:
            self._unix += seconds


class FakeDetector:
    """Implements ``ports.Detector`` with detections from a script, over the real letterbox.

    Args:
        script: detections of the first, second, ... inference; begins again at its end. Empty: nothing is ever seen.
        manifest: by default ``example_manifest()``.
        clock: where the delay is slept.
        delay_seconds: how long an inference takes.
        fails_on: numbers of the inferences, from 0, that end in a ModelError.

    Attributes:
        calls: how many inferences were asked for.
        delay_seconds: may be changed at any time.
    """

    def __init__(
        self,
        script: Iterable[Sequence[Detection]] = (),
        manifest: ModelManifest | None = None,
        clock: Clock | None = None,
        delay_seconds: float = 0.0,
        fails_on: Collection[int] = (),
    ) -> None:
        self._script = [tuple(found) for found in script] or [()]
        self._manifest = manifest or example_manifest()
        spec = self._manifest.input
        self._letterbox = Letterbox(spec.height, spec.width, spec.pad_value)
        self._clock = clock
        self._fails_on = frozenset(fails_on)
        self.delay_seconds = delay_seconds
        self.calls = 0

    @property
    def manifest(self) -> ModelManifest:
        """What was given."""
        return self._manifest

    def prepare(self, image: BgrImage, reuse: PreparedFrame | None = None) -> PreparedFrame:
        """Letterboxes for real."""
        return self._letterbox.prepare(image, reuse)

    def run(self, prepared: PreparedFrame) -> Sequence[RawOutput]:
        """Takes its time, or fails; the tensors it returns stand for the script's next step."""
        del prepared
        call, self.calls = self.calls, self.calls + 1
        if self._clock is not None and self.delay_seconds > 0.0:
            self._clock.sleep(self.delay_seconds)
        if call in self._fails_on:
            raise ModelError(f"inference {call} fails, as the script says")
        return (RawOutput(np.full((1, 1, 1), call % len(self._script), np.float32), 1.0, 0),)

    def decode(
        self, outputs: Sequence[RawOutput], transform: LetterboxTransform, min_score: float | None = None
    ) -> tuple[Detection, ...]:
        """The detections of the step that ``run`` returned; those under ``min_score`` are left out when it is given."""
        del transform
        found = self._script[int(outputs[0].values[0, 0, 0])]
        return tuple(one for one in found if min_score is None or one.score >= min_score)

    def infer(self, prepared: PreparedFrame, min_score: float | None = None) -> tuple[Detection, ...]:
        """``run`` and ``decode`` in one."""
        return self.decode(self.run(prepared), prepared.transform, min_score)


class FakeModel:
    """Implements ``ports.InferenceModel``: the same raw tensors for every picture.

    Args:
        manifest: what belongs to them.
        outputs: in the file's order.
    """

    def __init__(self, manifest: ModelManifest, outputs: Sequence[RawOutput]) -> None:
        self._manifest = manifest
        self._outputs = tuple(outputs)

    @property
    def manifest(self) -> ModelManifest:
        """What was given."""
        return self._manifest

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[RawOutput]:
        """The tensors that were given."""
        del pixels
        return self._outputs


class MemorySink:
    """Implements ``ports.ExampleSink`` in memory.

    Attributes:
        examples: what was put, by digest.
        fails_with: raised by every ``put`` while it is set.
    """

    def __init__(self) -> None:
        self.examples: dict[str, HardExample] = {}
        self.fails_with: Exception | None = None

    @property
    def records(self) -> list[ExampleRecord]:
        """Of what was put, in order."""
        return [example.record for example in self.examples.values()]

    def put(self, example: HardExample) -> bool:
        """Keeps an example; False when it was already there."""
        if self.fails_with is not None:
            raise self.fails_with
        if example.record.sha256 in self.examples:
            return False
        self.examples[example.record.sha256] = example
        return True


class MemoryHub:
    """Implements ``ports.Hub`` in memory.

    Attributes:
        examples: what it keeps, by digest.
        puts: digests in the order in which they came, those that it had already too.
        reports: in order.
        faults: raised by the next calls, one each; nothing is kept then.
        lost_answers: so many examples are kept and yet end in ``HubUnavailable``: the answer never arrives.
        online: nobody answers while this is False.
        accepts_token: the token is denied while this is False.
    """

    def __init__(self) -> None:
        self.examples: dict[str, HardExample] = {}
        self.puts: list[str] = []
        self.reports: list[NodeReport] = []
        self.faults: deque[AgentError] = deque()
        self.lost_answers = 0
        self.online = True
        self.accepts_token = True

    def put_example(self, example: HardExample, pace: Callable[[int], None]) -> bool:
        """Keeps an example unless a fault is left."""
        self._answer()
        pace(len(example.jpeg))
        sha256 = example.record.sha256
        new = sha256 not in self.examples
        self.examples[sha256] = example
        self.puts.append(sha256)
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise HubUnavailable("the connection broke", suspect=True)
        return new

    def send_report(self, report: NodeReport) -> None:
        """Keeps a report unless a fault is left."""
        self._answer()
        self.reports.append(report)

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self) -> None:
        if not self.online:
            raise HubUnavailable("no connection")
        if not self.accepts_token:
            raise HubDenied("answered 401")
        if self.faults:
            raise self.faults.popleft()


class ScriptedSource:
    """Implements ``ports.FrameSource`` from a list of pictures and faults.

    Args:
        script: what ``read`` does in turn: a picture is delivered, an exception is raised. Opening again goes on where
            the script stopped, as a camera does.
        name: the source's name.
        live: what ``live`` says.
        clock: gives the frames their times; a ``ManualClock`` by default.
        period_seconds: slept on the clock before each frame.
        open_faults: raised by the first, second, ... ``open``; later ones succeed.

    Attributes:
        opened, closed: how often that was called.
    """

    def __init__(
        self,
        script: Iterable[BgrImage | Exception],
        name: str = "scripted",
        *,
        live: bool = False,
        clock: Clock | None = None,
        period_seconds: float = 0.0,
        open_faults: Iterable[Exception] = (),
    ) -> None:
        self._script = iter(tuple(script))
        self._name = name
        self._live = live
        self._clock: Clock = clock or ManualClock()
        self._period = period_seconds
        self._open_faults = iter(tuple(open_faults))
        self._shut = threading.Event()
        self._seq = 0
        self.opened = 0
        self.closed = 0

    @property
    def name(self) -> str:
        """What was given."""
        return self._name

    @property
    def live(self) -> bool:
        """What was given."""
        return self._live

    def open(self) -> None:
        """Succeeds unless a fault is left."""
        self.opened += 1
        self._shut.clear()
        for fault in self._open_faults:
            raise fault

    def read(self) -> Frame | None:
        """The script's next step; None at its end or when closed."""
        if self._period > 0.0:
            self._clock.sleep(self._period)
        if self._shut.is_set():
            return None
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            frame = Frame(self._name, self._seq, self._clock.now(), self._clock.monotonic(), step)
            self._seq += 1
            return frame
        return None

    def close(self) -> None:
        """Makes ``read`` return None until it is opened again."""
        self.closed += 1
        self._shut.set()
