# SPDX-License-Identifier: Apache-2.0
"""No input crashes a reader, and nothing that it lets through breaks its promises."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_cloud.labels import LABELS, LabelFormat, LabelSet, read_labels

token = st.sampled_from(["images/a.jpg", "images/b.png", "1,2,3,4,0", "0,0,64,48,3", "..", "/", "\x00", ",,,,", "nan"])
number = st.sampled_from(["0", "1", "0.5", "-1", "nan", "1e308", "1e-308", "0x1", "٣", "99999999999", "inf"])
binary = st.binary(max_size=300)
sedna = st.lists(st.lists(token | st.text(max_size=8), max_size=5).map(" ".join), max_size=6).map("\n".join)
yolo = st.lists(st.lists(number, min_size=4, max_size=6).map(" ".join), max_size=6).map("\n".join)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["a.jpg", 7, 2]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
entry = st.dictionaries(
    st.sampled_from(["id", "name", "file_name", "image_id", "category_id", "bbox", "iscrowd", "width"]), value
)
coco = st.fixed_dictionaries(
    {name: st.lists(entry | value, max_size=4) | value for name in ("images", "categories", "annotations")}
)


def check(found: LabelSet) -> None:
    paths = [picture.path for picture in found.pictures]
    assert len(set(paths)) == len(paths)
    for picture in found.pictures:
        assert picture.path.is_file()
        assert picture.complete <= set(LABELS)
        for mark in picture.boxes:
            x1, y1, x2, y2 = mark.box
            assert 0 <= x1 < x2 <= picture.width
            assert 0 <= y1 < y2 <= picture.height
            assert mark.label in LABELS
    for problem in found.problems:
        assert "\n" not in str(problem).removeprefix(str(problem.file))


@settings(max_examples=150, deadline=None)
@given(content=binary | sedna.map(lambda text: text.encode(errors="surrogatepass")))
def test_sedna(pictures: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "data.txt"
        file.write_bytes(content)
        (Path(name) / "images").symlink_to(pictures / "images")
        check(read_labels(LabelFormat.SEDNA, file))


@settings(max_examples=150, deadline=None)
@given(content=binary | yolo.map(str.encode), names=binary | st.none())
def test_yolo(pictures: Path, content: bytes, names: bytes | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(pictures / "images/a.jpg", folder / "a.jpg")
        (folder / "a.txt").write_bytes(content)
        if names is not None:
            (folder / "classes.txt").write_bytes(names)
        check(read_labels(LabelFormat.YOLO, folder))


@settings(max_examples=150, deadline=None)
@given(content=binary | (coco | value).map(lambda document: json.dumps(document).encode()))
def test_coco(pictures: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "labels.json"
        file.write_bytes(content)
        (Path(name) / "images").symlink_to(pictures / "images")
        check(read_labels(LabelFormat.COCO, file))


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400), cut=st.integers(0, 600))
def test_a_damaged_picture(pictures: Path, content: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        whole = (pictures / "images/a.jpg").read_bytes()
        (Path(name) / "a.jpg").write_bytes(whole[:cut] + content)
        (Path(name) / "data.txt").write_text("a.jpg 1,2,3,4,0\n")
        check(read_labels(LabelFormat.SEDNA, Path(name) / "data.txt"))
