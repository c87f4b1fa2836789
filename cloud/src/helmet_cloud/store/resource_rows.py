# SPDX-License-Identifier: Apache-2.0
"""The tables of resources and of their changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.store.base import Base

Document = dict[str, Any]


class ResourceRow(Base):
    """The present state of a resource."""

    __tablename__ = "resources"
    __table_args__ = (Index("ix_resources_kind_about", "kind", "namespace", "about"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(index=True)
    about: Mapped[str | None]
    document: Mapped[Document] = mapped_column(JSON)


class ChangeRow(Base):
    """One change; its number is the resourceVersion that it made."""

    __tablename__ = "resource_changes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    type: Mapped[str]
    kind: Mapped[str]
    namespace: Mapped[str]
    name: Mapped[str]
    labels_before: Mapped[dict[str, str] | None] = mapped_column(JSON)
    document: Mapped[Document] = mapped_column(JSON)
