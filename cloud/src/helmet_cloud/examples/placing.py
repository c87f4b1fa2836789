# SPDX-License-Identifier: Apache-2.0
"""Puts pictures where they are used: as another name of the same file where the disk allows it, else as a copy."""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING

from helmet_agent.durable import TEMPORARY_PREFIX, make_folder, reported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def place(pictures: Mapping[Path, Path], *, copy: bool = False) -> None:
    """Makes each target hold what its source holds; when this returns they survive a power cut.

    Args:
        pictures: source by target; targets are named by content, so one that is there with the same size stays.
        copy: never as another name of the same file; for folders whose owners may change what they find there.

    Raises:
        StorageError: one cannot be put there; those before it are.
    """
    folders = {target.parent for target in pictures}
    for folder in folders:
        make_folder(folder, mode=0o755)
    for target, source in pictures.items():
        with reported("write", target):
            if not (target.exists() and target.stat().st_size == source.stat().st_size):
                _put(source, target, copy=copy)
    for folder in folders:
        with reported("write", folder):
            _sync(folder, os.O_DIRECTORY)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        if copy or not _linked(source, temporary):
            shutil.copyfile(source, temporary)
            temporary.chmod(0o644)
            _sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        return False
    return True


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
