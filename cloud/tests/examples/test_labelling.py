# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.examples.exporting import export_examples
from helmet_cloud.examples.labelling import ImportRules, LabelsRefused
from helmet_cloud.labels import LabelFormat, read_labels, read_sedna
from helmet_cloud.store.examples import find_example, uses_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.examples.labelling import Imported

    Make = Callable[..., Any]


def coco(boxes: dict[str, list[list[float]]], **image: Any) -> dict[str, Any]:
    """Boxes of bare heads by file name."""
    return {
        "images": [{"id": number, "file_name": name, **image} for number, name in enumerate(boxes)],
        "categories": [{"id": 3, "name": "helmet-off"}],
        "annotations": [
            {"image_id": number, "category_id": 3, "bbox": box}
            for number, some in enumerate(boxes.values())
            for box in some
        ],
    }


def bring(hub: Any, folder: Path, document: Any, label_format: str = "coco", **rules: bool) -> Imported:
    folder.mkdir(exist_ok=True)
    file = folder / "labels.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    read = partial(_read, LabelFormat(label_format), file)
    return hub.labelling.bring("default", "site", read, ImportRules(**rules), now=hub.now)  # type: ignore[no-any-return]


def _read(label_format: LabelFormat, file: Path, shelf: Any) -> Any:
    return read_labels(label_format, file, shelf=shelf)


def counts(done: Imported) -> tuple[int, int, int]:
    return done.added, done.replaced, done.unchanged


def test_labels_of_examples_become_lines_with_pictures_beside_and_twice_adds_nothing(
    hub: Any, tmp_path: Path, make_jpeg: Make
) -> None:
    file = hub.dataset()
    one, two = hub.keep(make_jpeg(1), make_jpeg(2))
    document = coco({f"{one}.jpg": [[1, 2, 30, 40]], f"anything-{two}.png": []})
    assert counts(bring(hub, tmp_path / "in", document)) == (2, 0, 0)
    first = file.read_bytes()
    assert first.decode() == f"examples/{one}.jpg 1,2,31,42,3\nexamples/{two}.jpg\n"
    assert counts(bring(hub, tmp_path / "in", document)) == (0, 0, 2)
    assert file.read_bytes() == first
    found = read_sedna(file)
    assert found.problems == ()
    assert (file.parent / f"examples/{one}.jpg").read_bytes() == make_jpeg(1)
    with hub.database.read() as session:
        assert {find_example(session, sha256).state for sha256 in (one, two)} == {"labelled"}  # type: ignore[union-attr]
        assert [(use.namespace, use.dataset) for use in uses_of(session, [one])[one]] == [("default", "site")]


