"""The registry's tables, as the newest migration leaves them. Times are seconds since 1970, prefixes lists of text."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()

customers: Final = Table(
    "customers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("state", String(8), nullable=False),  # invited, active, revoked
    Column("key", String(64), nullable=False),  # hex; cookies and echoes are made with it
    Column("old_key", String(64)),  # valid too until the CPE says it has the new one
    Column("device_key", String(64)),  # hex; the CPE's public key, Ed25519
    Column("sources", JSON, nullable=False),
    Column("allow", JSON, nullable=False),
    Column("deny", JSON, nullable=False),
    Column("connections_max", Integer),
    Column("connects_per_s", Float),
    Column("pending_max", Integer),
    Column("rate_down_bps", BigInteger),
    Column("rate_up_bps", BigInteger),
    Column("month_bytes", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)

invitations: Final = Table(
    "invitations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", Integer, ForeignKey("customers.id"), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("customer", String(32), nullable=False),
    Column("detail", Text, nullable=False),
)

# One row: grows with every change that gateways must hear of.
revision: Final = Table("revision", metadata, Column("number", BigInteger, nullable=False))

# What a gateway's worker counted between two readings; the first three columns tell a batch that comes twice.
usage: Final = Table(
    "usage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("batch", String(64), nullable=False),
    Column("customer", String(32), nullable=False),
    Column("uplink", String(32), nullable=False),  # "" = as the gateway counted it, all lines together
    Column("day", String(10), nullable=False),  # UTC, 2026-11-23
    Column("bytes_down", BigInteger, nullable=False),
    Column("bytes_up", BigInteger, nullable=False),
    Column("flows", BigInteger, nullable=False),
    Index("usage_once", "gateway", "batch", "customer", "uplink", "day", unique=True),
    Index("usage_by_customer", "customer", "day"),
)
