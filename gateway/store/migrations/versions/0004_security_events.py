"""Security events: which were accepted, what they say about users and devices, and the stream that brings them."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("signals", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "seen_events",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti"),
    )
    op.create_index(op.f("ix_seen_events_expires_at"), "seen_events", ["expires_at"], unique=False)
    op.create_table(
        "signals",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", "device", "about"),
    )
    op.create_table(
        "event_streams",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("audience", sa.String(), nullable=False),
        sa.Column("delivery", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("verified_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("issuer"),
    )


def downgrade() -> None:
    op.drop_table("event_streams")
    op.drop_table("signals")
    op.drop_index(op.f("ix_seen_events_expires_at"), table_name="seen_events")
    op.drop_table("seen_events")
    op.drop_column("sessions", "signals")
