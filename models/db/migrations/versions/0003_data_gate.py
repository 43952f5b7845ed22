"""Prepared rows, readings and parts of dataset versions; reports of later stages

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("dataset_versions") as batch:
        batch.add_column(sa.Column("reading", sa.JSON(), nullable=False, server_default="{}"))
        batch.add_column(sa.Column("rows_sha256", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("rows_size", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("source", sa.JSON(), nullable=True))
        batch.add_column(sa.Column("note", sa.String(length=300), nullable=True))
        batch.add_column(sa.Column("made_from", sa.String(length=40), nullable=True))
    op.create_table(
        "dataset_parts",
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_parts_version_id")),
        sa.PrimaryKeyConstraint("version_id", "position", name=op.f("pk_dataset_parts")),
    )
    op.create_table(
        "dataset_reports",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("base_id", sa.String(length=40), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_reports_version_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_dataset_reports_team_id")),
        sa.ForeignKeyConstraint(["base_id"], ["base_models.id"], name=op.f("fk_dataset_reports_base_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_dataset_reports_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_reports")),
        sa.UniqueConstraint("version_id", "kind", "key", name=op.f("uq_dataset_reports_version_id_kind_key")),
    )
    op.create_index(op.f("ix_dataset_reports_version_id"), "dataset_reports", ["version_id"])
    op.create_index(op.f("ix_dataset_reports_team_id"), "dataset_reports", ["team_id"])


def downgrade() -> None:
    raise NotImplementedError("Going back is restoring the backup taken before the upgrade.")
