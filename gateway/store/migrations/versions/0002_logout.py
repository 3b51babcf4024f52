"""Logout at the provider: which provider session a login belongs to, and the logouts that were accepted."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("logins", "administrators"):  # NULL for what began before: a logout by `sub` ends it all the same
        op.add_column(table, sa.Column("sid", sa.String(), nullable=True))
        op.add_column(table, sa.Column("issued_at", Utc(), nullable=True))
    op.create_index(op.f("ix_logins_sid"), "logins", ["sid"], unique=False)
    op.create_index(op.f("ix_logins_subject"), "logins", ["subject"], unique=False)
    op.create_table(
        "logouts",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("sid", sa.String(), nullable=True),
        sa.Column("issued_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti"),
    )
    op.create_index(op.f("ix_logouts_expires_at"), "logouts", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_logouts_expires_at"), table_name="logouts")
    op.drop_table("logouts")
    op.drop_index(op.f("ix_logins_subject"), table_name="logins")
    op.drop_index(op.f("ix_logins_sid"), table_name="logins")
    for table in ("administrators", "logins"):
        op.drop_column(table, "issued_at")
        op.drop_column(table, "sid")
