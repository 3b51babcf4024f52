"""The stream of security events: for whom its tokens are, how and where they come."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("audience", "delivery", "endpoint"):
        op.add_column("streams", sa.Column(name, sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    for name in ("endpoint", "delivery", "audience"):
        op.drop_column("streams", name)
