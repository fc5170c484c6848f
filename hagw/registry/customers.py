"""The registry of customers: every change is one transaction, with its audit record and a new revision."""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hagw.errors import Refused
from hagw.model.intent import CustomerIntent, CustomerLimits, IPNetwork
from hagw.registry import tables
from hagw.registry.database import Database, database_url
from hagw.registry.roll import Roll
from hagw.registry.usage import Batch, Used

KEY_SIZE: Final = 32
BATCHES_KEPT_S: Final = 90 * 86_400  # a gateway that was away for longer has its last reading counted twice
LIMITS: Final = tuple(field.name for field in fields(CustomerLimits))


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as operators see it; no keys. `state` is invited, active or revoked."""

    name: str
    state: str
    sources: tuple[IPNetwork, ...]
    allow: tuple[IPNetwork, ...]
    deny: tuple[IPNetwork, ...]
    limits: CustomerLimits
    rotating: bool
    enrolled: bool
    created_at: int
    note: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator says of a customer; None = as it is."""

    sources: tuple[IPNetwork, ...] | None = None
    allow: tuple[IPNetwork, ...] | None = None
    deny: tuple[IPNetwork, ...] | None = None
    limits: Mapping[str, float | None] | None = None  # by the fields of CustomerLimits
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who redeemed a code, and the key it was given."""

    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Deed:
    """An entry of the audit trail."""

    at: int
    by: str
    action: str
    customer: str
    detail: str


class Registry:
    """Customers in a database. Methods raise RegistryUnavailable, or Refused with the reason."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    def at(cls, url: str, state_dir: Path) -> "Registry":
        """Return the registry of a configured URL."""
        return cls(Database(database_url(url, state_dir)))

    @property
    def database(self) -> Database:
        """Where it is kept."""
        return self._database

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    async def revision(self) -> int:
        """Return a number that grows with every change."""
        async with self._database.begin() as connection:
            return await _revision(connection)

    async def roll(self) -> Roll:
        """Return who may use a gateway now."""
        async with self._database.begin() as connection:
            revision = await _revision(connection)
            rows = await connection.execute(
                select(tables.customers).where(tables.customers.c.state == "active").order_by(tables.customers.c.id)
            )
            found = list(rows.mappings())
        devices = {row["name"]: bytes.fromhex(row["device_key"]) for row in found if row["device_key"]}
        return Roll(revision, tuple(_intent(row) for row in found), devices)

    async def everyone(self) -> tuple[Customer, ...]:
        """Return all customers, by name."""
        async with self._database.begin() as connection:
            rows = await connection.execute(select(tables.customers).order_by(tables.customers.c.name))
            return tuple(_customer(row) for row in rows.mappings())

    async def get(self, name: str) -> Customer:
        """Return a customer. Raise Refused where there is none."""
        async with self._database.begin() as connection:
            return _customer(await _row(connection, name))

    async def add(self, name: str, wanted: Wanted, by: str, *, secret: bytes, valid_s: float) -> None:
        """Add a customer, who is active once its CPE has shown `secret` within `valid_s`."""
        async with self._database.begin() as connection:
            number = await self._insert(connection, name, wanted, "invited", secrets.token_bytes(KEY_SIZE))
            await self._invite(connection, number, secret, valid_s)
            await self._note(connection, by, "add", name, _words(wanted))

    async def add_with_key(self, name: str, wanted: Wanted, by: str) -> bytes:
        """Add a customer who is active at once; return the key to write into its CPE's configuration."""
        key = secrets.token_bytes(KEY_SIZE)
        async with self._database.begin() as connection:
            await self._insert(connection, name, wanted, "active", key)
            await self._note(connection, by, "add", name, _words(wanted))
        return key

    async def invite(self, name: str, by: str, *, secret: bytes, valid_s: float) -> None:
        """Have a new code enrol a customer's CPE; codes before are void, what is enrolled works until then."""
        async with self._database.begin() as connection:
            row = await _row(connection, name)
            now = int(self._clock())
            await connection.execute(
                update(tables.invitations)
                .where(tables.invitations.c.customer_id == row["id"], tables.invitations.c.used_at.is_(None))
                .values(expires_at=now)
            )
            await self._invite(connection, row["id"], secret, valid_s)
            await self._note(connection, by, "invite", name, "")

    async def redeem(self, secret: bytes, device_key: bytes) -> Enrolled:
        """Enrol the CPE that shows a code's secret: once, and in time. Raise Refused."""
        now = int(self._clock())
        invitations, customers = tables.invitations, tables.customers
        async with self._database.begin() as connection:
            taken = await connection.execute(
                update(invitations)
                .where(
                    invitations.c.secret_hash == secret_hash(secret),
                    invitations.c.used_at.is_(None),
                    invitations.c.expires_at > now,
                )
                .values(used_at=now)
                .returning(invitations.c.customer_id)
            )
            number = taken.scalar()
            if number is None:
                raise Refused("This enrolment code is unknown, used or expired.")
            key = secrets.token_bytes(KEY_SIZE)
            rows = await connection.execute(
                update(customers)
                .where(customers.c.id == number)
                .values(state="active", key=key.hex(), old_key=None, device_key=device_key.hex())
                .returning(customers.c.name)
            )
            name = str(rows.scalar_one())
            await self._note(connection, "the CPE", "enrol", name, "")
        return Enrolled(name, key)

    async def change(self, name: str, wanted: Wanted, by: str) -> None:
        """Change what an operator says of a customer."""
        async with self._database.begin() as connection:
            await _row(connection, name)
            values = _values(wanted)
            if values:
                await connection.execute(
                    update(tables.customers).where(tables.customers.c.name == name).values(**values)
                )
            await self._note(connection, by, "set", name, _words(wanted))

    async def revoke(self, name: str, by: str) -> None:
        """Let a customer use no gateway any more, nor its codes; its key is destroyed."""
        async with self._database.begin() as connection:
            row = await _row(connection, name)
            await connection.execute(
                update(tables.customers)
                .where(tables.customers.c.id == row["id"])
                .values(state="revoked", key=secrets.token_hex(KEY_SIZE), old_key=None, device_key=None)
            )
            await connection.execute(
                update(tables.invitations)
                .where(tables.invitations.c.customer_id == row["id"], tables.invitations.c.used_at.is_(None))
                .values(expires_at=int(self._clock()))
            )
            await self._note(connection, by, "revoke", name, "")

    async def rotate(self, name: str, by: str) -> None:
        """Give a customer a new key; the old one is valid too until its CPE has the new one."""
        async with self._database.begin() as connection:
            row = await _row(connection, name)
            if row["state"] != "active":
                raise Refused(f"Customer {name} is {row['state']}: there is no key to replace.")
            if not row["device_key"]:
                raise Refused(
                    f"The CPE of {name} was not enrolled and cannot be told a new key: `hagw customer invite`."
                )
            if row["old_key"]:
                raise Refused(f"The CPE of {name} has not taken over its newest key yet.")
            await connection.execute(
                update(tables.customers)
                .where(tables.customers.c.id == row["id"])
                .values(key=secrets.token_hex(KEY_SIZE), old_key=row["key"])
            )
            await self._note(connection, by, "rotate", name, "")

    async def taken_over(self, name: str, key: bytes) -> None:
        """The CPE says that it has this key: the one before is void from now on."""
        customers = tables.customers
        async with self._database.begin() as connection:
            done = await connection.execute(
                update(customers)
                .where(customers.c.name == name, customers.c.key == key.hex(), customers.c.old_key.is_not(None))
                .values(old_key=None)
            )
            if done.rowcount:
                await self._note(connection, "the CPE", "rotated", name, "")

    async def audit(self, newest: int) -> tuple[Deed, ...]:
        """Return the newest entries of the audit trail, oldest first."""
        async with self._database.begin() as connection:
            rows = await connection.execute(select(tables.audit).order_by(tables.audit.c.id.desc()).limit(newest))
            found = [Deed(r["at"], r["by"], r["action"], r["customer"], r["detail"]) for r in rows.mappings()]
        return tuple(reversed(found))

    async def add_usage(self, batches: Sequence[Batch]) -> None:
        """Add readings to the sums of their days; those that are in them already are left out."""
        now = int(self._clock())
        async with self._database.begin() as connection:
            upsert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
            sums: dict[tuple[str, str, str], list[int]] = {}
            for batch in batches:
                noted = await connection.execute(
                    upsert(tables.usage_batches).values(batch=batch.name, at=now).on_conflict_do_nothing()
                )
                for used in batch.used if noted.rowcount else ():
                    known = sums.setdefault((used.customer, used.day, used.uplink), [0, 0, 0])
                    for at, count in enumerate((used.bytes_down, used.bytes_up, used.flows)):
                        known[at] += count
            columns = tables.usage.c
            for (customer, day, uplink), (down, up, flows) in sorted(sums.items()):
                adding = upsert(tables.usage).values(
                    customer=customer, day=day, uplink=uplink, bytes_down=down, bytes_up=up, flows=flows
                )
                more = {
                    "bytes_down": columns.bytes_down + down,
                    "bytes_up": columns.bytes_up + up,
                    "flows": columns.flows + flows,
                }
                key = [columns.customer, columns.day, columns.uplink]
                await connection.execute(adding.on_conflict_do_update(index_elements=key, set_=more))
            old = tables.usage_batches.c.at < now - BATCHES_KEPT_S
            await connection.execute(delete(tables.usage_batches).where(old))

    async def usage(self, since_day: str, customer: str | None = None) -> tuple[Used, ...]:
        """Return what was carried from a day on (UTC), by customer, day and uplink."""
        columns = tables.usage.c
        question = select(tables.usage).where(columns.day >= since_day)
        if customer is not None:
            question = question.where(columns.customer == customer)
        async with self._database.begin() as connection:
            rows = await connection.execute(question.order_by(columns.customer, columns.day, columns.uplink))
            return tuple(Used(**row) for row in rows.mappings())

    async def month_bytes(self, month: str) -> dict[str, int]:
        """Return the bytes of a month (2026-11) by customer, as the gateways counted them."""
        columns = tables.usage.c
        both = func.sum(columns.bytes_down + columns.bytes_up)
        question = select(columns.customer, both).where(columns.uplink == "", columns.day.startswith(month))
        async with self._database.begin() as connection:
            rows = await connection.execute(question.group_by(columns.customer))
            return {name: int(count) for name, count in rows}

    async def _insert(self, connection: AsyncConnection, name: str, wanted: Wanted, state: str, key: bytes) -> int:
        values: dict[str, Any] = {"sources": [], "allow": [], "deny": [], "note": ""} | _values(wanted)
        values |= {"name": name, "state": state, "key": key.hex(), "created_at": int(self._clock())}
        try:
            made = await connection.execute(insert(tables.customers).values(**values).returning(tables.customers.c.id))
        except IntegrityError:
            raise Refused(f"There is a customer {name} already.") from None
        return int(made.scalar_one())

    async def _invite(self, connection: AsyncConnection, customer: int, secret: bytes, valid_s: float) -> None:
        expires_at = int(self._clock() + valid_s)
        await connection.execute(
            insert(tables.invitations).values(
                customer_id=customer, secret_hash=secret_hash(secret), expires_at=expires_at
            )
        )

    async def _note(self, connection: AsyncConnection, by: str, action: str, customer: str, detail: str) -> None:
        await connection.execute(
            insert(tables.audit).values(
                at=int(self._clock()), by=by[:64], action=action, customer=customer, detail=detail
            )
        )
        await connection.execute(update(tables.revision).values(number=tables.revision.c.number + 1))


