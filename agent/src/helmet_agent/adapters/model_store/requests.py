# SPDX-License-Identifier: Apache-2.0
"""Requests that an operator's command leaves for the running agent, and the answers it finds: one small file each."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Any

from helmet_agent.durable import make_folder, remove_durable, reported, write_atomic
from helmet_agent.ports import ModelRequest

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = ("rollback", "unquarantine", "import")
LONGEST_REQUEST = 4096
FORGOTTEN_SECONDS = 3600.0
_NAME = re.compile(r"[0-9]{14}-[0-9a-f]{16}\.request\Z")


class Requests:
    """The folder of requests and answers.

    Args:
        folder: made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def leave(self, action: str, argument: str = "") -> ModelRequest:
        """Asks for something; for the command's process.

        Raises:
            StorageError: it could not be written.
        """
        make_folder(self._folder)
        request = ModelRequest(f"{time.time_ns() // 100_000:014d}"[-14:] + f"-{secrets.token_hex(8)}", action, argument)
        content = json.dumps({"action": action, "argument": argument}).encode()
        write_atomic(self._folder / f"{request.id}.request", content)
        return request

    def answer_to(self, request: ModelRequest) -> tuple[bool, str] | None:
        """(done, text) when the agent has answered, and the answer is taken away; None: not yet.

        Raises:
            StorageError: it cannot be read.
        """
        path = self._folder / f"{request.id}.answer"
        with reported("read", path):
            try:
                document: dict[str, Any] = json.loads(path.read_bytes())
            except FileNotFoundError:
                return None
        remove_durable(path)
        return bool(document.get("done")), str(document.get("text", ""))

    def waiting(self) -> list[ModelRequest]:
        """What is asked for, oldest first; what is no request is removed."""
        found = []
        for path in sorted(self._folder.glob("*.request")) if self._folder.is_dir() else []:
            request = _read(path) if _NAME.match(path.name) else None
            if request is None:
                path.unlink(missing_ok=True)
            else:
                found.append(request)
        return found

    def answer(self, request: ModelRequest, text: str, *, done: bool) -> None:
        """Leaves the answer, then takes the request away; answers that nobody fetched go after an hour.

        Raises:
            StorageError: it could not be written.
        """
        for old in self._folder.glob("*.answer"):
            if time.time() - old.stat().st_mtime > FORGOTTEN_SECONDS:
                old.unlink(missing_ok=True)
        write_atomic(self._folder / f"{request.id}.answer", json.dumps({"done": done, "text": text}).encode())
        remove_durable(self._folder / f"{request.id}.request")
        if request.action == "import":
            with contextlib.suppress(ValueError):
                shutil.rmtree(self.bundle_folder(request.argument), ignore_errors=True)

    def bundle_folder(self, name: str) -> Path:
        """Where the bundle of an import request lies; ``name`` may have come from anywhere, so only its letters count.

        Raises:
            ValueError: it is no name that this program gives.
        """
        if not re.match(r"[0-9a-f]{16}\Z", name):
            raise ValueError(f"no bundle is called {name!r}")
        return self._folder / f"{name}.bundle"


def _read(path: Path) -> ModelRequest | None:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(LONGEST_REQUEST))
        action, argument = document["action"], document["argument"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if action not in ACTIONS or not isinstance(argument, str):
        return None
    return ModelRequest(path.stem, action, argument)
