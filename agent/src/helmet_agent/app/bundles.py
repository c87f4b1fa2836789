# SPDX-License-Identifier: Apache-2.0
"""Bundles: a channel's files in a folder or tar that somebody carries to a node without a network."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, reported
from helmet_agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

PARTS = ("metadata", "targets")
MOST_BYTES = 1 << 30
MOST_FILES = 10_000
_CHUNK = 1 << 20


def unpack(bundle: Path, into: Path) -> None:
    """Copies the ``metadata`` and ``targets`` of a bundle; nothing else of it, and nothing outside ``into``.

    What it holds is verified later, as if the channel had sent it.

    Args:
        bundle: a folder or a tar file (compressed or not); both parts at its top or in one folder of it.
        into: made.

    Raises:
        UsageError: it is no such bundle. StorageError: it cannot be copied.
    """
    if not bundle.exists():
        raise UsageError(f"{bundle}: no such file or folder")
    make_folder(into)
    files = _folder_files(bundle) if bundle.is_dir() else _tar_files(bundle)
    room = MOST_BYTES
    for count, (name, file) in enumerate(files, 1):
        place = into.joinpath(*name.parts)
        make_folder(place.parent)
        with reported("write", place), file, place.open("xb") as target:
            room -= _copy(file, target, room)
        if room <= 0 or count > MOST_FILES:
            raise UsageError(
                f"{bundle}: more than {MOST_BYTES >> 20} MiB or {MOST_FILES} files: no bundle of one model"
            )
    if not (into / PARTS[0]).is_dir():
        raise UsageError(f"{bundle}: expected a folder or tar with {PARTS[0]} and {PARTS[1]} of a channel in it")


def _inside(name: PurePosixPath) -> PurePosixPath | None:
    """The part of a path from ``metadata`` or ``targets`` on; None for everything else.

    Raises:
        UsageError: it leads out of the bundle, which no bundle of ours does.
    """
    if name.is_absolute() or ".." in name.parts:
        raise UsageError(f"the bundle holds {str(name)!r}, a path that leads out of it: refused; get another bundle")
    parts = [part for part in name.parts if part != "."]
    start = next((at for at, part in enumerate(parts[:2]) if part in PARTS), None)
    if start is None or len(parts) - start < 2:  # noqa: PLR2004 - a folder and a file
        return None
    return PurePosixPath(*parts[start:])


def _folder_files(bundle: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    for folder, _, names in os.walk(bundle):
        for name in sorted(names):
            path = Path(folder) / name
            inside = _inside(PurePosixPath(path.relative_to(bundle).as_posix()))
            if inside is not None and path.is_file():
                with reported("read", path):
                    file = path.open("rb")
                yield inside, file


def _tar_files(bundle: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    try:
        with tarfile.open(bundle) as tar:
            for member in tar:
                inside = _inside(PurePosixPath(member.name))
                # Links and devices have no place in a bundle.
                file = tar.extractfile(member) if inside is not None and member.isreg() else None
                if inside is not None and file is not None:
                    yield inside, file
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"{bundle}: neither a folder nor a tar file that can be read ({error})") from error


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> int:
    copied = 0
    while copied <= most and (chunk := source.read(_CHUNK)):
        target.write(chunk)
        copied += len(chunk)
    return copied


def remove(folder: Path) -> None:
    """Removes an unpacked bundle; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)
