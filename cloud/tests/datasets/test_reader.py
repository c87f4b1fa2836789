# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_cloud.datasets import DatasetReader
from helmet_cloud.settings import HubHome
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.samples import known_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(HubHome(tmp_path))
    yield made
    made.close()


@pytest.fixture
def reader(database: Database) -> DatasetReader:
    return DatasetReader(database)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three pictures, named in three lines."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        draw(folder / f"{number}.png", number)
    path = folder / "data.txt"
    path.write_text("0.png 1,1,9,9,2\n1.png\n2.png 3,3,9,9,3 1,1,5,5,0\n")
    return path


def draw(path: Path, number: int) -> None:
    assert cv2.imwrite(str(path), np.full((12, 16, 3), number * 10, np.uint8))


def test_a_sample_is_a_picture_with_its_labels_in_one_order(reader: DatasetReader, file: Path) -> None:
    found = reader.read(file)
    assert [one.name for one in found.samples] == ["0.png", "1.png", "2.png"]
    assert [one.labels for one in found.samples] == ["1,1,9,9,2", "", "1,1,5,5,0 3,3,9,9,3"]
    assert found.remark is None


def test_the_same_picture_counts_once_whatever_it_is_called(reader: DatasetReader, file: Path) -> None:
    (file.parent / "again.png").write_bytes((file.parent / "0.png").read_bytes())
    with file.open("a") as stream:
        stream.write("again.png 1,1,9,9,2\n0.png 1,1,9,9,2\n")
    found = reader.read(file)
    assert len(found.samples) == 3
    assert found.duplicates == 1
    assert len(found.problems) == 1
    assert "was named before" in found.problems[0]


def test_of_two_opinions_about_one_picture_the_first_counts(reader: DatasetReader, file: Path) -> None:
    (file.parent / "again.png").write_bytes((file.parent / "0.png").read_bytes())
    with file.open("a") as stream:
        stream.write("again.png 2,2,5,5,3\n")
    assert reader.read(file).samples[0].labels == "1,1,9,9,2"


def test_lines_that_cannot_be_right_are_left_out_and_named(reader: DatasetReader, file: Path) -> None:
    (file.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with file.open("ab") as stream:
        stream.write(b"missing.png 1,1,2,2,0\n0.png 1,1,2\n../../etc/passwd\nbroken.png\n\xff\xfe\n")
        stream.write(b"x" * (10 << 20) + b"\n")
        stream.write(b"1.png 1,1,999,999,0\n\n")
    found = reader.read(file)
    assert len(found.samples) == 3
    assert len(found.problems) == 7
    assert found.remark is not None
    assert "7 lines are left out" in found.remark
    assert f"{file}:4: no such picture" in found.remark
    assert len(found.remark) < 1000


def test_a_file_that_vanishes_has_no_samples_and_a_reason_until_it_is_back(reader: DatasetReader, file: Path) -> None:
    before = reader.read(file)
    kept = file.read_bytes()
    file.unlink()
    gone = reader.read(file)
    assert gone.samples == ()
    assert gone.missing == f"the data set's file cannot be read (No such file or directory): {file}"
    file.write_bytes(kept)
    assert reader.read(file).samples == before.samples


@pytest.mark.parametrize("what", ["folder", "nul"])
def test_what_is_no_file_is_told(reader: DatasetReader, tmp_path: Path, what: str) -> None:
    path = tmp_path / "data" if what == "folder" else Path(f"{tmp_path}/a\0b")
    (tmp_path / "data").mkdir()
    assert reader.read(path).missing is not None


def test_a_file_that_shrinks_has_fewer_samples_and_no_complaint(reader: DatasetReader, file: Path) -> None:
    reader.read(file)
    file.write_text("2.png 3,3,9,9,3\n")
    found = reader.read(file)
    assert [one.name for one in found.samples] == ["2.png"]
    assert found.remark is None


def test_a_picture_is_looked_at_once(database: Database, file: Path) -> None:
    # The file is replaced by other bytes of the same size and time: who looks again would see it.
    DatasetReader(database).read(file)
    picture = file.parent / "1.png"
    stat = picture.stat()
    before = DatasetReader(database).read(file).samples
    picture.write_bytes(b"\0" * stat.st_size)
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert DatasetReader(database).read(file).samples == before
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    found = DatasetReader(database).read(file)
    assert [one.name for one in found.samples] == ["0.png", "2.png"]
    with database.read() as session:
        assert set(known_pictures(session, str(file))) == {str(file.parent / f"{number}.png") for number in range(3)}


def test_a_replaced_picture_is_another_sample(reader: DatasetReader, file: Path) -> None:
    before = {one.sha256 for one in reader.read(file).samples}
    draw(file.parent / "1.png", 20 + 1)
    os.utime(file)
    assert len({one.sha256 for one in reader.read(file).samples} - before) == 1


def test_a_picture_that_comes_after_its_line_is_found(reader: DatasetReader, file: Path) -> None:
    with file.open("a") as stream:
        stream.write("late.png 1,1,2,2,1\n")
    assert len(reader.read(file).samples) == 3
    draw(file.parent / "late.png", 7)
    assert len(reader.read(file).samples) == 4


def test_many_new_pictures_take_several_readings_and_none_is_lost(database: Database, file: Path) -> None:
    reader = DatasetReader(database, looks=2)
    first = reader.read(file)
    assert (len(first.samples), first.waiting, first.problems) == (2, 1, ())
    assert first.remark == "1 new pictures are still to be looked at"
    second = reader.read(file)
    assert (len(second.samples), second.waiting) == (3, 0)


def test_a_picture_that_went_is_noticed_before_a_round_though_the_file_is_the_same(
    reader: DatasetReader, file: Path
) -> None:
    reader.read(file)
    (file.parent / "1.png").unlink()
    assert len(reader.read(file).samples) == 3
    assert len(reader.read(file, again=True).samples) == 2


def test_a_csv_file_has_a_header_and_says_the_same(reader: DatasetReader, file: Path) -> None:
    table = file.with_name("data.csv")
    table.write_text(
        'image,labels\n0.png,"1,1,9,9,2"\n1.png,\n2.png,"3,3,9,9,3 1,1,5,5,0"\n"a b.png","1,1,2,2,0"\n"broken\n'
    )
    found = reader.read(table, "csv")
    assert found.samples == reader.read(file).samples
    assert len(found.problems) == 2
    assert "data.csv:5" in found.problems[0]
