# SPDX-License-Identifier: Apache-2.0
"""The figures of one evaluation, as a document."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from helmet_agent.contract import ContractError
from helmet_agent.contract.fields import Fields

SCHEMA = 1
_MANY = 1 << 53


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """What one label reached.

    Attributes:
        objects: labelled objects.
        pictures: pictures completely labelled for this label; only these count.
        predictions: counted predictions at or above ``threshold``.
        found: those among them that found an object; ``objects - found`` were missed.
        threshold: score from which precision, recall and F1 are taken.
        precision: found / predictions; 0 where there is no prediction.
        recall: found / objects.
        f1: harmonic mean of both; 0 where both are 0.
        ap50: average precision at IoU 0.5, all-point interpolation: the headline.
        ap50_95: mean of it over IoU 0.50, 0.55 ... 0.95.
        coco_ap50, coco_ap50_95: the same with COCO's 101-point interpolation, to compare with other programs.
    """

    objects: int
    pictures: int
    predictions: int
    found: int
    threshold: float
    precision: float
    recall: float
    f1: float
    ap50: float
    ap50_95: float
    coco_ap50: float
    coco_ap50_95: float

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return asdict(self)

    @classmethod
    def from_fields(cls, document: Fields) -> ClassFigures:
        """Reads the wire form."""
        values: dict[str, Any] = {
            item.name: document.integer(item.name, 0, _MANY)
            if item.type == "int"
            else document.number(item.name, 0.0, 1.0)
            for item in fields(cls)
        }
        document.done()
        return cls(**values)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a precision-recall curve at IoU 0.5: what a threshold of ``score`` gives."""

    score: float
    precision: float
    recall: float

    def to_json(self) -> list[float]:
        """The wire form: score, precision, recall, four decimals each."""
        return [round(self.score, 4), round(self.precision, 4), round(self.recall, 4)]


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The figures of one model on one set of pictures.

    Attributes:
        per_class: figures of every label that has objects, in the model's order of labels.
        left_out: labels that could not be measured, with the reason; they are in no mean.
        map50, map50_95: means over ``per_class`` of ap50 and ap50_95.
        coco_map50, coco_map50_95: the same with COCO's interpolation.
        pictures: pictures that went in.
        thresholds: score thresholds by label that precision, recall and F1 were taken at.
        model: sha256 of the evaluated file; None where plain detections were evaluated.
        curves: by label, about a hundred points of the precision-recall curve at IoU 0.5, best score first.
    """

    per_class: dict[str, ClassFigures]
    left_out: dict[str, str]
    map50: float
    map50_95: float
    coco_map50: float
    coco_map50_95: float
    pictures: int
    thresholds: dict[str, float]
    model: str | None = None
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)

    def to_json(self, *, curves: bool = True) -> dict[str, Any]:
        """The wire form; without the curves it is small enough for a manifest."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "model": self.model,
            "pictures": self.pictures,
            "map50": self.map50,
            "map50_95": self.map50_95,
            "coco_map50": self.coco_map50,
            "coco_map50_95": self.coco_map50_95,
            "per_class": {label: figures.to_json() for label, figures in self.per_class.items()},
            "left_out": dict(self.left_out),
            "thresholds": dict(self.thresholds),
        }
        if curves:
            document["curves"] = {label: [point.to_json() for point in points] for label, points in self.curves.items()}
        return document

    @classmethod
    def from_json(cls, document: object) -> EvaluationReport:
        """Reads the wire form.

        Raises:
            ContractError: a field is missing, unknown or out of range.
        """
        top = Fields(document)
        top.integer("schema", SCHEMA, SCHEMA)
        figures, left_out, thresholds = top.child("per_class"), top.child("left_out"), top.child("thresholds")
        report = cls(
            per_class={label: ClassFigures.from_fields(figures.child(label)) for label in top.mapping("per_class")},
            left_out={label: left_out.text(label) for label in top.mapping("left_out")},
            map50=top.number("map50", 0.0, 1.0),
            map50_95=top.number("map50_95", 0.0, 1.0),
            coco_map50=top.number("coco_map50", 0.0, 1.0),
            coco_map50_95=top.number("coco_map50_95", 0.0, 1.0),
            pictures=top.integer("pictures", 0, _MANY),
            thresholds={label: thresholds.number(label, 0.0, 1.0) for label in top.mapping("thresholds")},
            model=top.sha256("model") if top.has("model") else None,
            curves={label: _points(label, points) for label, points in top.mapping("curves").items()},
        )
        top.done()
        return report


def _points(label: str, document: object) -> tuple[CurvePoint, ...]:
    path = f"curves.{label}"
    if not isinstance(document, list):
        raise ContractError(f"{path}: expected a list")
    points = []
    for index, item in enumerate(document):
        numbers = Fields({"point": item}, f"{path}[{index}]").numbers("point", 0.0, 1.0)
        if len(numbers) != 3:  # noqa: PLR2004 - score, precision, recall
            raise ContractError(f"{path}[{index}]: expected score, precision and recall")
        points.append(CurvePoint(*numbers))
    return tuple(points)
