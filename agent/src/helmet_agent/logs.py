# SPDX-License-Identifier: Apache-2.0
"""Log lines on standard error: for people, for collectors (JSON) or for systemd's journal, never with credentials."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from helmet_agent.redaction import MASK, redact_url

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

Redact = Callable[[str], str]
FORMATS = ("console", "json", "journal")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Syslog's levels, which systemd reads in angle brackets at the start of a line (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_SECRET_KEY = re.compile(r"pass(word|wd)?$|token$|secret$|authorization$|credentials?$|api_?key$", re.IGNORECASE)
_MULTI_LINE_KEYS = ("exception", "stack")
_DEEPEST = 6


def configure_logging(
    level: str = "info",
    style: str = "auto",
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    redact: Redact = redact_url,
) -> str:
    """Sets up structlog and takes the standard library's loggers in.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; other libraries speak from ``warning`` on.
        style: ``console``, ``json``, ``journal``, or ``auto``: the journal if the stream leads there, else console.
        stream: standard error by default.
        environ: where JOURNAL_STREAM is looked up.
        redact: takes credentials out of a text.

    Returns:
        The style in use.
    """
    out = sys.stderr if stream is None else stream
    chosen = _find_style(out, os.environ if environ is None else environ) if style == "auto" else style
    structlog.configure(
        processors=_processors(chosen, redact, colors=out.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _LineLogger(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _IntoStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_IntoStructlog())
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    return chosen


def _find_style(out: TextIO, environ: Mapping[str, str]) -> str:
    """``journal`` where JOURNAL_STREAM names the file behind the stream (systemd.exec(5)), else ``console``."""
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return "console"
    return "journal" if environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" else "console"


def _processors(style: str, redact: Redact, *, colors: bool) -> list[Processor]:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redaction(redact, one_line=style == "journal"),
    ]
    if style == "journal":
        return [*shared, _journal_line]
    if style == "json":
        return [*shared, structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"), _json_line]
    render = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )
    return [*shared, structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), render]


class Redaction:
    """A structlog processor: no credentials, no control characters, nothing but JSON's types in any value.

    Args:
        redact: takes credentials out of a text.
        one_line: also folds tracebacks into one line.
    """

    def __init__(self, redact: Redact, *, one_line: bool = False) -> None:
        self._redact = redact
        self._one_line = one_line

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The event, safe to show."""
        return {str(key): self._entry(str(key), value) for key, value in event.items()}

    def _entry(self, key: str, value: object, depth: int = 0) -> Any:
        if _SECRET_KEY.search(key) and isinstance(value, str | bytes):
            return MASK
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth < _DEEPEST and isinstance(value, Mapping):
            return {self._text(str(name)): self._entry(str(name), item, depth + 1) for name, item in value.items()}
        if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
            return [self._entry("", item, depth + 1) for item in value]
        multi_line = key in _MULTI_LINE_KEYS and not self._one_line
        return self._text(str(value), keep="\n" if multi_line else "")

    def _text(self, text: str, keep: str = "") -> str:
        # A line break or an escape sequence in a value could forge a line or repaint the terminal.
        safe = self._redact(text)
        if safe.isprintable():
            return safe
        return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in safe)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _journal_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """``<6>what happened key=value ...``: the journal adds the time itself."""
    level = str(event.pop("level", "info"))
    words = [str(event.pop("event", ""))]
    for key, value in event.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        words.append(f"{key}={json.dumps(shown, ensure_ascii=False) if _needs_quotes(shown) else shown}")
    return f"<{_PRIORITIES.get(level, 6)}>{' '.join(words)}"


def _needs_quotes(text: str) -> bool:
    return not text or any(char in text for char in ' ="')


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {"time": event.pop("time", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return json.dumps({**first, **event}, ensure_ascii=False)


class _LineLogger:
    """Writes whole lines; a stream that is gone or full must not end the agent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        try:
            # One write a line: threads do not mix within it.
            self._stream.write(message + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    log = debug = info = warn = warning = error = critical = fatal = exception = failure = err = msg


class _IntoStructlog(logging.Handler):
    """What libraries log through the standard library comes out in the same shape."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = {10: "debug", 20: "info", 30: "warning"}.get(record.levelno // 10 * 10, "error")
            logger = structlog.get_logger(record.name)
            getattr(logger, level)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:
            self.handleError(record)
