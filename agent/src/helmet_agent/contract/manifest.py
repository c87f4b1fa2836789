# SPDX-License-Identifier: Apache-2.0
"""The manifest: everything that must stay together with a model's weights, signed as one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from helmet_agent.contract.delivery import Delivery
from helmet_agent.contract.fields import ContractError, Fields
from helmet_agent.contract.golden import FileReference, GoldenFrame

SCHEMA = 1
LAYOUT = "anchor-free-v1"
MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The model's input: one picture, NHWC, BGR, letterboxed.

    Attributes:
        height, width: pixels; multiples of the largest stride.
        pad_value: grey level of the letterbox border, 0..255.
    """

    height: int
    width: int
    pad_value: int = 114

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"height": self.height, "width": self.width, "pad_value": self.pad_value}

    @classmethod
    def from_fields(cls, fields: Fields) -> InputSpec:
        """Reads the wire form."""
        found = cls(
            fields.integer("height", 32, 4096),
            fields.integer("width", 32, 4096),
            fields.integer("pad_value", 0, 255, 114),
        )
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How the raw tensors become boxes (layout ``anchor-free-v1``).

    For each stride s, in the file's output order, a class tensor ``[1, H/s, W/s, labels]`` and a box tensor
    ``[1, H/s, W/s, 4]`` of (dx, dy, w, h): score = sigmoid(class - class_logit_offset),
    centre = ((dx + gx) s, (dy + gy) s), size = (exp(w) s, exp(h) s), with (gx, gy) the cell's column and row
    (Ge et al., YOLOX, arXiv:2107.08430).

    Attributes:
        strides: in the order of the output pairs.
        class_logit_offset: what the export added to the class logits, so that quantisation spends its steps where
            scores matter.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    class_logit_offset: float = 8.0

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "layout": LAYOUT,
            "strides": list(self.strides),
            "class_logit_offset": self.class_logit_offset,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> OutputSpec:
        """Reads the wire form."""
        if fields.text("layout") != LAYOUT:
            raise fields.fail("layout", repr(LAYOUT))
        strides = fields.numbers("strides", 2, 128)
        if not strides or any(stride != int(stride) for stride in strides):
            raise fields.fail("strides", "a non-empty list of whole numbers")
        found = cls(tuple(int(stride) for stride in strides), fields.number("class_logit_offset", -100.0, 100.0, 0.0))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where detection begins.

    Attributes:
        score: smallest score shown, by label, in [0, 1].
        nms_iou: overlap above which the weaker box of one class is dropped, in [0, 1].
    """

    score: dict[str, float]
    nms_iou: float = 0.4

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"score": dict(self.score), "nms_iou": self.nms_iou}

    @classmethod
    def from_fields(cls, fields: Fields) -> Thresholds:
        """Reads the wire form."""
        scores = fields.child("score")
        found = cls(
            {key: scores.number(key, 0.0, 1.0) for key in fields.mapping("score")},
            fields.number("nms_iou", 0.0, 1.0, 0.4),
        )
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class MiningRule:
    """A hard-example-mining rule by Sedna's name, with its parameters as the resource carries them: strings."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The wire form, parameters as Sedna writes them."""
        return {"name": self.name, "parameters": [{"key": k, "value": v} for k, v in self.parameters.items()]}

    @classmethod
    def from_fields(cls, fields: Fields) -> MiningRule:
        """Reads the wire form."""
        found = cls(fields.text("name"), dict(fields.objects("parameters", _parameter)))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """One model and all that belongs to it.

    Attributes:
        name: of the model, for people.
        release: grows with every publication; going back publishes an old digest under a new, higher release.
        model: the int8 .tflite file.
        input, outputs, labels, thresholds: how pictures go in and boxes come out.
        mining: the hard-example rule that travels with the model.
        golden: frames for the probe and the readiness check.
        memory_bytes: resident memory that a process serving the model is expected to stay under.
        parent: digest of the model that training started from, if it is known.
        dataset: digest of the data-set version it was trained on, if it is known.
        report: figures of the evaluation that let it out; free form.
        delivery: how nodes take it.
        devices: machine types that it was made for, as ``uname -m`` says them; empty: any.
    """

    name: str
    release: int
    model: FileReference
    input: InputSpec
    outputs: OutputSpec
    labels: tuple[str, ...]
    thresholds: Thresholds
    mining: MiningRule
    golden: tuple[GoldenFrame, ...] = ()
    memory_bytes: int = 256 << 20
    parent: str | None = None
    dataset: str | None = None
    report: dict[str, Any] = field(default_factory=dict)
    delivery: Delivery = field(default_factory=Delivery)
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check()

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        document = {
            "schema": SCHEMA,
            "name": self.name,
            "release": self.release,
            "model": self.model.to_json(),
            "input": self.input.to_json(),
            "outputs": self.outputs.to_json(),
            "labels": list(self.labels),
            "thresholds": self.thresholds.to_json(),
            "mining": self.mining.to_json(),
            "golden": [frame.to_json() for frame in self.golden],
            "memory_bytes": self.memory_bytes,
            "parent": self.parent,
            "dataset": self.dataset,
            "report": self.report,
            "delivery": self.delivery.to_json(),
        }
        # Left out where any machine will do: agents from before the field refuse what they do not know.
        return document | ({"devices": list(self.devices)} if self.devices else {})

    def to_bytes(self) -> bytes:
        """The manifest as a file: JSON, keys in the contract's order, a newline at the end."""
        return json.dumps(self.to_json(), indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> ModelManifest:
        """Reads a manifest file.

        Raises:
            ContractError: it is too large, no JSON, or a field is missing, unknown or cannot be right.
        """
        if len(content) > MAX_MANIFEST_BYTES:
            raise ContractError(f"document: {len(content)} bytes, the limit is {MAX_MANIFEST_BYTES}")
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"document: no JSON: {error}") from error
        return cls.from_json(document)

    @classmethod
    def from_json(cls, document: object) -> ModelManifest:
        """Reads the wire form.

        Raises:
            ContractError: a field is missing, unknown or cannot be right.
        """
        fields = Fields(document)
        fields.integer("schema", SCHEMA, SCHEMA)
        found = cls(
            name=fields.text("name"),
            release=fields.integer("release", 0, 1 << 53),
            model=FileReference.from_fields(fields.child("model")),
            input=InputSpec.from_fields(fields.child("input")),
            outputs=OutputSpec.from_fields(fields.child("outputs")),
            labels=fields.texts("labels"),
            thresholds=Thresholds.from_fields(fields.child("thresholds")),
            mining=MiningRule.from_fields(fields.child("mining")),
            golden=fields.objects("golden", GoldenFrame.from_fields),
            memory_bytes=fields.integer("memory_bytes", 1, 1 << 50, 256 << 20),
            parent=fields.sha256("parent") if fields.has("parent") else None,
            dataset=fields.sha256("dataset") if fields.has("dataset") else None,
            report=fields.mapping("report"),
            delivery=Delivery.from_fields(fields.child("delivery")) if fields.has("delivery") else Delivery(),
            devices=fields.texts("devices") if fields.has("devices") else (),
        )
        fields.done()
        return found

    def _check(self) -> None:
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ContractError("labels: expected a non-empty list without repeats")
        largest = max(self.outputs.strides)
        if self.input.height % largest or self.input.width % largest:
            raise ContractError(f"input: height and width must be multiples of the largest stride, {largest}")
        if set(self.thresholds.score) != set(self.labels):
            raise ContractError(f"thresholds.score: expected exactly one score for each of {', '.join(self.labels)}")
        for index, frame in enumerate(self.golden):
            for box in frame.boxes:
                if box.label not in self.labels:
                    raise ContractError(f"golden[{index}].boxes: {box.label!r} is none of the model's labels")


def _parameter(fields: Fields) -> tuple[str, str]:
    pair = fields.text("key"), fields.text("value")
    fields.done()
    return pair
