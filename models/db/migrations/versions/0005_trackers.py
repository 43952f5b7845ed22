"""Trackers of a team, and how far each run has been told to them

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "trackers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("on_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=40), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_trackers_team_id")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_trackers_created_by")),
        sa.ForeignKeyConstraint(["changed_by"], ["users.id"], name=op.f("fk_trackers_changed_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trackers")),
    )
    op.create_index(op.f("ix_trackers_team_id"), "trackers", ["team_id"])
    op.create_table(
        "tracked_runs",
        sa.Column("tracker_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("said", sa.String(length=16), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tracker_id"], ["trackers.id"], name=op.f("fk_tracked_runs_tracker_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_tracked_runs_job_id")),
        sa.PrimaryKeyConstraint("tracker_id", "job_id", name=op.f("pk_tracked_runs")),
    )
    op.create_index(op.f("ix_tracked_runs_job_id"), "tracked_runs", ["job_id"])


def downgrade() -> None:
    raise NotImplementedError("Going back is restoring the backup taken before the upgrade.")
