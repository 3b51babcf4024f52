"""Logins that are checked, renewed and signalled about: which provider, how strong, what it holds against whom."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ENROLMENTS = (("demand", sa.JSON()), ("user_code", sa.String()), ("origin", sa.String()), ("approved_at", Utc()), ("polled_at", Utc()))  # fmt: skip
LOGINS = (("acr", sa.String()), ("email", sa.String()), ("id_token", sa.String()), ("refresh_token", sa.String()), ("check_at", Utc()))  # fmt: skip


def upgrade() -> None:
    with op.batch_alter_table("enrolments") as table:
        for name, kind in ENROLMENTS:
            table.add_column(sa.Column(name, kind, nullable=True))
        table.add_column(sa.Column("interval", sa.Integer(), server_default="0", nullable=False))
        table.create_unique_constraint("uq_enrolments_user_code", ["user_code"])
    for name, kind in LOGINS:
        op.add_column("logins", sa.Column(name, kind, nullable=True))
    op.add_column("logins", sa.Column("provider", sa.String(), server_default="", nullable=False))
    op.add_column("logins", sa.Column("amr", sa.JSON(), server_default="[]", nullable=False))
    op.create_index(op.f("ix_logins_email"), "logins", ["email"], unique=False)
    op.create_index(op.f("ix_logins_check_at"), "logins", ["check_at"], unique=False)
    op.add_column("sessions", sa.Column("authenticated_at", Utc(), nullable=True))
    op.add_column("sessions", sa.Column("acr", sa.String(), nullable=True))
    op.add_column("sessions", sa.Column("signals", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("sessions", sa.Column("step_up", sa.JSON(), server_default="[]", nullable=False))
    op.execute(
        "UPDATE sessions SET authenticated_at = (SELECT authenticated_at FROM logins WHERE logins.id = sessions.login)"
    )
    op.add_column("administrators", sa.Column("provider", sa.String(), server_default="", nullable=False))
    op.add_column("administrators", sa.Column("id_token", sa.String(), nullable=True))
    op.create_table(
        "spent_logins",
        sa.Column("state_digest", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("state_digest"),
    )
    op.create_index(op.f("ix_spent_logins_expires_at"), "spent_logins", ["expires_at"], unique=False)
    op.create_table(
        "signals",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", "device", "signal"),
    )
    op.create_table(
        "seen_events",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti"),
    )
    op.create_index(op.f("ix_seen_events_expires_at"), "seen_events", ["expires_at"], unique=False)
    op.create_table(
        "streams",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("verifying", sa.String(), nullable=True),
        sa.Column("asked_at", Utc(), nullable=True),
        sa.Column("verified_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("issuer"),
    )


def downgrade() -> None:
    for table in ("streams", "seen_events", "signals", "spent_logins"):
        op.drop_table(table)
    for name in ("id_token", "provider"):
        op.drop_column("administrators", name)
    for name in ("step_up", "signals", "acr", "authenticated_at"):
        op.drop_column("sessions", name)
    for index in ("ix_logins_check_at", "ix_logins_email"):
        op.drop_index(index, table_name="logins")
    for name in ("amr", "provider", *(name for name, _ in reversed(LOGINS))):
        op.drop_column("logins", name)
    with op.batch_alter_table("enrolments") as enrolments:
        enrolments.drop_constraint("uq_enrolments_user_code", type_="unique")
        for name in ("interval", *(name for name, _ in reversed(ENROLMENTS))):
            enrolments.drop_column(name)