def test_an_unknown_picture_is_named_and_nothing_is_imported(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    file = hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    with pytest.raises(LabelsRefused, match="2 problems in the labels; nothing was imported") as refused:
        bring(hub, tmp_path / "in", coco({f"{one}.jpg": [], "b.jpg": [], "0" * 64 + ".jpg": []}))
    assert ["images[1]" in refused.value.problems[0], "images[2]" in refused.value.problems[1]] == [True, True]
    assert all("unknown picture" in line for line in refused.value.problems)
    assert not file.exists()
    with hub.database.read() as session:
        assert find_example(session, one).state == "pending"  # type: ignore[union-attr]


def test_a_sedna_line_with_a_problem_is_named_by_its_number(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    lines = f"{one}.jpg 1,2,3,4,3\nnone.jpg 1,2,3,4,3\n{one}.jpg 1,2,900,4,3\n"
    with pytest.raises(LabelsRefused) as refused:
        bring(hub, tmp_path / "in", lines, "sedna")
    assert [line.split(": ")[0].rpartition(":")[2] for line in refused.value.problems] == ["2", "3"]


def test_pictures_beside_the_labels_are_examples_by_content_or_taken_in_when_wanted(
    hub: Any, tmp_path: Path, make_jpeg: Make
) -> None:
    file = hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "renamed.jpg").write_bytes(make_jpeg(1))
    (folder / "own.PNG").write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    document = coco({"renamed.jpg": [], "own.PNG": [[1, 2, 3, 4]]})
    with pytest.raises(LabelsRefused, match="1 problem") as refused:
        bring(hub, folder, document)
    assert "--add-pictures takes it into the data set" in refused.value.problems[0]
    assert counts(bring(hub, folder, document, add_pictures=True)) == (2, 0, 0)
    assert counts(bring(hub, folder, document)) == (0, 0, 2)  # the data set knows it now
    names = [line.split()[0] for line in file.read_text().splitlines()]
    assert names[0] == f"examples/{one}.jpg"
    assert names[1].startswith("pictures/")
    assert names[1].endswith(".png")
    assert read_sedna(file).problems == ()


def test_other_labels_for_a_known_picture_have_to_be_wanted(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    file = hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    file.parent.mkdir(parents=True)
    (file.parent / "old.jpg").write_bytes(make_jpeg(9))
    file.write_text("# by hand\nold.jpg 1,1,9,9,helmet-on 2,2,8,8,0")
    bring(hub, tmp_path / "in", coco({f"{one}.jpg": [[1, 2, 30, 40]]}))
    changed = coco({f"{one}.jpg": [[1, 2, 31, 40]]})
    with pytest.raises(LabelsRefused) as refused:
        bring(hub, tmp_path / "in", changed)
    assert refused.value.problems == (
        f"{one}.jpg: default/site has other labels for it already; --replace changes them",
    )
    assert counts(bring(hub, tmp_path / "in", changed, replace=True)) == (0, 1, 0)
    expected = f"# by hand\nold.jpg 1,1,9,9,helmet-on 2,2,8,8,0\nexamples/{one}.jpg 1,2,32,42,3\n"
    assert file.read_text() == expected
    # a line that somebody wrote otherwise says the same: class names, another order
    (tmp_path / "in" / "x.jpg").write_bytes(make_jpeg(9))
    assert counts(bring(hub, tmp_path / "in", "x.jpg 2,2,8,8,person 1,1,9,9,2\n", "sedna")) == (0, 0, 1)
    assert file.read_text() == expected


def test_what_a_data_sets_file_cannot_say_has_to_be_accepted(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    file = hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    document = coco({f"{one}.jpg": [[1, 2, 30, 40]]}, not_exhaustive_category_ids=[3])
    document["annotations"].append({"image_id": 0, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 1})
    with pytest.raises(LabelsRefused) as refused:
        bring(hub, tmp_path / "in", document)
    assert "1 ignore regions and that it is not complete for helmet-off" in refused.value.problems[0]
    assert counts(bring(hub, tmp_path / "in", document, accept_loss=True)) == (1, 0, 0)
    assert file.read_text() == f"examples/{one}.jpg 1,2,31,42,3\n"
    # the database forgets nothing: what comes out is what came in
    found, problems = export_examples(
        hub.database, hub.examples.pictures, LabelFormat.COCO, tmp_path / "out" / "c.json", "labelled"
    )
    assert problems == ()
    (picture,) = read_labels(LabelFormat.COCO, tmp_path / "out" / "c.json").pictures
    assert picture == found[0]
    assert len(picture.ignore) == 1
    assert "helmet-off" not in picture.complete


@pytest.mark.parametrize("label_format", list(LabelFormat))
def test_out_to_be_labelled_and_back_in(hub: Any, tmp_path: Path, make_jpeg: Make, label_format: LabelFormat) -> None:
    file = hub.dataset()
    digests = hub.keep(*(make_jpeg(number) for number in range(3)))
    out = tmp_path / "out" if label_format is LabelFormat.YOLO else tmp_path / "out" / "labels.any"
    found, problems = export_examples(hub.database, hub.examples.pictures, label_format, out, "pending")
    assert problems == ()
    assert [picture.path.stem for picture in found] == digests
    assert [mark.score for mark in found[0].boxes] == [0.4]
    if label_format is LabelFormat.LABELSTUDIO:  # somebody looks at every suggestion and accepts it
        tasks = json.loads(out.read_text())
        for task in tasks:
            task["annotations"] = [{"result": task["predictions"][0]["result"]}]
        out.write_text(json.dumps(tasks))
    for picture in (tmp_path / "out").rglob("*.jpg"):
        picture.unlink()  # they need not come back
    read = partial(_read, label_format, out)
    done = hub.labelling.bring("default", "site", read, ImportRules(), now=hub.now)
    assert counts(done) == (3, 0, 0)
    assert file.read_text() == "".join(f"examples/{sha256}.jpg 1,2,30,40,3\n" for sha256 in sorted(digests)) or (
        sorted(file.read_text().splitlines()) == sorted(f"examples/{sha256}.jpg 1,2,30,40,3" for sha256 in digests)
    )


def test_exported_pictures_are_copies(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    (one,) = hub.keep(make_jpeg(1))
    export_examples(hub.database, hub.examples.pictures, LabelFormat.SEDNA, tmp_path / "o" / "d.txt", "pending")
    (tmp_path / "o" / "images" / f"{one}.jpg").write_bytes(b"spoilt by a tool")
    assert hub.examples.pictures.path(one).read_bytes() == make_jpeg(1)


def test_detections_out_of_the_picture_or_of_unknown_labels_are_no_suggestions(
    hub: Any, tmp_path: Path, make_jpeg: Make
) -> None:
    from helmet_agent.contract import Detection  # noqa: PLC0415 - only here

    seen = (
        Detection("helmet-off", 0.9, (-5.0, -5.0, 70.0, 50.0)),
        Detection("vest", 0.9, (1.0, 1.0, 9.0, 9.0)),
        Detection("person", 0.9, (200.0, 1.0, 300.0, 9.0)),
    )
    hub.keep(make_jpeg(1), detections=seen)
    found, _ = export_examples(
        hub.database, hub.examples.pictures, LabelFormat.COCO, tmp_path / "o" / "c.json", "pending"
    )
    assert [(mark.label, mark.box) for mark in found[0].boxes] == [("helmet-off", (0.0, 0.0, 64.0, 48.0))]


def test_a_data_set_that_cannot_be_written_to_is_refused(hub: Any, tmp_path: Path) -> None:
    empty = coco({})
    with pytest.raises(NotFound):
        bring(hub, tmp_path / "in", empty)
    hub.dataset(kind="csv")
    with pytest.raises(BadRequest, match="expected txt"):
        bring(hub, tmp_path / "in", empty)
    hub.dataset("up", url="/data/../../etc/data.txt")
    with pytest.raises(BadRequest, match=r"without '\.\.'"):
        hub.labelling.bring("default", "up", lambda _shelf: None, ImportRules(), now=1.0)


def test_a_labelled_example_stays_and_a_pending_one_can_be_deleted(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    hub.dataset()
    one, two = hub.keep(make_jpeg(1), make_jpeg(2))
    bring(hub, tmp_path / "in", coco({f"{one}.jpg": []}))
    with pytest.raises(Conflict, match="a data set uses"):
        hub.examples.housekeeping.delete(one)
    hub.examples.housekeeping.delete(two)
    with pytest.raises(NotFound):
        hub.examples.housekeeping.delete(two)


def test_imports_at_once_lose_no_line(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    file = hub.dataset()
    digests = hub.keep(*(make_jpeg(number) for number in range(8)))
    threads = [
        threading.Thread(target=bring, args=(hub, tmp_path / sha256, coco({f"{sha256}.jpg": []}))) for sha256 in digests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.read_text().splitlines()) == sorted(f"examples/{sha256}.jpg" for sha256 in digests)


def test_an_import_that_ended_half_way_is_finished_by_the_next(hub: Any, tmp_path: Path, make_jpeg: Make) -> None:
    file = hub.dataset()
    (one,) = hub.keep(make_jpeg(1))
    document = coco({f"{one}.jpg": []})
    bring(hub, tmp_path / "in", document)
    # as after a crash between the file and the database, with a picture that somebody lost meanwhile
    with hub.database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM example_uses")
        session.connection().exec_driver_sql("UPDATE examples SET state = 'pending'")
    (file.parent / f"examples/{one}.jpg").unlink()
    assert counts(bring(hub, tmp_path / "in", document)) == (0, 0, 1)
    assert read_sedna(file).problems == ()
    with hub.database.read() as session:
        assert find_example(session, one).state == "labelled"  # type: ignore[union-attr]


def test_labels_over_http_are_all_or_nothing_too(hub: Any, make_jpeg: Make) -> None:
    file = hub.dataset()
    one, two = hub.keep(make_jpeg(1), make_jpeg(2))
    with hub.client("tool", "labels") as client:
        good = client.post("/v1/labels/default/site?format=sedna", content=f"{one}.jpg 1,2,30,40,3\n")
        assert (good.status_code, good.json()["added"]) == (200, 1)
        bad = client.post("/v1/labels/default/site?format=sedna", content=f"{two}.jpg\n../x.jpg\nnone.jpg 1,2\n")
        assert (bad.status_code, len(bad.json()["problems"])) == (400, 2)
        assert bad.json()["problems"][0].startswith("labels:2: picture '../x.jpg'")
        assert "labels-" not in bad.text
        assert client.post("/v1/labels/default/none?format=coco", content=json.dumps(coco({}))).status_code == 404
        assert client.post("/v1/labels/default/site?format=yolo", content=b"").status_code == 400
        shown = client.get(f"/v1/examples/{one}").json()
    assert shown["state"] == "labelled"
    assert shown["uses"][0]["labels"]["boxes"] == [["helmet-off", [1.0, 2.0, 30.0, 40.0]]]
    assert file.read_text() == f"examples/{one}.jpg 1,2,30,40,3\n"
    with hub.client() as node:
        assert node.post("/v1/labels/default/site?format=sedna", content=b"").status_code == 403


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    corners=st.lists(
        st.tuples(st.integers(0, 31), st.integers(0, 23), st.integers(32, 64), st.integers(24, 48)), max_size=4
    )
)
def test_whole_pixels_come_through_unchanged(
    hub: Any, tmp_path: Path, make_jpeg: Make, corners: list[tuple[int, int, int, int]]
) -> None:
    file = hub.dataset() if not (tmp_path / "rootfs").exists() else tmp_path / "rootfs/data/site/data.txt"
    (one,) = hub.keep(make_jpeg(1))
    boxes = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners]
    bring(hub, tmp_path / "in", coco({f"{one}.jpg": boxes}), replace=True)
    (picture,) = read_sedna(file).pictures
    assert [mark.box for mark in picture.boxes] == corners or sorted(mark.box for mark in picture.boxes) == sorted(
        corners
    )
