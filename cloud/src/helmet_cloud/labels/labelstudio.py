# SPDX-License-Identifier: Apache-2.0
"""Label Studio's JSON: a list of tasks, each a picture with annotations (people's) and predictions (a model's).

A box is a result of type ``rectanglelabels`` whose ``x``, ``y``, ``width`` and ``height`` are percent of the picture
(https://labelstud.io/guide/task_format). Only annotations count when it is read; a task without one, or whose only one
was skipped, is not labelled yet. The label ``ignore`` makes an ignore region (together with another label: for that one
only), and ``data.incomplete`` of a task names the labels that it is not complete for; Label Studio keeps both.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from helmet_agent.contract import ContractError
from helmet_agent.contract.fields import Fields
from helmet_agent.durable import write_atomic
from helmet_cloud.labels.checks import BESIDE, Reading, TooManyProblems, Unfit, checked_box, picture_below, shown
from helmet_cloud.labels.classes import DROP, IGNORE, ClassMap
from helmet_cloud.labels.json_file import read_json
from helmet_cloud.labels.model import LABELS, IgnoreRegion, LabelBox, LabelledPicture, LabelProblem, LabelSet
from helmet_cloud.labels.writing import PUBLIC_MODE, relative_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.labels.checks import Shelf

LOCAL_FILES = "/data/local-files/?d="
"""Beginning of an address that Label Studio serves from its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""
CONTROL, OBJECT = "label", "image"
"""Names of the tags in the labelling configuration."""

_PERCENT = 100.0
_PIXELS = 1 << 16
_SLACK = 1e4  # percent; a box this far out is refused by its size in pixels
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # how Label Studio renames what is uploaded


def read_labelstudio(
    file: Path,
    classes: ClassMap | None = None,
    *,
    complete: frozenset[str] = frozenset(LABELS),
    shelf: Shelf = BESIDE,
) -> LabelSet:
    """Reads a Label Studio export in its JSON format.

    A wrong box spoils its whole task: a picture that lost a box would teach that there is nothing.

    Args:
        file: the JSON file; pictures lie beside it, in ``images/``, or where the end of their address says.
        classes: meaning of the label names.
        complete: labels of which every object has a box, unless the task says otherwise.
        shelf: where the pictures lie.

    Raises:
        SourceMissing: the file itself is not there or cannot be read.
    """
    reading = Reading(file, complete, shelf)
    try:
        tasks = read_json(reading, file)
        if not isinstance(tasks, list):
            if not reading.problems:
                reading.report("no Label Studio export: expected a list of tasks (its JSON format)")
            tasks = []
        for index, task in enumerate(tasks):
            try:
                picture = _task(reading, ClassMap() if classes is None else classes, Fields(task))
                if picture is None:
                    reading.unlabelled += 1
                else:
                    reading.add(picture)
            except (Unfit, ContractError) as unfit:
                reading.report(str(unfit), item=f"[{index}]")
    except TooManyProblems:
        pass
    return reading.result()


def _task(reading: Reading, classes: ClassMap, task: Fields) -> LabelledPicture | None:
    annotations = [one for one in task.objects("annotations", _annotation) if one is not None]
    if not annotations:
        return None
    if len(annotations) > 1:
        raise Unfit(f"{len(annotations)} annotations: delete all but the one that counts")
    data = task.child("data")
    path, size = reading.shelf.find(_picture(reading.file.parent, data.text(OBJECT)))
    complete = reading.complete - _incomplete(data)
    boxes: list[LabelBox] = []
    ignore: list[IgnoreRegion] = []
    for result in annotations[0]:
        box, names = _result(result, size)
        meanings = [classes.by_name(name) for name in names]
        meant = [meaning for meaning in meanings if meaning not in (IGNORE, DROP)]
        if IGNORE in meanings:
            ignore += [IgnoreRegion(box, label) for label in meant] or [IgnoreRegion(box)]
        else:
            boxes += [LabelBox(label, box) for label in meant]
    return LabelledPicture(path, *size, tuple(boxes), complete, tuple(ignore))


def _annotation(item: Fields) -> tuple[Fields, ...] | None:
    if item.has("was_cancelled") and item.flag("was_cancelled"):
        return None
    return item.objects("result", lambda result: result)


