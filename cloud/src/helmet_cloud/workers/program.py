# SPDX-License-Identifier: Apache-2.0
"""What both worker programs do alike: report the end, whatever it is, and say the same by the exit code."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import EXIT_FAILED, EXIT_OK, AgentError
from helmet_cloud.workers.reporting import Reporter, ReportLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXIT_INTERRUPTED = 130


class Interrupted(AgentError):  # noqa: N818 - what happened, not what went wrong
    """A signal ended the work; another attempt goes on."""

    exit_code = EXIT_INTERRUPTED


def run_worker(
    kind: str,
    environment: Mapping[str, str],
    work: Callable[[Mapping[str, str], Reporter], list[dict[str, Any]]],
) -> int:
    """Runs the work and reports ``completed`` with its results, or ``failed`` with the reason; returns the exit code.

    A report that nobody takes is a failure: the hub would wait for it.

    Args:
        kind: ``train`` or ``eval``.
        environment: Sedna's.
        work: gives the results, or raises.
    """
    try:
        reporter = Reporter(environment, kind)
    except AgentError as error:
        return _failed(error)
    try:
        results = work(environment, reporter)
        reporter.finish("completed", results)
    except (Interrupted, ReportLost) as error:
        return _failed(error)
    except AgentError as error:
        _report_failure(reporter, str(error))
        return _failed(error)
    except Exception as error:
        traceback.print_exc()
        _report_failure(reporter, f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    return EXIT_OK


def _report_failure(reporter: Reporter, reason: str) -> None:
    try:
        reporter.finish("failed", [], {"reason": reason[:2000]})
    except ReportLost as error:
        _failed(error)


def _failed(error: AgentError) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - a worker's output is its log
    return error.exit_code
