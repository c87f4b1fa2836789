# SPDX-License-Identifier: Apache-2.0
"""What the HTTP interface needs of the node. Every method may be called from any thread and never waits for a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from helmet_agent.api.broadcast import EventBroadcast
    from helmet_agent.api.preview import PreviewDesk
    from helmet_agent.contract import ModelManifest
    from helmet_agent.status import Health, NodeSnapshot


class NodeView(Protocol):
    """The node as its HTTP interface sees it."""

    @property
    def events(self) -> EventBroadcast:
        """Where compliance events can be listened to."""

    @property
    def preview(self) -> PreviewDesk:
        """Where the live picture can be watched."""

    def snapshot(self) -> NodeSnapshot:
        """The node now."""

    def health(self) -> Health:
        """Whether the node does its work; a dead camera is degraded, a dead inference loop is failing."""

    def ready(self) -> Health:
        """Whether the model is warm and frames can be processed; not ok while starting or stopping."""

    def manifest(self) -> ModelManifest | None:
        """The live model's manifest; None before there is one."""
