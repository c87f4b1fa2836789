# SPDX-License-Identifier: Apache-2.0
"""Looks at pictures once: digest and size are kept for as long as the file's size and time stay the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import picture_size
from helmet_cloud.labels.checks import Unfit
from helmet_cloud.store.samples import KnownPicture, keep_pictures, known_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.store.database import Database


class Pictures:
    """The pictures of one data set during one reading.

    Args:
        database: where earlier looks are kept.
        dataset: name under which they are kept.
        budget: how many pictures are looked at anew; the others are counted in ``waiting`` and refused for now.
    """

    def __init__(self, database: Database, dataset: str, budget: int) -> None:
        self._database = database
        self._dataset = dataset
        self._budget = budget
        with database.read() as session:
            self._known = known_pictures(session, dataset)
        self._fresh: dict[str, KnownPicture] = {}
        self._sha256: dict[Path, str] = {}
        self.waiting = 0

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height of a picture.

        Raises:
            Unfit: it is no picture, is not there, or has to wait for the next reading.
        """
        row = self._row(path)
        if row.problem is not None or row.sha256 is None:
            raise Unfit(row.problem or f"cannot be read: {path}")
        self._sha256[path] = row.sha256
        return row.width, row.height

    def sha256(self, path: Path) -> str:
        """Digest of a picture that ``size`` answered for."""
        return self._sha256[path]

    def keep(self) -> None:
        """Keeps what was looked at anew."""
        if self._fresh:
            with self._database.write() as session:
                keep_pictures(session, self._dataset, self._fresh)
            self._fresh = {}

    def _row(self, path: Path) -> KnownPicture:
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise Unfit(f"no such picture: {path}") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Unfit(f"picture cannot be read ({reason}): {path}") from None
        name = str(path)
        known = self._fresh.get(name) or self._known.get(name)
        if known is not None and (known.size_bytes, known.changed_ns) == (stat.st_size, stat.st_mtime_ns):
            return known
        if len(self._fresh) >= self._budget:
            self.waiting += 1
            raise Unfit("not looked at yet")
        row = _look(path, stat.st_size, stat.st_mtime_ns)
        self._fresh[name] = row
        return row


def _look(path: Path, size: int, changed_ns: int) -> KnownPicture:
    width, height, sha256, problem = 0, 0, None, None
    try:
        width, height = picture_size(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except SourceMissing as error:
        problem = str(error)
    except OSError as error:
        problem = f"picture cannot be read ({error.strerror}): {path}"
    return KnownPicture(size, changed_ns, sha256, width, height, problem)
