# SPDX-License-Identifier: Apache-2.0
"""The seams of the agent: whatever has a will of its own (cameras, disks, clocks, models) comes in through one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from helmet_agent.contract import Detection, FileReference, HardExample, ModelManifest, NodeReport
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


class Hub(Protocol):
    """Where examples and reports go. Called from one thread, except ``close``."""

    def put_example(self, example: HardExample, pace: Callable[[int], None]) -> bool:
        """Hands an example over; when this returns, the hub keeps it. Sending it again does no harm.

        Args:
            example: the picture and its record.
            pace: called with a number of bytes before so many are sent; waits as long as the bandwidth wants. What it
                raises ends the transfer and is passed on.

        Returns:
            True when it was new to the hub, False when the hub had it already.

        Raises:
            HubRefused: it does not take this example. HubDenied: it does not take the token.
            HubUnavailable: anything else; whether the example arrived is not known.
        """

    def send_report(self, report: NodeReport) -> None:
        """Tells the hub how the node is.

        Raises:
            HubDenied: it does not take the token. HubUnavailable: anything else.
        """

    def close(self) -> None:
        """Ends what is under way and lets go of the connection; idempotent, from any thread."""


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model that the channel has for this node.

    Attributes:
        key: sha256 of the manifest file.
        manifest: what it says.
        content: the file itself, as it was signed.
        anew: whoever is in charge has just asked for it, so that an earlier refusal of the same weights does not count.
    """

    key: str
    manifest: ModelManifest
    content: bytes
    anew: bool = False


class ModelFeed(Protocol):
    """Where new models come from: the channel, or a bundle on a stick. Used by one thread, but for ``cancel``."""

    def check(self) -> ModelOffer | None:
        """What the channel has for this node now, verified; None when it has nothing.

        Raises:
            UpdateError: it could not be asked, or does not verify. StorageError: its metadata could not be kept.
        """

    def fetch(self, wanted: FileReference, into: Path) -> None:
        """Brings a file of the latest offer; ``into`` is there, whole and verified, or not at all.

        What came before a cut is kept beside it and not fetched again, also after a restart.

        Raises:
            UpdateError: it did not come, or is not the file that was signed. StorageError: it cannot be written.
        """

    def cancel(self) -> None:
        """Makes what is going on end soon, with an UpdateError; from any thread."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Something that an operator asked the running agent to do with its models.

    Attributes:
        id: of this request.
        action: ``rollback``, ``unquarantine`` or ``import``.
        argument: the key of the model to leave for ``rollback``, a digest for ``unquarantine``, the name of an
            unpacked bundle for ``import``.
    """

    id: str
    action: str
    argument: str


class ModelShelf(Protocol):
    """The node's folder of models, with its journal and its two pointers; owned by one process."""

    def journal(self) -> Sequence[Mapping[str, Any]]:
        """The journal's lines, oldest first; those that are no JSON objects are left out."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line; when this returns it survives a power cut.

        Raises:
            StorageError: it was not added.
        """

    def rewrite(self, line: Mapping[str, Any]) -> None:
        """Puts one line in the place of all.

        Raises:
            StorageError: the journal is as it was.
        """

    def point(self, current: str, last_confirmed: str) -> None:
        """Moves the two pointers to these keys, where they differ.

        Raises:
            StorageError: a pointer was not moved.
        """

    def folder(self, key: str) -> Path:
        """Where a model lies, or would lie: its manifest and its files."""

    def damage(self, key: str) -> str | None:
        """What is wrong with an installed model, one line; None when all of its files are those of its manifest."""

    def download(self, wanted: FileReference) -> Path:
        """Where a file is downloaded to."""

    def find(self, wanted: FileReference) -> Path | None:
        """The same file in a model that is installed, whole; None when no model has it."""

    def install(self, content: bytes, manifest: ModelManifest, files: Mapping[str, Path]) -> Path:
        """Puts a model in its folder, whole or not at all.

        Args:
            content: the manifest file.
            manifest: what it says.
            files: where each of its files is to be copied from, by name.

        Raises:
            StorageError: it could not be written, or reads back as something else.
        """

    def clean(self, keep: Collection[str]) -> None:
        """Removes every model but these keys, and all downloads.

        Raises:
            StorageError: something could not be removed.
        """

    def requests(self) -> Sequence[ModelRequest]:
        """What operators ask for, oldest first."""

    def answer(self, request: ModelRequest, text: str, *, done: bool) -> None:
        """Takes a request off the list and leaves the answer for whoever asked.

        Raises:
            StorageError: it could not be written.
        """


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What trying a model in a process of its own showed.

    Attributes:
        problems: one line each; empty when the model may serve.
        latency_seconds, current_latency_seconds: medians of one inference, the new model and the current one beside it.
        memory_bytes: resident memory of a process that serves the new model alone.
    """

    problems: tuple[str, ...]
    latency_seconds: float = 0.0
    current_latency_seconds: float = 0.0
    memory_bytes: int = 0


class ModelProbe(Protocol):
    """Tries a model where it can do no harm."""

    def run(self, candidate: Path, current: Path) -> ProbeReport:
        """Tries the model of one folder beside that of another.

        Raises:
            UpdateError: it could not be tried; nothing is known of the model.
        """

    def cancel(self) -> None:
        """Ends a trial that is going on, with an UpdateError; from any thread."""


class Clock(Protocol):
    """Time, so that tests can play it."""

    def now(self) -> float:
        """Unix time in seconds; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Waits."""
