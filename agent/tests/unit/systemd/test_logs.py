# SPDX-License-Identifier: Apache-2.0
"""Log lines: three shapes, no credentials, one line each."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.logs import Redaction, configure_logging
from helmet_agent.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator

CAMERA = "rtsp://root:s3cret@192.0.2.1/live"


def failing(reason: str) -> None:
    raise OSError(reason)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_json_lines() -> None:
    out = io.StringIO()
    assert configure_logging("info", "json", stream=out) == "json"
    structlog.get_logger().info("a source is back", source="gate", seconds=1.5, path=Path("/video"))
    line = json.loads(out.getvalue())
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["source"], line["seconds"]) == ("info", "gate", 1.5)
    assert line["path"] == "/video"


@pytest.mark.parametrize(("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)])
def test_journal_lines_begin_with_their_priority(level: str, priority: int) -> None:
    out = io.StringIO()
    configure_logging("debug", "journal", stream=out)
    getattr(structlog.get_logger(), level)("the spool is full", spool="a b", examples=3)
    assert out.getvalue() == f'<{priority}>the spool is full spool="a b" examples=3\n'


def test_console_lines_are_plain_off_a_terminal() -> None:
    out = io.StringIO()
    assert configure_logging("info", "auto", stream=out) == "console"
    structlog.get_logger().info("hello", source="gate")
    assert "hello" in out.getvalue()
    assert "source=gate" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_auto_is_the_journal_where_the_stream_leads_there(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as out:
        found = os.fstat(out.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert configure_logging("info", "auto", stream=out, environ=journal) == "journal"
        assert configure_logging("info", "auto", stream=out, environ={"JOURNAL_STREAM": "1:2"}) == "console"


def test_the_level_is_kept() -> None:
    out = io.StringIO()
    configure_logging("warning", "journal", stream=out)
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    assert out.getvalue() == "<3>loud\n"


@pytest.mark.parametrize("style", ["console", "json", "journal"])
def test_no_line_shows_credentials(style: str) -> None:
    out = io.StringIO()
    configure_logging("info", style, stream=out)
    log = structlog.get_logger().bind(url=CAMERA)
    log.warning(CAMERA, deep={"urls": [CAMERA]}, error=OSError(CAMERA), token="s3cret")  # noqa: S106 - what must not show
    try:
        failing(CAMERA)
    except OSError:
        log.exception("lost")
    logging.getLogger("httpx").warning("GET %s", CAMERA)
    assert "s3cret" not in out.getvalue()
    assert "192.0.2.1" in out.getvalue()
    assert "GET" in out.getvalue()


@pytest.mark.parametrize("style", ["json", "journal"])
def test_a_traceback_stays_on_one_line(style: str) -> None:
    out = io.StringIO()
    configure_logging("info", style, stream=out)
    try:
        failing("two\nlines")
    except OSError:
        structlog.get_logger().exception("failed")
    assert out.getvalue().count("\n") == 1


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_value_breaks_a_line_or_repaints_a_terminal(event: str, value: str) -> None:
    safe = Redaction(redact_url)(None, "info", {"event": event, "reason": value})
    assert all(text.isprintable() for text in safe.values())


def test_other_libraries_keep_quiet_below_a_warning() -> None:
    out = io.StringIO()
    configure_logging("info", "journal", stream=out)
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").warning("odd")
    assert out.getvalue() == "<4>odd logger=uvicorn.error\n"


def test_configuring_twice_says_nothing_twice() -> None:
    out = io.StringIO()
    configure_logging("info", "journal", stream=out)
    configure_logging("info", "journal", stream=out)
    logging.getLogger("x").warning("once")
    assert out.getvalue().count("once") == 1


def test_a_stream_that_is_gone_does_not_end_the_agent() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        configure_logging("info", "journal", stream=out)
        structlog.get_logger().info("into the void")
        # What Python could not write it keeps for the next flush; let it go with the file.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
