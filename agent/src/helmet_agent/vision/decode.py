# SPDX-License-Identifier: Apache-2.0
"""Raw tensors to detections (layout ``anchor-free-v1``, see ``contract.OutputSpec``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from helmet_agent.contract import Detection
from helmet_agent.errors import ModelError
from helmet_agent.vision.nms import keep_best_of_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from helmet_agent.contract import ModelManifest
    from helmet_agent.vision.letterbox import LetterboxTransform

MAX_CANDIDATES = 300
"""Candidates that enter suppression: its cost grows with their square, and no scene has that many people."""

_NOTHING = (np.empty(0, np.float64), np.empty(0, np.intp), np.empty(0, np.intp))

_LARGEST_LOG_SIZE = 16.0  # exp(16) cells is larger than any picture: guards exp against overflow


class RawTensor(Protocol):
    """What ``ports.RawOutput`` is; spelt out since vision lies below the ports."""

    @property
    def values(self) -> NDArray[Any]:
        """``(height, width, channels)``, int8 or float32."""

    @property
    def scale(self) -> float:
        """Real value = (value - zero_point) * scale."""

    @property
    def zero_point(self) -> int:
        """The quantised value that stands for 0."""


def expected_shapes(manifest: ModelManifest) -> tuple[tuple[int, ...], ...]:
    """Output shapes ``(1, height, width, channels)`` that belong to a manifest, in the file's order."""
    found: list[tuple[int, ...]] = []
    for stride in manifest.outputs.strides:
        rows, columns = manifest.input.height // stride, manifest.input.width // stride
        found += [(1, rows, columns, len(manifest.labels)), (1, rows, columns, 4)]
    return tuple(found)


def check_outputs(shapes: Sequence[Sequence[int]], manifest: ModelManifest) -> None:
    """Refuses a network whose outputs are not those that its manifest describes.

    Args:
        shapes: of the outputs, batch dimension included, in the file's order.
        manifest: what belongs to the network.

    Raises:
        ModelError: number or shape differ; names the expected and the found shape.
    """
    expected = expected_shapes(manifest)
    found = tuple(tuple(int(side) for side in shape) for shape in shapes)
    if len(found) != len(expected):
        raise ModelError(
            f"model has {len(found)} outputs, its manifest describes {len(expected)}: expected the shapes "
            f"{_spell(expected)}, found {_spell(found)}"
        )
    for index, (want, have) in enumerate(zip(expected, found, strict=True)):
        if want != have:
            raise ModelError(f"model output {index}: expected shape {list(want)}, found {list(have)}")


class Decoder:
    """Turns the outputs of one network into detections.

    Scores are compared while they are still quantised: the smallest int8 value that reaches a class's threshold is
    computed once, so a frame costs one comparison of bytes for each level, and only what passes is turned into
    numbers. Thresholds, grids and quantisation tables are kept; not for use by two threads at once.

    Args:
        manifest: of the network; its thresholds hold unless a call overrides them.
    """

    def __init__(self, manifest: ModelManifest) -> None:
        self._labels = manifest.labels
        self._nms_iou = manifest.thresholds.nms_iou
        self._thresholds = np.array([manifest.thresholds.score[label] for label in manifest.labels], np.float64)
        self._shapes = tuple(shape[1:] for shape in expected_shapes(manifest))
        self._levels = tuple(
            _Level(stride, manifest.input.width // stride, len(manifest.labels), manifest.outputs.class_logit_offset)
            for stride in manifest.outputs.strides
        )

    def decode(
        self, outputs: Sequence[RawTensor], transform: LetterboxTransform, min_score: float | None = None
    ) -> tuple[Detection, ...]:
        """Detections in source pixels, best score first, at most ``MAX_CANDIDATES``.

        Args:
            outputs: class and box tensor of each stride, in the file's order.
            transform: how the picture was letterboxed.
            min_score: replaces every class's threshold, in [0, 1].

        Raises:
            ModelError: shapes are wrong, or float outputs are NaN or infinite.
        """
        found = tuple(output.values.shape for output in outputs)
        if found != self._shapes:
            raise ModelError(f"model outputs: expected shapes {_spell(self._shapes)}, found {_spell(found)}")
        thresholds = self._thresholds if min_score is None else np.full_like(self._thresholds, min_score)
        picked = [
            level.pick(outputs[2 * index], outputs[2 * index + 1], thresholds)
            for index, level in enumerate(self._levels)
        ]
        scores = np.concatenate([part[0] for part in picked])
        if not scores.size:
            return ()
        classes = np.concatenate([part[1] for part in picked])
        best = _best(scores, MAX_CANDIDATES)
        boxes = self._boxes(best, picked, outputs)
        scores, classes = scores[best], classes[best]
        keep = keep_best_of_class(boxes, classes, self._nms_iou)
        return self._detections(transform.to_source(boxes[keep]), scores[keep], classes[keep])

    def _boxes(
        self,
        chosen: NDArray[np.intp],
        picked: Sequence[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]],
        outputs: Sequence[RawTensor],
    ) -> NDArray[np.float64]:
        """Corners in input pixels of the chosen candidates, which are numbered through all levels."""
        boxes = np.empty((chosen.size, 4), np.float64)
        first = 0
        for index, (level, (_, _, cells)) in enumerate(zip(self._levels, picked, strict=True)):
            if not cells.size:
                continue
            mine = (chosen >= first) & (chosen < first + cells.size)
            boxes[mine] = level.boxes(outputs[2 * index + 1], cells[chosen[mine] - first])
            first += cells.size
        return boxes

    def _detections(
        self, boxes: NDArray[np.float64], scores: NDArray[np.float64], classes: NDArray[np.intp]
    ) -> tuple[Detection, ...]:
        # Nothing of a box may be left once it is clipped: the network sometimes sees people in the border.
        visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return tuple(
            Detection(self._labels[kind], score, (box[0], box[1], box[2], box[3]))
            for kind, score, box in zip(
                classes[visible].tolist(), scores[visible].tolist(), boxes[visible].tolist(), strict=True
            )
        )


