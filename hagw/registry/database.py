"""The database behind the registry: which one a URL means, its schema brought up to date, one sentence an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hagw.errors import Refused, RegistryUnavailable

HEAD: Final = "0002"  # the schema this version works with
TIMEOUT_S: Final = 5.0
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_MIGRATION_LOCK: Final = 0x68616777  # of several gateways that start together, one migrates
_FILE_MODE: Final = 0o600


def database_url(text_url: str, state_dir: Path) -> URL:
    """Return what a configured URL means; "" = a SQLite file in the state directory. Raise Refused."""
    if not text_url:
        return URL.create("sqlite+aiosqlite", database=str(state_dir / "customers.db"))
    try:
        url = make_url(text_url)
    except ArgumentError:
        raise Refused("registry.url is not a URL such as postgresql://user:password@host/name.") from None
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.drivername not in {*_DRIVERS.values(), "postgresql+psycopg"}:
        raise Refused(f"registry.url names {url.drivername}; hagw knows sqlite and postgresql.")
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith("/"):
        return url.set(database=str(state_dir / url.database))
    return url


class Database:
    """A database of customers; nothing is opened before it is used."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._is_current = False
        try:
            self._engine = _engine(url)
            self._failures: tuple[type[Exception], ...] = (TimeoutError, OSError, SQLAlchemyError, *_driver_errors(url))
        except ImportError as why:
            raise Refused(
                f"{why.name} is not installed, which {url.drivername} needs: pip install {why.name}."
            ) from why

    @property
    def file(self) -> Path | None:
        """The SQLite file, None where it is a server."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def is_there(self) -> bool:
        """Say whether there is something to open: a server is taken to be there."""
        return self.file is None or self.file.exists()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction on the newest schema. Raise RegistryUnavailable, or Refused for an unknown schema."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._engine.begin() as connection:
                if not self._is_current:
                    await self._migrate(connection)
                yield connection
            self._is_current = True
        except self._failures as why:
            raise RegistryUnavailable(f"The registry {self._name()} cannot be used: {_short(why)}.") from why

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def _migrate(self, connection: AsyncConnection) -> None:
        if self.file is None:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        else:
            self.file.chmod(_FILE_MODE)
        await connection.run_sync(migrate)

    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)


def migrate(connection: Connection, to: str = HEAD) -> None:
    """Bring the schema up to date, within the connection's transaction. Raise Refused where it is newer than we are."""
    present = _version(connection)
    if present == to:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, to)
    except CommandError as why:
        raise Refused(
            f"The registry's schema is {present}, which this version does not know (it knows {HEAD}):"
            " it was made by a newer hagw, and nothing was changed."
        ) from why


def _version(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_size=2, max_overflow=2, pool_pre_ping=True)
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, connect_args={"timeout": TIMEOUT_S})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _driver_errors(url: URL) -> tuple[type[Exception], ...]:
    """Return what a driver raises while it connects, which SQLAlchemy passes on as it is."""
    if url.drivername != "postgresql+asyncpg":
        return ()
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Let us begin transactions ourselves: Python's own way leaves changes of the schema out of them."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _short(why: BaseException) -> str:
    if isinstance(why, DBAPIError) and why.orig is not None:
        why = why.orig
    if isinstance(why, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    lines = str(why).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(why).__name__
