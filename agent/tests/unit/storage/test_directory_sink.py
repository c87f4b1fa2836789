# SPDX-License-Identifier: Apache-2.0
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from helmet_agent.adapters.directory_sink import DirectorySink, directory_of
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.errors import ConfigError, StorageError


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/he", "/he"),
        ("file:///he/a%20b", "/he/a b"),
        ("file://localhost/he", "/he"),
        ("/odd:name/x", "/odd:name/x"),
    ],
)
def test_a_path_and_a_file_url_name_a_folder(address: str, path: str) -> None:
    assert directory_of(address) == Path(path)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://hub/he", "http:// cannot be written to"),
        ("https://hub/he", "https:// cannot be written to"),
        ("s3://bucket/he", "s3:// cannot be written to"),
        ("file://other/he", "names the host 'other'"),
        ("he", "expected an absolute folder"),
        ("", "expected an absolute folder"),
    ],
)
def test_anything_else_is_refused_in_one_line(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        directory_of(address)
    assert "HE_SAVED_URL" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_example_is_a_picture_with_its_record_once(tmp_path: Path, make_example: Callable[..., HardExample]) -> None:
    sink = DirectorySink(tmp_path / "deep" / "he")
    example = make_example(1)
    assert sink.put(example)
    assert not sink.put(example)
    name = example.record.sha256
    assert {path.name for path in (tmp_path / "deep" / "he").iterdir()} == {f"{name}.jpeg", f"{name}.json"}
    record = json.loads((tmp_path / "deep" / "he" / f"{name}.json").read_bytes())
    assert (
        HardExample((tmp_path / "deep" / "he" / f"{name}.jpeg").read_bytes(), ExampleRecord.from_json(record))
        == example
    )
    assert (sink.saved, sink.duplicates) == (1, 1)


def test_a_restart_knows_what_is_there_and_mends_a_torn_pair(
    tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    first, torn = make_example(1), make_example(2)
    sink = DirectorySink(tmp_path)
    sink.put(first)
    sink.put(torn)
    (tmp_path / f"{torn.record.sha256}.jpeg").unlink()
    again = DirectorySink(tmp_path)
    assert not again.put(first)
    assert again.put(torn)
    assert (tmp_path / f"{torn.record.sha256}.jpeg").read_bytes() == torn.jpeg


def test_the_quota_refuses_and_never_deletes_what_others_may_be_reading(
    tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    (tmp_path / "readme.txt").write_bytes(b"x" * 100_000)
    sink = DirectorySink(tmp_path, quota_bytes=25_000)
    results = [sink.put(make_example(number, size=10_000)) for number in range(4)]
    assert results == [True, True, False, False]
    assert sink.quota_refused == 2
    assert not DirectorySink(tmp_path, quota_bytes=25_000).put(make_example(9, size=10_000))
    assert (tmp_path / "readme.txt").exists()


def test_only_abandoned_temporaries_are_swept(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("young", 0)):
        path = tmp_path / f".tmp-{name}"
        path.write_bytes(b"")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    DirectorySink(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".tmp-young"}


def test_a_folder_that_went_away_is_a_storage_error(tmp_path: Path, make_example: Callable[..., HardExample]) -> None:
    sink = DirectorySink(tmp_path / "he")
    (tmp_path / "he").rmdir()
    with pytest.raises(StorageError, match="no such file or folder"):
        sink.put(make_example(1))
    assert sink.saved == 0
