# SPDX-License-Identifier: Apache-2.0
"""The spool's pictures and records: ``ab/abcdef....jpg`` and ``.json``, named by the picture's digest."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.contract import ContractError, ExampleRecord, HardExample
from helmet_agent.durable import make_folder, remove_durable, reported, sweep_temporaries, write_atomic_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 4096
_SHARD = re.compile(r"[0-9a-f]{2}\Z")
_NAME = re.compile(r"([0-9a-f]{64})\.(jpg|json)\Z")
MAX_RECORD_BYTES = 4 << 20


def on_disk(size: int) -> int:
    """Bytes that a file of ``size`` bytes takes, counted in whole blocks of 4 KiB as common file systems do."""
    return -(-size // _BLOCK) * _BLOCK


@dataclass(slots=True)
class Found:
    """What a scan saw of one example: bytes on disk of each file, None where it is missing."""

    picture: int | None = None
    record: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk of what is there."""
        return (self.picture or 0) + (self.record or 0)

    @property
    def complete(self) -> bool:
        """Whether both files are there."""
        return self.picture is not None and self.record is not None


class ExampleFiles:
    """Writes, reads and removes pairs of files; knows nothing of quotas and rows.

    Args:
        directory: the spool's folder, which exists.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def picture(self, sha256: str) -> Path:
        """Where the picture lies."""
        return self._directory / sha256[:2] / f"{sha256}.jpg"

    def record(self, sha256: str) -> Path:
        """Where the record lies."""
        return self._directory / sha256[:2] / f"{sha256}.json"

    def write(self, example: HardExample, record: bytes) -> None:
        """Writes both files, the record last: a picture without one is a write that never finished.

        Raises:
            StorageError: they are not both there; a part of them may be.
        """
        picture = self.picture(example.record.sha256)
        make_folder(picture.parent)
        write_atomic_group(
            picture.parent, {picture.name: example.jpeg, self.record(example.record.sha256).name: record}
        )

    def read(self, sha256: str) -> HardExample:
        """Reads an example back and checks it against its name.

        Raises:
            FileNotFoundError: one of the files is missing.
            ContractError: the record is none, or does not belong to the picture.
            StorageError: the disk does not let us read.
        """
        path = self.record(sha256)
        try:
            if path.stat().st_size > MAX_RECORD_BYTES:
                raise ContractError(f"document: more than {MAX_RECORD_BYTES} bytes")
            document = json.loads(path.read_bytes())
            path = self.picture(sha256)
            jpeg = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            with reported("read", path):
                raise error from None
        except (ValueError, RecursionError) as error:
            raise ContractError(f"document: no JSON: {error}") from error
        example = HardExample(jpeg, ExampleRecord.from_json(document))
        if example.record.sha256 != sha256:
            raise ContractError("sha256: another one than the file's name")
        return example

    def remove(self, sha256: str) -> None:
        """Removes both files for good, as far as they are there; the picture first, for it shows people.

        Raises:
            StorageError: one is still there.
        """
        remove_durable(self.picture(sha256), self.record(sha256))

    def scan(self) -> tuple[dict[str, Found], list[Path]]:
        """All examples on the disk and the paths that are none of ours; removes temporary files on the way.

        Raises:
            StorageError: a folder cannot be read.
        """
        found: dict[str, Found] = {}
        strangers: list[Path] = []
        for shard in self._shards():
            sweep_temporaries(shard)
            with reported("read", shard), os.scandir(shard) as entries:
                for entry in entries:
                    match = _NAME.match(entry.name)
                    if match is None or not match[1].startswith(shard.name) or not entry.is_file(follow_symlinks=False):
                        strangers.append(shard / entry.name)
                        continue
                    pair = found.setdefault(match[1], Found())
                    size = on_disk(entry.stat().st_size)
                    if match[2] == "jpg":
                        pair.picture = size
                    else:
                        pair.record = size
        return found, strangers

    def _shards(self) -> Iterator[Path]:
        with reported("read", self._directory):
            for path in sorted(self._directory.iterdir()):
                if _SHARD.match(path.name) and path.is_dir():
                    yield path