def _result(result: Fields, size: tuple[int, int]) -> tuple[tuple[float, float, float, float], tuple[str, ...]]:
    kind = result.text("type")
    if kind != "rectanglelabels":
        raise Unfit(f"a result of type {shown(kind)}: only rectangles with labels can be read")
    for key, side in (("original_width", size[0]), ("original_height", size[1])):
        if result.has(key) and result.integer(key, 1, _PIXELS) != side:
            raise Unfit(f"{key} {result.integer(key, 1, _PIXELS)} is not that of the picture, {side}")
    value = result.child("value")
    for fields in (result, value):
        for key in ("image_rotation", "rotation"):
            if fields.has(key) and fields.number(key, -_SLACK, _SLACK) % 360:
                raise Unfit("a turned box cannot be read: draw it upright")
    x, y, width, height = (value.number(key, -_SLACK, _SLACK) for key in ("x", "y", "width", "height"))
    scale_x, scale_y = size[0] / _PERCENT, size[1] / _PERCENT
    box = checked_box(x * scale_x, y * scale_y, (x + width) * scale_x, (y + height) * scale_y, size)
    names = value.texts("rectanglelabels")
    if not names:
        raise Unfit(f"box {box[0]:g},{box[1]:g},{box[2]:g},{box[3]:g} has no label")
    return box, names


def _incomplete(data: Fields) -> frozenset[str]:
    names = frozenset(data.texts("incomplete"))
    if unknown := sorted(names - set(LABELS)):
        raise Unfit(f"data.incomplete: unknown label {shown(unknown[0])}; known are {', '.join(LABELS)}")
    return names


def _picture(folder: Path, address: str) -> Path:
    """Where the picture of a task would lie: as its address says, or by its name beside the file or in ``images/``."""
    parts = urlsplit(address)
    named = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
    name = named.rpartition("/")[2]
    upload = _UPLOAD.fullmatch(name)
    names = [named, name, f"images/{name}", *([upload[1], f"images/{upload[1]}"] if upload else [])]
    places = [picture_below(folder, one) for one in names]
    return next((path for path in places if os.path.exists(path)), places[0])  # noqa: PTH110 - Path.exists raises on odd names


def write_labelstudio(
    file: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...] = LABELS, *, suggested: bool = False
) -> tuple[LabelProblem, ...]:
    """Writes a file that Label Studio imports, whole or not at all; the configuration lies beside it as ``.xml``.

    Args:
        file: the JSON file; its folder must exist, the pictures must lie below it. Label Studio serves them when that
            folder is its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
        pictures: one task each.
        labels: that can be chosen.
        suggested: write the boxes as predictions, to be looked at, instead of as annotations.

    Returns:
        Pictures that were left out since they lie elsewhere or have unknown labels.

    Raises:
        StorageError: the file cannot be written.
    """
    problems: list[LabelProblem] = []
    tasks: list[dict[str, Any]] = []
    for picture in pictures:
        try:
            tasks.append(_written(picture, relative_name(picture.path, file.parent), labels, suggested=suggested))
        except Unfit as unfit:
            problems.append(LabelProblem(picture.path, str(unfit)))
    write_atomic(file.with_suffix(".xml"), labelling_configuration(labels).encode(), mode=PUBLIC_MODE)
    write_atomic(file, json.dumps(tasks, indent=1).encode() + b"\n", mode=PUBLIC_MODE)
    return tuple(problems)


def labelling_configuration(labels: tuple[str, ...] = LABELS) -> str:
    """The labelling configuration of a Label Studio project that such files belong to."""
    lines = "".join(f'    <Label value="{label}"/>\n' for label in (*labels, IGNORE))
    return (
        f'<View>\n  <Image name="{OBJECT}" value="${OBJECT}"/>\n'
        f'  <RectangleLabels name="{CONTROL}" toName="{OBJECT}" choice="multiple">\n{lines}'
        "  </RectangleLabels>\n</View>\n"
    )


def _written(picture: LabelledPicture, name: str, labels: tuple[str, ...], *, suggested: bool) -> dict[str, Any]:
    marks = [(mark.box, [mark.label], mark.score) for mark in picture.boxes]
    marks += [(one.box, [IGNORE, *([one.label] if one.label else [])], None) for one in picture.ignore]
    results = []
    for number, (box, names, score) in enumerate(marks):
        if unknown := next((label for label in names if label not in (*labels, IGNORE)), None):
            raise Unfit(f"unknown class {shown(unknown)}; known are {', '.join(labels)}")
        x1, y1, x2, y2 = box
        value = {
            "x": x1 * _PERCENT / picture.width,
            "y": y1 * _PERCENT / picture.height,
            "width": (x2 - x1) * _PERCENT / picture.width,
            "height": (y2 - y1) * _PERCENT / picture.height,
            "rotation": 0,
            "rectanglelabels": names,
        }
        results.append(
            {
                "id": f"box{number}",
                "type": "rectanglelabels",
                "from_name": CONTROL,
                "to_name": OBJECT,
                "original_width": picture.width,
                "original_height": picture.height,
                "image_rotation": 0,
                "value": value,
                **({} if score is None else {"score": score}),
            }
        )
    data: dict[str, Any] = {OBJECT: LOCAL_FILES + quote(name)}
    if partial := [label for label in labels if label not in picture.complete]:
        data["incomplete"] = partial
    if suggested:
        return {"data": data, "predictions": [{"model_version": "hub", "result": results}]}
    return {"data": data, "annotations": [{"result": results}]}
