"""Where a session connects from, whether it depends on DNS names, and what these names stand for."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("address", sa.String(), nullable=True))
    op.add_column("sessions", sa.Column("country", sa.String(), nullable=True))
    op.add_column("sessions", sa.Column("by_name", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "names",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("refresh_at", Utc(), nullable=False),
        sa.Column("good_until", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("names")
    for name in ("by_name", "country", "address"):
        op.drop_column("sessions", name)
