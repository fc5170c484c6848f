"""The registry's tables, as the newest migration leaves them. Times are seconds since 1970, prefixes lists of text."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

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

# What customers carried, by day (UTC, 2026-11-23); uplink "" = as gateways counted it, all lines together.
usage: Final = Table(
    "usage",
    metadata,
    Column("customer", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("uplink", String(32), primary_key=True),
    Column("bytes_down", BigInteger, nullable=False),
    Column("bytes_up", BigInteger, nullable=False),
    Column("flows", BigInteger, nullable=False),
)

# Which readings are in it already: one that comes twice counts once.
usage_batches: Final = Table(
    "usage_batches",
    metadata,
    Column("batch", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
