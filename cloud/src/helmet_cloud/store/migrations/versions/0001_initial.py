# SPDX-License-Identifier: Apache-2.0
"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "dataset_pictures",
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("changed_ns", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("dataset", "path", name=op.f("pk_dataset_pictures")),
    )
    op.create_table(
        "dataset_versions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_dataset_versions")),
    )
    op.create_table(
        "examples",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=512), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("time_seconds", sa.Double(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=512), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("detections", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_examples")),
        sa.UniqueConstraint("sha256", name=op.f("uq_examples_sha256")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("examples", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_examples_node"), ["node"], unique=False)
        batch_op.create_index("ix_examples_state", ["state", "received_seconds", "size_bytes"], unique=False)

    op.create_table(
        "job_states",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("retry", sa.String(), nullable=True),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_job_states")),
    )
    op.create_table(
        "models",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=True),
        sa.Column("dataset", sa.String(length=64), nullable=True),
        sa.Column("origin", sa.String(length=600), nullable=False),
        sa.Column("added_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_models")),
    )
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("ring", sa.String(length=128), nullable=False),
        sa.Column("added_seconds", sa.Double(), nullable=False),
        sa.Column("revoked_seconds", sa.Double(), nullable=True),
        sa.Column("seen_seconds", sa.Double(), nullable=True),
        sa.Column("model", sa.String(length=64), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_nodes")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nodes_model"), ["model"], unique=False)

    op.create_table(
        "resource_changes",
        sa.Column("version", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("labels_before", sa.JSON(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_resource_changes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "resources",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("about", sa.String(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "namespace", "name", name=op.f("pk_resources")),
    )
    with op.batch_alter_table("resources", schema=None) as batch_op:
        batch_op.create_index("ix_resources_kind_about", ["kind", "namespace", "about"], unique=False)
        batch_op.create_index(batch_op.f("ix_resources_version"), ["version"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("added_seconds", sa.Double(), nullable=False),
        sa.Column("revoked_seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_tokens")),
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tokens_name"), ["name"], unique=False)

    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("started_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "dataset_version_samples",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["dataset_versions.digest"], name=op.f("fk_dataset_version_samples_digest_dataset_versions")
        ),
        sa.PrimaryKeyConstraint("digest", "sha256", name=op.f("pk_dataset_version_samples")),
    )
    op.create_table(
        "example_uses",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("dataset", sa.String(length=253), nullable=False),
        sa.Column("picture", sa.String(length=512), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("labelled_seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["examples.sha256"], name=op.f("fk_example_uses_sha256_examples")),
        sa.PrimaryKeyConstraint("sha256", "namespace", "dataset", name=op.f("pk_example_uses")),
    )
    op.create_table(
        "job_samples",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("sample_group", sa.String(), nullable=False),
        sa.Column("first_seen_seconds", sa.Double(), nullable=False),
        sa.Column("tried_round", sa.Integer(), nullable=True),
        sa.Column("used_round", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job_states.uid"], name=op.f("fk_job_samples_job_job_states")),
        sa.PrimaryKeyConstraint("job", "sha256", name=op.f("pk_job_samples")),
    )
    with op.batch_alter_table("job_samples", schema=None) as batch_op:
        batch_op.create_index("ix_job_samples_pending", ["job", "side", "used_round", "tried_round"], unique=False)

    op.create_table(
        "node_changes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("node", sa.String(length=128), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["nodes.name"], name=op.f("fk_node_changes_node_nodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_changes")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("node_changes", schema=None) as batch_op:
        batch_op.create_index("ix_node_changes_node", ["node", "id"], unique=False)

    op.create_table(
        "publications",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("job", sa.String(length=253), nullable=False),
        sa.Column("ring", sa.String(length=32), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("begun_seconds", sa.Double(), nullable=False),
        sa.Column("finished_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["sha256"], ["models.sha256"], name=op.f("fk_publications_sha256_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publications")),
        sa.UniqueConstraint("namespace", "job", "release", name=op.f("uq_publications_namespace_job_release")),
    )
    with op.batch_alter_table("publications", schema=None) as batch_op:
        batch_op.create_index("ix_publications_ring", ["namespace", "job", "ring"], unique=False)

    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("output_dir", sa.String(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("opened_seconds", sa.Double(), nullable=False),
        sa.Column("closed_seconds", sa.Double(), nullable=True),
        sa.Column("train_version", sa.String(length=64), nullable=False),
        sa.Column("eval_version", sa.String(length=64), nullable=False),
        sa.Column("replay_version", sa.String(length=64), nullable=True),
        sa.Column("replay_missing", sa.Integer(), nullable=False),
        sa.Column("dataset_file", sa.String(), nullable=False),
        sa.Column("base_folder", sa.String(), nullable=False),
        sa.Column("base_sha256", sa.String(length=64), nullable=True),
        sa.Column("old_folder", sa.String(), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=True),
        sa.Column("release", sa.Integer(), nullable=True),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["eval_version"], ["dataset_versions.digest"], name=op.f("fk_rounds_eval_version_dataset_versions")
        ),
        sa.ForeignKeyConstraint(["job"], ["job_states.uid"], name=op.f("fk_rounds_job_job_states")),
        sa.ForeignKeyConstraint(
            ["replay_version"], ["dataset_versions.digest"], name=op.f("fk_rounds_replay_version_dataset_versions")
        ),
        sa.ForeignKeyConstraint(
            ["train_version"], ["dataset_versions.digest"], name=op.f("fk_rounds_train_version_dataset_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("job", "number", name=op.f("uq_rounds_job_number")),
    )
    with op.batch_alter_table("rounds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rounds_job"), ["job"], unique=False)
        batch_op.create_index(batch_op.f("ix_rounds_model_sha256"), ["model_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_rounds_output_dir"), ["output_dir"], unique=False)

    op.create_table(
        "worker_reports",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("owner_info", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["worker"], ["workers.name"], name=op.f("fk_worker_reports_worker_workers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_reports")),
    )
    with op.batch_alter_table("worker_reports", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_worker_reports_worker"), ["worker"], unique=False)
