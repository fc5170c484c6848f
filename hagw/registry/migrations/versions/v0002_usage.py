"""What customers carried, by day and uplink."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the sums, and which readings are in them already."""
    op.create_table(
        "usage",
        sa.Column("customer", sa.String(32), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("uplink", sa.String(32), primary_key=True),
        sa.Column("bytes_down", sa.BigInteger, nullable=False),
        sa.Column("bytes_up", sa.BigInteger, nullable=False),
        sa.Column("flows", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage_batches",
        sa.Column("batch", sa.String(64), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
