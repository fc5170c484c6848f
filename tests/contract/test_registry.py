"""The registry of customers behaves the same in a SQLite file and in a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest
from postgres import Postgres, postgres
from sqlalchemy import text

from hagw.errors import Refused, RegistryUnavailable
from hagw.registry.customers import Registry, Wanted
from hagw.registry.database import HEAD, Database, database_url, migrate
from hagw.registry.usage import Batch, Spool, Used

T = TypeVar("T")
SECRET, DEVICE, DAY_S = b"0123456789", bytes(range(32)), 86_400.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


class Place:
    """A database to open registries in, and the clock they go by."""

    def __init__(self, url: str, state_dir: Path) -> None:
        self.url = database_url(url, state_dir)
        self.now = 1_000_000.0

    def ask(self, question: Callable[[Registry], Awaitable[T]]) -> T:
        async def run() -> T:
            registry = Registry(Database(self.url), lambda: self.now)
            try:
                return await question(registry)
            finally:
                await registry.close()

        return asyncio.run(run())

    def sql(self, *statements: str) -> list[Any]:
        """Run statements as they are; return the rows of the last."""

        async def run(registry: Registry) -> list[Any]:
            engine = registry.database._engine
            async with engine.begin() as connection:
                for statement in statements[:-1]:
                    await connection.execute(text(statement))
                result = await connection.execute(text(statements[-1]))
                return list(result) if result.returns_rows else []

        return self.ask(run)

    def migrate(self, to: str) -> None:
        async def run(registry: Registry) -> None:
            async with registry.database._engine.begin() as connection:
                await connection.run_sync(migrate, to)

        self.ask(run)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place("", tmp_path)
    return emptied(request.getfixturevalue("server"), tmp_path)


def emptied(server: Postgres, tmp_path: Path) -> Place:
    """Return the server's database without what the test before left in it, whichever that was."""
    found = Place(server.url(), tmp_path)
    found.sql("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return found


def add(place: Place, name: str = "home", secret: bytes = SECRET, **wanted: Any) -> None:
    place.ask(lambda r: r.add(name, Wanted(**wanted), "olga", secret=secret, valid_s=DAY_S))


def names(place: Place) -> list[str]:
    return [customer.name for customer in place.ask(lambda r: r.roll()).customers]


def test_a_code_enrols_once(place: Place) -> None:
    add(place)
    assert names(place) == []
    enrolled = place.ask(lambda r: r.redeem(SECRET, DEVICE))
    roll = place.ask(lambda r: r.roll())
    assert [(c.name, c.key) for c in roll.customers] == [("home", enrolled.key)]
    assert roll.device_keys == {"home": DEVICE}
    with pytest.raises(Refused, match="unknown, used or expired"):
        place.ask(lambda r: r.redeem(SECRET, DEVICE))


def test_of_two_who_show_a_code_together_one_is_enrolled(place: Place) -> None:
    add(place)

    async def both(registry: Registry) -> list[Any]:
        return await asyncio.gather(*(registry.redeem(SECRET, DEVICE) for _ in range(2)), return_exceptions=True)

    outcomes = place.ask(both)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Enrolled", "Refused"]


def test_an_expired_or_replaced_code_is_worth_nothing(place: Place) -> None:
    add(place)
    place.now += DAY_S
    with pytest.raises(Refused):
        place.ask(lambda r: r.redeem(SECRET, DEVICE))
    place.ask(lambda r: r.invite("home", "olga", secret=b"a" * 10, valid_s=DAY_S))
    place.ask(lambda r: r.invite("home", "olga", secret=b"b" * 10, valid_s=DAY_S))
    with pytest.raises(Refused):
        place.ask(lambda r: r.redeem(b"a" * 10, DEVICE))
    assert place.ask(lambda r: r.redeem(b"b" * 10, DEVICE)).name == "home"


def test_a_revoked_customer_is_gone_with_its_key_and_codes(place: Place) -> None:
    add(place)
    key = place.ask(lambda r: r.redeem(SECRET, DEVICE)).key
    place.ask(lambda r: r.invite("home", "olga", secret=b"a" * 10, valid_s=DAY_S))
    before = place.ask(lambda r: r.revision())
    place.ask(lambda r: r.revoke("home", "olga"))
    assert names(place) == []
    assert place.ask(lambda r: r.revision()) > before
    assert key.hex() not in str(place.sql("SELECT * FROM customers"))
    with pytest.raises(Refused):
        place.ask(lambda r: r.redeem(b"a" * 10, DEVICE))


def test_a_rotated_key_replaces_the_old_one_when_the_cpe_has_it(place: Place) -> None:
    add(place)
    first = place.ask(lambda r: r.redeem(SECRET, DEVICE)).key
    place.ask(lambda r: r.rotate("home", "olga"))
    (during,) = place.ask(lambda r: r.roll()).customers
    assert during.old_key == first != during.key
    with pytest.raises(Refused, match="not taken over"):
        place.ask(lambda r: r.rotate("home", "olga"))
    place.ask(lambda r: r.taken_over("home", first))  # of no effect: that is the old one
    place.ask(lambda r: r.taken_over("home", during.key))
    (after,) = place.ask(lambda r: r.roll()).customers
    assert after == replace(during, old_key=None)


def test_a_customer_is_changed_and_limits_are_taken_away(place: Place) -> None:
    add(place, sources=(ip_network("192.0.2.0/24"),), limits={"month_bytes": 10**15, "connects_per_s": 2.5})
    place.ask(
        lambda r: r.change("home", Wanted(deny=(ip_network("2001:db8::/32"),), limits={"connects_per_s": None}), "o")
    )
    found = place.ask(lambda r: r.get("home"))
    assert (found.sources, found.deny) == ((ip_network("192.0.2.0/24"),), (ip_network("2001:db8::/32"),))
    assert (found.limits.month_bytes, found.limits.connects_per_s) == (10**15, None)


def test_names_are_unique_and_must_exist(place: Place) -> None:
    add(place)
    with pytest.raises(Refused, match="already"):
        add(place, secret=b"a" * 10)
    with pytest.raises(Refused, match="no customer office"):
        place.ask(lambda r: r.revoke("office", "olga"))


def test_every_change_leaves_its_trace_without_secrets(place: Place) -> None:
    add(place, limits={"pending_max": 3})
    key = place.ask(lambda r: r.redeem(SECRET, DEVICE)).key
    place.ask(lambda r: r.revoke("home", "boris"))
    trail = place.ask(lambda r: r.audit(10))
    assert [(deed.by, deed.action, deed.customer) for deed in trail] == [
        ("olga", "add", "home"),
        ("the CPE", "enrol", "home"),
        ("boris", "revoke", "home"),
    ]
    assert trail[0].detail == "pending_max: 3"
    assert key.hex() not in str(trail)


def test_usage_is_added_up_and_a_reading_that_comes_twice_counts_once(place: Place) -> None:
    one = Batch("a-1", (Used("home", "2026-11-23", "", 10, 1, 1), Used("office", "2026-11-23", "", 5, 5, 0)))
    two = Batch("a-2", (Used("home", "2026-11-23", "", 2**40, 0, 0), Used("home", "2026-12-01", "", 7, 0, 2)))
    told = Batch("b-1", (Used("home", "2026-11-23", "dsl", 9, 9, 0),))
    place.ask(lambda r: r.add_usage([one, two]))
    place.ask(lambda r: r.add_usage([two, one, told]))
    assert place.ask(lambda r: r.month_bytes("2026-11")) == {"home": 11 + 2**40, "office": 10}
    assert place.ask(lambda r: r.month_bytes("2026-12")) == {"home": 7}
    assert place.ask(lambda r: r.usage("2026-11-23", "home")) == (
        Used("home", "2026-11-23", "", 10 + 2**40, 1, 1),
        Used("home", "2026-11-23", "dsl", 9, 9, 0),
        Used("home", "2026-12-01", "", 7, 0, 2),
    )


def test_usage_waits_on_the_disk_while_the_database_is_away(server: Postgres, tmp_path: Path) -> None:
    place = emptied(server, tmp_path)
    spool = Spool(tmp_path / "usage", lambda path, words: path.write_text(words) and None)

    async def run(registry: Registry) -> None:
        await registry.revision()
        await asyncio.to_thread(server.stop)
        for number in range(5):
            spool.put(Batch(f"a-{number}", (Used("home", "2026-11-23", "", 1, 0, 0),)))
            with pytest.raises(RegistryUnavailable):
                await spool.flush(registry)
        (tmp_path / "usage" / "damaged.json").write_text("{")
        await asyncio.to_thread(server.start)
        while await spool.flush(registry):
            pass
        assert await registry.month_bytes("2026-11") == {"home": 5}
        assert not spool.waiting()

    place.ask(run)


def test_an_older_schema_is_brought_up_to_date_with_all_it_holds(place: Place) -> None:
    place.migrate("0001")
    place.sql(
        "INSERT INTO customers (name, state, key, sources, allow, deny, created_at, note) "
        f"VALUES ('old', 'active', '{'ab' * 32}', '[]', '[]', '[]', 1, 'kept')"
    )
    assert names(place) == ["old"]
    assert place.sql("SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert place.sql("SELECT count(*) FROM usage") == [(0,)]


def test_a_migration_that_fails_leaves_everything_as_it_was_and_is_made_later(place: Place) -> None:
    place.migrate("0001")
    place.sql(
        "INSERT INTO customers (name, state, key, sources, allow, deny, created_at, note) "
        f"VALUES ('old', 'active', '{'ab' * 32}', '[]', '[]', '[]', 1, 'kept')"
    )
    place.sql("CREATE TABLE usage_batches (stranger INTEGER)")  # the last of what 0002 makes
    with pytest.raises(RegistryUnavailable, match="usage_batches"):
        place.ask(lambda r: r.roll())
    assert place.sql("SELECT version_num FROM alembic_version") == [("0001",)]
    assert place.sql("SELECT name FROM customers") == [("old",)]
    place.sql("DROP TABLE usage_batches")
    assert names(place) == ["old"]
    assert place.sql("SELECT count(*) FROM usage") == [(0,)]


def test_a_newer_schema_is_refused_and_left_alone(place: Place) -> None:
    add(place)
    place.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused, match="schema is 9999, which this version does not know"):
        place.ask(lambda r: r.roll())
    assert place.sql("SELECT name FROM customers") == [("home",)]


def test_gateways_that_start_together_migrate_once(place: Place) -> None:
    async def run() -> list[int]:
        registries = [Registry(Database(place.url)) for _ in range(3)]
        try:
            return await asyncio.gather(*(registry.revision() for registry in registries))
        finally:
            for registry in registries:
                await registry.close()

    assert asyncio.run(run()) == [1, 1, 1]


def test_a_server_that_is_away_is_said_to_be_and_found_again(server: Postgres, tmp_path: Path) -> None:
    place = emptied(server, tmp_path)

    async def run(registry: Registry) -> None:
        await registry.revision()
        await asyncio.to_thread(server.stop)
        for _ in range(2):
            with pytest.raises(RegistryUnavailable, match="cannot be used"):
                await registry.revision()
        await asyncio.to_thread(server.start)
        await registry.revision()

    place.ask(run)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://host/name", "knows sqlite and postgresql"),
        ("nonsense", "not a URL"),
        ("postgresql+psycopg://host/name", "psycopg is not installed"),
    ],
)
def test_a_wrong_url_is_refused_in_one_sentence(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=sentence):
        Database(database_url(url, tmp_path))


def test_a_password_is_in_no_error(server: Postgres, tmp_path: Path) -> None:
    place = Place(f"postgresql://nobody:sesame@/none?host={server.home}", tmp_path)
    with pytest.raises(RegistryUnavailable) as why:
        place.ask(lambda r: r.revision())
    assert "sesame" not in str(why.value)
