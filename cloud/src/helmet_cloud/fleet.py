# SPDX-License-Identifier: Apache-2.0
"""The fleet as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from helmet_cloud.store.nodes import NodeRow


def node_wire(row: NodeRow, now: float) -> dict[str, Any]:
    """A node as the API shows it."""
    last: Mapping[str, Any] = row.report or {}
    shown = ("version", "job", "model", "release", "state", "healthy", "problems", "rates", "quarantined")
    return {
        "name": row.name,
        "ring": last.get("ring", row.ring),
        "enrolled_ring": row.ring,
        "added_seconds": row.added_seconds,
        "revoked": row.revoked_seconds is not None,
        "seen_seconds": row.seen_seconds,
        "stale": row.stale(now),
        **{key: last.get(key) for key in shown},
    }


def by_model(rows: Iterable[NodeRow]) -> dict[str, list[str]]:
    """Names of the nodes that run each model, by its digest; who never reported is not among them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.model is not None and row.revoked_seconds is None:
            found.setdefault(row.model, []).append(row.name)
    return found
