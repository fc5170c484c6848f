"""Customers, their invitations, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "customers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False, unique=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("old_key", sa.String(64)),
        sa.Column("device_key", sa.String(64)),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("allow", sa.JSON, nullable=False),
        sa.Column("deny", sa.JSON, nullable=False),
        sa.Column("connections_max", sa.Integer),
        sa.Column("connects_per_s", sa.Float),
        sa.Column("pending_max", sa.Integer),
        sa.Column("rate_down_bps", sa.BigInteger),
        sa.Column("rate_up_bps", sa.BigInteger),
        sa.Column("month_bytes", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("customer", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    number = op.create_table("revision", sa.Column("number", sa.BigInteger, nullable=False))
    op.bulk_insert(number, [{"number": 1}])