def secret_hash(secret: bytes) -> str:
    """Return what is kept of a code's secret, which is random enough that nothing slower than SHA-256 is needed."""
    return hashlib.sha256(b"hagw enrolment secret\0" + secret).hexdigest()


async def _revision(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(tables.revision.c.number))).scalar_one())


async def _row(connection: AsyncConnection, name: str) -> RowMapping:
    rows = await connection.execute(select(tables.customers).where(tables.customers.c.name == name))
    found = rows.mappings().first()
    if found is None:
        raise Refused(f"There is no customer {name}.")
    return found


def _customer(row: RowMapping) -> Customer:
    return Customer(
        name=row["name"],
        state=row["state"],
        sources=_prefixes(row["sources"]),
        allow=_prefixes(row["allow"]),
        deny=_prefixes(row["deny"]),
        limits=_limits(row),
        rotating=row["old_key"] is not None,
        enrolled=row["device_key"] is not None,
        created_at=row["created_at"],
        note=row["note"],
    )


def _intent(row: RowMapping) -> CustomerIntent:
    return CustomerIntent(
        name=row["name"],
        key=bytes.fromhex(row["key"]),
        sources=_prefixes(row["sources"]),
        old_key=bytes.fromhex(row["old_key"]) if row["old_key"] else None,
        allow=_prefixes(row["allow"]),
        deny=_prefixes(row["deny"]),
        limits=_limits(row),
    )


def _limits(row: RowMapping) -> CustomerLimits:
    return CustomerLimits(**{name: row[name] for name in LIMITS})


def _prefixes(texts: list[str]) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


def _values(wanted: Wanted) -> dict[str, Any]:
    """Return the columns that an operator said something of."""
    named = {"sources": wanted.sources, "allow": wanted.allow, "deny": wanted.deny}
    values: dict[str, Any] = {
        key: [str(p) for p in prefixes] for key, prefixes in named.items() if prefixes is not None
    }
    if wanted.note is not None:
        values["note"] = wanted.note
    return values | dict(wanted.limits or {})


def _words(wanted: Wanted) -> str:
    """Return the same as text, for the audit trail."""
    values = {key: value for key, value in asdict(wanted).items() if value is not None and key != "limits"}
    values |= dict(wanted.limits or {})
    shown = {key: ", ".join(map(str, v)) if isinstance(v, tuple) else v for key, v in values.items()}
    return "; ".join(f"{key}: {'none' if value in (None, '') else value}" for key, value in shown.items())
