"""Devices are approved, revoked, quarantined; keys for unattended machines; the ratchet; tokens; roles of administrators."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATES = (
    ("approved_at", Utc()),
    ("approved_by", sa.String()),
    ("revoked_at", Utc()),
    ("quarantined_at", Utc()),
    ("nonce", sa.String()),
    ("previous_nonce", sa.String()),
    ("said_at", Utc()),
    ("attestation", sa.JSON()),
)


def upgrade() -> None:
    for name, kind in STATES:
        op.add_column("devices", sa.Column(name, kind, nullable=True))
    op.execute("UPDATE devices SET approved_at = enrolled_at, approved_by = 'gateway'")
    op.create_index(op.f("ix_devices_subject"), "devices", ["subject"], unique=False)
    op.drop_column("sessions", "nonce")  # it is the device's now: a copied device is noticed across sessions
    op.add_column("sessions", sa.Column("reported_at", Utc(), nullable=True))
    op.add_column("administrators", sa.Column("role", sa.String(), server_default="admin", nullable=False))
    op.create_table(
        "enrolment_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("secret_digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("login_days", sa.Integer(), nullable=False),
        sa.Column("used_at", Utc(), nullable=True),
        sa.Column("used_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_digest"),
    )
    op.create_table(
        "token_families",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_token_families_device"), "token_families", ["device"], unique=False)
    op.create_index(op.f("ix_token_families_expires_at"), "token_families", ["expires_at"], unique=False)
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("secret_digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("revoked_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_digest"),
    )


def downgrade() -> None:
    op.drop_table("api_tokens")
    op.drop_index(op.f("ix_token_families_expires_at"), table_name="token_families")
    op.drop_index(op.f("ix_token_families_device"), table_name="token_families")
    op.drop_table("token_families")
    op.drop_table("enrolment_keys")
    op.drop_column("administrators", "role")
    op.drop_column("sessions", "reported_at")
    op.add_column("sessions", sa.Column("nonce", sa.String(), server_default="", nullable=False))
    op.drop_index(op.f("ix_devices_subject"), table_name="devices")
    for name, _ in reversed(STATES):
        op.drop_column("devices", name)
