# SPDX-License-Identifier: Apache-2.0
"""The seams of the agent: whatever has a will of its own (cameras, disks, clocks, models) comes in through one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Detection, HardExample, ModelManifest
    from helmet_agent.vision.letterbox import LetterboxTransform, PreparedFrame

BgrImage = NDArray[np.uint8]
"""A picture ``(height, width, 3)``, uint8, BGR as OpenCV has it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        source: the source's name, free of credentials.
        seq: number of the frame in its source, from 0, counting frames that were skipped or dropped too.
        time_seconds: when it was taken, Unix time (for files: when it was read).
        arrived_seconds: the monotonic clock when it was handed over, for ages and latencies.
        image: the pixels; owned by the receiver, who may keep but not change them.
    """

    source: str
    seq: int
    time_seconds: float
    arrived_seconds: float
    image: BgrImage


class FrameSource(Protocol):
    """A file, a folder of pictures, a camera.

    ``read`` blocks until a frame is there, but never for longer than the source's own time-out. ``open`` and ``read``
    are called from one thread; ``close`` may come from any thread and makes a blocked ``read`` return soon.
    """

    @property
    def name(self) -> str:
        """How the source is called in events, metrics and logs."""

    @property
    def live(self) -> bool:
        """Whether time passes without us: a live source drops what is late, a file waits."""

    def open(self) -> None:
        """Connects or opens.

        Raises:
            SourceMissing: nothing readable is there. SourceLost: it may come back (cameras).
        """

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a file or folder.

        Raises:
            SourceLost: a live source stopped delivering. SourceMissing: a file turned out to be unreadable.
        """

    def close(self) -> None:
        """Lets go of files, sockets and devices; idempotent."""


class InferenceModel(Protocol):
    """A loaded network, no more: pixels in, raw tensors out."""

    @property
    def manifest(self) -> ModelManifest:
        """What belongs to the weights."""

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[RawOutput]:
        """Runs the network on one letterboxed picture ``(height, width, 3)``, uint8, BGR.

        Returns the outputs in the file's order: copies, which stay valid.

        Raises:
            ModelError: the run failed.
        """


@dataclass(frozen=True, slots=True)
class RawOutput:
    """One output tensor as the network left it.

    Attributes:
        values: ``(height, width, channels)``, int8 or float32.
        scale, zero_point: real value = (value - zero_point) * scale; 1.0 and 0 for float tensors.
    """

    values: NDArray[Any]
    scale: float
    zero_point: int


class Detector(Protocol):
    """A model with its pre- and post-processing: pictures in, detections out. See ``helmet_agent.detector``."""

    @property
    def manifest(self) -> ModelManifest:
        """What belongs to the weights; its ``model.sha256`` is the digest in every record."""

    def prepare(self, image: BgrImage, reuse: PreparedFrame | None = None) -> PreparedFrame:
        """Letterboxes a picture, into the buffer of ``reuse`` when given; other threads may call it."""

    def run(self, prepared: PreparedFrame) -> Sequence[RawOutput]:
        """The network alone; what it returns stays valid, so that another thread may decode it meanwhile.

        Raises:
            ModelError: the run failed.
        """

    def decode(
        self, outputs: Sequence[RawOutput], transform: LetterboxTransform, min_score: float | None = None
    ) -> tuple[Detection, ...]:
        """Detections in source pixels, best score first; ``min_score`` replaces the manifest's thresholds.

        Raises:
            ModelError: the outputs are NaN or of another shape.
        """

    def infer(self, prepared: PreparedFrame, min_score: float | None = None) -> tuple[Detection, ...]:
        """``run`` and ``decode`` in one."""


class ExampleSink(Protocol):
    """Where hard examples go: the spool, a folder, the hub."""

    def put(self, example: HardExample) -> bool:
        """Takes an example for good: after True it survives a power cut.

        False: it was already there, or is worth less than everything that the quota holds.

        Raises:
            StorageError: it could not be kept, with the reason.
        """


class Clock(Protocol):
    """Time, so that tests can play it."""

    def now(self) -> float:
        """Unix time in seconds; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Waits."""
