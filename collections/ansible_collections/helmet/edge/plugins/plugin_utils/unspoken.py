# SPDX-License-Identifier: Apache-2.0
"""Answers of a node that stay out of Ansible's output, because a token may be in them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def unspoken(connection: Any) -> Iterator[None]:
    """Has what the node answers printed nowhere while it lasts; what the task then tells is not touched.

    From ``-vvv`` on, Ansible's ssh connection prints all that a command on the node has written, and so the answer of
    every module as it came, unless the play's context forbids it: what ``no_log`` does for a task as a whole.
    """
    context = connection._play_context  # noqa: SLF001 - where the connection itself looks
    before, context.no_log = context.no_log, True
    try:
        yield
    finally:
        context.no_log = before
