"""Policies: their texts, who applied them, the history of decisions, and the mass-cut breaker."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("sessions", sa.Column("trace", sa.String(), nullable=False, server_default=""))
    op.add_column("sessions", sa.Column("held_by", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_sessions_held_by"), "sessions", ["held_by"], unique=False)
    op.create_table(
        "policies",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "applications",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("applied_at", Utc(), nullable=False),
        sa.Column("applied_by", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version"], ["policies.version"]),
        sa.ForeignKeyConstraint(["before"], ["policies.version"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "holds",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("opened_at", Utc(), nullable=False),
        sa.Column("affected", sa.Integer(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.Column("closed_at", Utc(), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(op.f("ix_holds_cause"), "holds", ["cause"], unique=False)
    op.create_table(
        "cuts",
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index(op.f("ix_cuts_at"), "cuts", ["at"], unique=False)
    op.create_index("ix_cuts_cause_at", "cuts", ["cause", "at"], unique=False)
    op.create_table(
        "history",
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("trace", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("observed_at", Utc(), nullable=True),
        sa.Column("received_at", Utc(), nullable=True),
        sa.Column("question", sa.JSON(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index(op.f("ix_history_session"), "history", ["session"], unique=False)
    op.create_index(op.f("ix_history_trace"), "history", ["trace"], unique=False)
    op.create_index("ix_history_device_sequence", "history", ["device", "sequence"], unique=False)


def downgrade() -> None:
    for table in ("history", "cuts", "holds", "applications", "policies"):
        op.drop_table(table)
    op.drop_index(op.f("ix_sessions_held_by"), table_name="sessions")
    op.drop_column("sessions", "held_by")
    op.drop_column("sessions", "trace")
