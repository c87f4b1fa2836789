# SPDX-License-Identifier: Apache-2.0
"""Programs that the demo starts: each in a session of its own, its words in a file, ended by its own id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

STOP_SECONDS = 20.0
_LAST_LINES = 15


class DemoError(AgentError):
    """The demo cannot go on; the message says where to look."""


class Child:
    """A program that runs beside the demo.

    Args:
        name: for messages.
        command: the program and its arguments.
        log: takes its standard output and standard error.

    Raises:
        DemoError: it cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self._name = name
        self.log = log
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 - programs of this repository
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Nothing while it runs.

        Raises:
            DemoError: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            raise DemoError(f"{self._name} ended with {code}; the end of {self.log}:\n{last_lines(self.log)}")

    def stop(self) -> int:
        """Asks it to end, and ends it if it does not; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, *, text: str | None = None) -> str:
    """Runs a program to its end; returns what it printed, warnings included.

    Args:
        command: the program and its arguments.
        environment: beside that of the demo.
        text: for its standard input.

    Raises:
        DemoError: it failed; the message has its last lines.
    """
    done = subprocess.run(  # noqa: S603 - programs of this repository, and kubectl
        command,
        env={**os.environ, **(environment or {})},
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"{' '.join(command)} ended with {done.returncode}:\n{_tail(done.stdout)}")
    return done.stdout


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends this program as Ctrl-C does."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def last_lines(log: Path) -> str:
    """The end of a log."""
    return _tail(log.read_text(errors="replace"))


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LAST_LINES:])
