# SPDX-License-Identifier: Apache-2.0
"""What the hub's answers mean. Pure.

Between node and hub there may be proxies, captive portals and other people's servers. An example counts as delivered or
refused only where the answer could not have come from one of these: the hub's own JSON.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import HubDenied, HubError, HubRefused, HubUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANSWER_BYTES = 64 << 10
_LONGEST_DETAIL = 200
_OK, _CREATED, _NO_CONTENT = 200, 201, 204
_REDIRECTS = range(300, 400)
_DENIED = {401, 403}
_FORBIDDEN = 403
_TOO_SLOW = 408
_REFUSED = {400, 409, 410, 411, 415, 422}
_TOO_LARGE = 413
_NOT_NOW = {429, 503, 507}
_SERVER_ERRORS = range(500, 600)
_REASONS = {
    401: "the token is not known there or was revoked; register its digest with `helmet-cloud nodes add`",
    403: "the token is not this node's; register its digest under this node's name with `helmet-cloud nodes add`",
    404: "there is no hub at this address; check hub.url",
    405: "there is no hub at this address; check hub.url",
    407: "a proxy asks for a password; check hub.proxy",
    408: "the line is too slow for the hub",
    413: "larger than the hub takes",
    429: "the hub is busy and asks to wait",
    503: "the hub is not ready",
    507: "the hub's disk is full",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end.

    Attributes:
        status: HTTP's code.
        headers: lower-case names.
        body: at most ``MAX_ANSWER_BYTES``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any] | None:
        """The JSON object in the body; None when it is something else."""
        if "json" not in self.headers.get("content-type", ""):
            return None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return None


def example_taken(answer: Answer, sha256: str) -> bool:
    """Whether the example was new to the hub.

    Raises:
        HubError: it was not taken, or somebody else answered.
    """
    if answer.status not in (_OK, _CREATED):
        raise failure(answer)
    document = answer.document()
    if document is None or document.get("sha256") != sha256:
        raise HubUnavailable(
            f"answered {answer.status}, but not as a hub does; check hub.url and what stands between", suspect=True
        )
    return answer.status == _CREATED


def token_accepted(answer: Answer) -> None:
    """Nothing, when an example without a picture was refused for what it is, and not for the token.

    Raises:
        HubError: the token was not accepted, or somebody else answered.
    """
    error = failure(answer)
    if not isinstance(error, HubRefused):
        raise error


def report_taken(answer: Answer) -> None:
    """Nothing, when the report was taken.

    Raises:
        HubError: it was not.
    """
    if answer.status != _NO_CONTENT:
        raise failure(answer)


def failure(answer: Answer) -> HubError:
    """The error for an answer that is no success."""
    status = answer.status
    document = answer.document()
    said = _said(document)
    text = f"answered {status}: {_REASONS.get(status) or said or 'nothing that helps'}"
    if said and status in _REASONS and status not in _DENIED:
        text = f"{text} ({said})"
    if status in _DENIED:
        return HubDenied(text, known=status == _FORBIDDEN)
    if status in _REFUSED and document is not None:
        return HubRefused(text, for_good=True)
    if status == _TOO_LARGE:
        return HubRefused(text, for_good=False)
    if status in _REDIRECTS:
        # Following one could hand the token to somebody else.
        return HubUnavailable(f"answered {status}, a redirect, which is never followed; check hub.url")
    if status in _NOT_NOW:
        return HubUnavailable(text, retry_after_seconds=_retry_after(answer.headers))
    return HubUnavailable(text, suspect=status in {_TOO_SLOW, *_REFUSED, *_SERVER_ERRORS})


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the hub asked to wait (RFC 9110, 10.2.3): a number, or a date against the hub's own clock."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with contextlib.suppress(ValueError, TypeError):
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, wait.total_seconds())
    return None


def _said(document: dict[str, Any] | None) -> str:
    """The reason in a problem document (RFC 9457), made safe for one line of a log."""
    detail = (document or {}).get("detail") or (document or {}).get("title")
    if not isinstance(detail, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in detail[:_LONGEST_DETAIL]).strip()
