"""The first schema: devices, logins, sessions, their tunnel peers and addresses, kills, audit."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "administrators",
        sa.Column("cookie_digest", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("cookie_digest"),
    )
    op.create_index(op.f("ix_administrators_expires_at"), "administrators", ["expires_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("session", sa.String(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index(op.f("ix_audit_device"), "audit", ["device"], unique=False)
    op.create_index(op.f("ix_audit_session"), "audit", ["session"], unique=False)
    op.create_table(
        "devices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("jwk", sa.JSON(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("agent_version", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("enrolled_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "enrolments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("jwk", sa.JSON(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("agent_version", sa.String(), nullable=False),
        sa.Column("redirect_uri", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("code_digest", sa.String(), nullable=True),
        sa.Column("login", sa.JSON(), nullable=True),
        sa.Column("confirmed_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_enrolments_expires_at"), "enrolments", ["expires_at"], unique=False)
    op.create_table(
        "seen_proofs",
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("device", "jti"),
    )
    op.create_index(op.f("ix_seen_proofs_expires_at"), "seen_proofs", ["expires_at"], unique=False)
    op.create_table(
        "logins",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("authenticated_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("voided_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_logins_device"), "logins", ["device"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("live_device", sa.String(), nullable=True),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("active_at", Utc(), nullable=False),
        sa.Column("lease_until", Utc(), nullable=False),
        sa.Column("due_at", Utc(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("permits", sa.JSON(), nullable=False),
        sa.Column("routes", sa.JSON(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=True),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("valid_until", Utc(), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.ForeignKeyConstraint(
            ["login"],
            ["logins.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("live_device"),
    )
    op.create_index(op.f("ix_sessions_device"), "sessions", ["device"], unique=False)
    op.create_index(op.f("ix_sessions_due_at"), "sessions", ["due_at"], unique=False)
    op.create_table(
        "addresses",
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("session", sa.String(), nullable=True),
        sa.Column("free_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session"],
            ["sessions.id"],
        ),
        sa.PrimaryKeyConstraint("place"),
        sa.UniqueConstraint("session"),
    )
    op.create_index(op.f("ix_addresses_free_at"), "addresses", ["free_at"], unique=False)
    op.create_table(
        "kills",
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("killed_at", Utc(), nullable=False),
        sa.Column("killed_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session"],
            ["sessions.id"],
        ),
        sa.PrimaryKeyConstraint("session"),
    )
    op.create_table(
        "peers",
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("live_session", sa.String(), nullable=True),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("issued_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session"],
            ["sessions.id"],
        ),
        sa.PrimaryKeyConstraint("public_key"),
        sa.UniqueConstraint("live_session"),
    )
    op.create_index(op.f("ix_peers_session"), "peers", ["session"], unique=False)
    op.create_table(
        "postures",
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("observed_at", Utc(), nullable=False),
        sa.Column("received_at", Utc(), nullable=False),
        sa.Column("failing_since", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.ForeignKeyConstraint(
            ["session"],
            ["sessions.id"],
        ),
        sa.PrimaryKeyConstraint("device"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{change.lower()} BEFORE {change} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
            )
            op.execute(
                f"CREATE TRIGGER kills_refuse_{change.lower()} BEFORE {change} ON kills "
                "BEGIN SELECT RAISE(ABORT, 'a kill is for good'); END"
            )


def downgrade() -> None:
    op.drop_table("postures")
    op.drop_index(op.f("ix_peers_session"), table_name="peers")
    op.drop_table("peers")
    op.drop_table("kills")
    op.drop_index(op.f("ix_addresses_free_at"), table_name="addresses")
    op.drop_table("addresses")
    op.drop_index(op.f("ix_sessions_due_at"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_device"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_logins_device"), table_name="logins")
    op.drop_table("logins")
    op.drop_index(op.f("ix_seen_proofs_expires_at"), table_name="seen_proofs")
    op.drop_table("seen_proofs")
    op.drop_index(op.f("ix_enrolments_expires_at"), table_name="enrolments")
    op.drop_table("enrolments")
    op.drop_table("devices")
    op.drop_index(op.f("ix_audit_session"), table_name="audit")
    op.drop_index(op.f("ix_audit_device"), table_name="audit")
    op.drop_table("audit")
    op.drop_index(op.f("ix_administrators_expires_at"), table_name="administrators")
    op.drop_table("administrators")
