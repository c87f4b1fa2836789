# SPDX-License-Identifier: Apache-2.0
"""Staged rollouts, and a history that nobody can change: the database refuses it, whatever program asks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("job", sa.String(length=253), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("begun_seconds", sa.Double(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("promoted", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("nodes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        sa.UniqueConstraint("namespace", "job", "release", name=op.f("uq_rollouts_namespace_job_release")),
    )
    op.create_table(
        "rollout_steps",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("job", sa.String(length=253), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("at_seconds", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_steps")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("rollout_steps", schema=None) as batch_op:
        batch_op.create_index("ix_rollout_steps_job", ["namespace", "job"], unique=False)
    for name, event in (
        ("steps_stay", "DELETE ON rollout_steps"),
        ("steps_keep", "UPDATE ON rollout_steps"),
        ("publications_stay", "DELETE ON publications"),
        ("publications_keep", "UPDATE ON publications WHEN OLD.state <> 'pending'"),
    ):
        op.execute(
            f"CREATE TRIGGER history_{name} BEFORE {event} BEGIN SELECT RAISE(ABORT, 'history is only added to'); END"
        )
