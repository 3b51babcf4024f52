"""What others, an MDM say, tell about devices."""

import sqlalchemy as sa
from alembic import op

from gateway.store.utc import Utc

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "testimonies",
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("witness", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("fresh_until", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device", "witness"),
    )


def downgrade() -> None:
    op.drop_table("testimonies")
