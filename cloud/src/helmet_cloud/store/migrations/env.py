# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: it runs in the transaction that it is handed, so that a revision is kept whole or not at all."""

from __future__ import annotations

from alembic import context

from helmet_cloud.store.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