class _Level:
    """One stride of the network.

    Args:
        stride: input pixels a cell.
        columns: cells a row.
        classes: channels of the class tensor.
        offset: what the export added to the class logits.
    """

    def __init__(self, stride: int, columns: int, classes: int, offset: float) -> None:
        self._stride = stride
        self._columns = columns
        self._classes = classes
        self._offset = offset
        self._key: tuple[object, ...] = ()
        self._cut: NDArray[Any] = np.empty(0)
        self._scores: NDArray[np.float64] = np.empty(0)

    def pick(
        self, logits: RawTensor, boxes: RawTensor, thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
        """Scores, classes and cells of what reaches its class's threshold, in the tensor's order."""
        values = logits.values.reshape(-1)
        quantised = values.dtype == np.int8
        if not quantised and not (np.isfinite(values).all() and np.isfinite(boxes.values).all()):
            raise ModelError("model outputs are NaN or infinite: the weights are damaged, take another model")
        self._prepare(logits, thresholds, values.size, quantised=quantised)
        found = np.flatnonzero(values >= self._cut)
        if not found.size:
            return _NOTHING
        cells, classes = np.divmod(found, self._classes)
        hits = values[found]
        if quantised:
            scores = self._scores[hits.astype(np.intp) + 128]
        else:
            scores = _sigmoid(hits.astype(np.float64) - self._offset)
        passed = scores >= thresholds[classes]
        return scores[passed], classes[passed], cells[passed]

    def boxes(self, raw: RawTensor, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """Corners ``(n, 4)`` in input pixels of some cells."""
        values = (raw.values.reshape(-1, 4)[cells].astype(np.float64) - raw.zero_point) * raw.scale
        rows, columns = np.divmod(cells, self._columns)
        centres = (values[:, :2] + np.stack([columns, rows], axis=1)) * self._stride
        halves = np.exp(np.minimum(values[:, 2:], _LARGEST_LOG_SIZE)) * (self._stride / 2)
        return np.concatenate([centres - halves, centres + halves], axis=1)

    def _prepare(self, logits: RawTensor, thresholds: NDArray[np.float64], size: int, *, quantised: bool) -> None:
        """Keeps the smallest value that can pass, for each element of the tensor: one flat comparison is fastest."""
        key = (quantised, logits.scale, logits.zero_point, thresholds.tobytes())
        if key == self._key:
            return
        if quantised:
            steps = np.arange(-128, 128, dtype=np.float64)
            self._scores = _sigmoid((steps - logits.zero_point) * logits.scale - self._offset)
            # A class that no value reaches keeps the largest one; the exact test on the candidates sorts it out.
            lowest = np.minimum(np.searchsorted(self._scores, thresholds), 255) - 128
            self._cut = np.resize(lowest.astype(np.int8), size)
        else:
            with np.errstate(divide="ignore"):
                needed = np.log(thresholds) - np.log1p(-thresholds) + self._offset
            # A little lower than computed: the exact test on the candidates decides about the last bit.
            self._cut = np.resize((needed - 1e-3).astype(np.float32), size)
        self._key = key


def _best(scores: NDArray[np.float64], limit: int) -> NDArray[np.intp]:
    """Indices of the ``limit`` best scores, best first; of equal scores the earlier one, on every machine."""
    if scores.size <= limit:
        return np.argsort(-scores, kind="stable")
    # A partition finds the last score that still counts; sorting everything would cost more than the decode.
    last = np.partition(scores, scores.size - limit)[scores.size - limit]
    able = np.flatnonzero(scores >= last)
    return able[np.argsort(-scores[able], kind="stable")[:limit]]


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Beyond 60 the result is 0 or 1 to the last bit, and exp stays finite.
    return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))


def _spell(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
