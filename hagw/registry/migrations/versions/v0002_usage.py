"""What customers carried, by day and uplink."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of batches; the unique index makes one that comes twice count once."""
    op.create_table(
        "usage",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("batch", sa.String(64), nullable=False),
        sa.Column("customer", sa.String(32), nullable=False),
        sa.Column("uplink", sa.String(32), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("bytes_down", sa.BigInteger, nullable=False),
        sa.Column("bytes_up", sa.BigInteger, nullable=False),
        sa.Column("flows", sa.BigInteger, nullable=False),
    )
    op.create_index("usage_once", "usage", ["gateway", "batch", "customer", "uplink", "day"], unique=True)
    op.create_index("usage_by_customer", "usage", ["customer", "day"])
