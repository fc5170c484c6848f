"""The desk: lets people in, says who a request is from, and keeps users, sessions and tokens.

One change at a time. What adds rights counts once it is on the disk; what takes them away counts at once, also where
the disk refuses to note it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hagw.access import passwords
from hagw.access.audit import AuditLog, Deed
from hagw.access.book import check_password, user_of, with_role, with_user, without, without_user
from hagw.access.faults import Denied, NotKept, TooMany, Unknown, Unwanted
from hagw.access.model import ALL_SCOPES, RANKS, Book, Login, Role, Scope, Session, Token, User, lesser
from hagw.access.secret import LENGTH_MAX, digest, new_mark, new_secret
from hagw.access.store import AccessDamaged, AccessFile, DiskPort
from hagw.access.throttle import Throttle
from hagw.log import log_of
from hagw.model.web import SESSION_PREFIX, TOKEN_PREFIX

FIRST_USER: Final = "admin"
IDLE_S: Final = 8 * 3600.0
ABSOLUTE_S: Final = 7 * 86_400.0
TOKEN_DAYS_MAX: Final = 3650
USERS_MAX: Final = 64
SESSIONS_MAX: Final = 256
SESSIONS_A_USER_MAX: Final = 16
TOKENS_MAX: Final = 128
WAITING_MAX: Final = 8  # logins whose password is looked at, one after the other
SEEN_EVERY_S: Final = 60.0
CLOCK_SLACK_S: Final = 300.0
DAY_S: Final = 86_400.0

log = log_of("hagw.access")


@dataclass(frozen=True, slots=True)
class Opened:
    """A session just begun; the secret is told once."""

    login: Login
    secret: str


class Desk:
    """Users, sessions and tokens of this machine. `wall` is Unix time, `clock` monotonic."""

    def __init__(
        self,
        directory: Path,
        disk: DiskPort,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.audit_log = AuditLog(directory)
        self._file = AccessFile(directory, disk)
        self._wall, self._clock = wall, clock
        self._book = Book()
        self._by_digest: dict[str, Session | Token] = {}
        self._lock = asyncio.Lock()
        self._hashing = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._throttle = Throttle()
        self._nobodys = ""
        self._noted_s = 0.0

    def begin(self) -> None:
        """Read what was kept; at the very first start make the first user. Takes a moment: not for the loop."""
        self._nobodys = passwords.hashed(passwords.made_up())
        try:
            book = self._file.load()
        except AccessDamaged as why:
            log.error("users cannot be read, access begins anew", reason=str(why))
            self._file.set_aside()
            book = None
        if book is not None:
            self._use(book)
        if not any(user.role == "admin" for user in self._book.users):
            self._make_first_user()

    def _make_first_user(self) -> None:
        password, now = passwords.made_up(), self._wall()
        first = User(FIRST_USER, "admin", passwords.hashed(password), True, now, now)
        others = tuple(user for user in self._book.users if user.name != FIRST_USER)
        try:
            self._file.keep_first_password(FIRST_USER, password)
            self._file.save(replace(self._book, users=(*others, first)))
        except OSError as why:
            log.error("users are not kept", reason=str(why))
        self._use(replace(self._book, users=(*others, first)))
        log.info("first user made", user=FIRST_USER, see="hagw web-password")

    # -- who is it

    def who(self, secret: str, address: str) -> Login | None:
        """Return the login behind a session's or token's secret, None where it is worth nothing (any more)."""
        if len(secret) > LENGTH_MAX:
            return None
        kept = self._by_digest.get(digest(secret))
        if isinstance(kept, Session):
            return self._session_login(kept, address)
        return None if kept is None else self._token_login(kept, address)

    def still(self, login: Login) -> bool:
        """Say whether a login is worth what it was: for answers that last."""
        if login.via == "local":
            return True
        found: list[Login | None] = [
            *(self._session_login(each, login.address) for each in self._book.sessions if each.mark == login.mark),
            *(self._token_login(each, login.address) for each in self._book.tokens if each.mark == login.mark),
        ]
        return bool(found) and found[0] is not None and found[0].role == login.role

    def _session_login(self, session: Session, address: str) -> Login | None:
        now, user = self._wall(), self._book.user(session.user)
        ends = min(session.created_s + ABSOLUTE_S, session.seen_s + IDLE_S)
        if user is None or now > ends or now < session.created_s - CLOCK_SLACK_S:
            return None
        return Login(user.name, user.role, "session", ALL_SCOPES, user.must_change, session.mark, address, ends)

    def _token_login(self, token: Token, address: str) -> Login | None:
        now, user = self._wall(), self._book.user(token.user)
        if user is None or user.must_change or not token.created_s - CLOCK_SLACK_S <= now < token.expires_s:
            return None
        role = lesser(token.role, user.role)
        return Login(user.name, role, "token", token.scopes, False, token.mark, address, token.expires_s)

    async def seen(self, login: Login) -> None:
        """Note that a login is in use; on the disk once a minute at most."""
        now = self._wall()
        sessions = tuple(replace(each, seen_s=now) if each.mark == login.mark else each for each in self._book.sessions)
        tokens = tuple(replace(each, used_s=now) if each.mark == login.mark else each for each in self._book.tokens)
        self._use(replace(self._book, sessions=sessions, tokens=tokens))
        if not self._noted_s <= self._clock() < self._noted_s + SEEN_EVERY_S:
            self._noted_s = self._clock()
            async with self._lock:
                await self._save(self._book)

    # -- sessions

    async def log_in(self, name: str, password: str, address: str, agent: str) -> Opened:
        """Begin a session. Raise Denied or TooMany; who asks cannot tell an unknown name from a wrong password."""
        wait_s = self._throttle.try_s(name, address, self._clock())
        if wait_s > 0:
            raise TooMany(wait_s)
        user = self._book.user(name)
        right = await self._fits(self._nobodys if user is None else user.password_hash, password)
        if user is None or not right:
            raise Denied("User and password do not fit.")
        self._throttle.succeeded(name, address)
        renewed = passwords.hashed if passwords.is_outdated(user.password_hash) else None
        kept_hash = user.password_hash if renewed is None else await asyncio.to_thread(renewed, password)
        async with self._lock:
            now_user = self._book.user(name)
            if now_user is None or now_user.password_hash != user.password_hash:
                raise Denied("User and password do not fit.")  # changed while we looked
            logged_in = replace(now_user, last_login_s=self._wall(), password_hash=kept_hash)
            book = with_user(self._book, logged_in)
            return await self._open(book, logged_in, address, agent)

    async def _open(self, book: Book, user: User, address: str, agent: str) -> Opened:
        """Add a session to a book and keep it. The oldest ones make room."""
        now, secret = self._wall(), new_secret(SESSION_PREFIX)
        session = Session(new_mark(), user.name, digest(secret), now, now, address[:64], agent[:120])
        alive = [each for each in book.sessions if self._session_login(each, "") is not None]
        own = [each for each in alive if each.user == user.name][-SESSIONS_A_USER_MAX + 1 :]
        others = [each for each in alive if each.user != user.name]
        await self._keep(replace(book, sessions=(*others, *own, session)[-SESSIONS_MAX:]))
        login = self._session_login(session, address)
        assert login is not None
        return Opened(login, secret)

    async def log_out(self, mark: str) -> Session:
        """End a session at once. Raise Unknown."""
        session = next((each for each in self._book.sessions if each.mark == mark), None)
        if session is None:
            raise Unknown(f"There is no session {mark}.")
        await self._take_away(lambda book: replace(book, sessions=without(book.sessions, mark)))
        return session

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions that are good for something."""
        return tuple(each for each in self._book.sessions if self._session_login(each, "") is not None)

    async def change_password(self, login: Login, old: str, new: str, agent: str) -> Opened:
        """Give oneself another password: one's sessions end, a fresh one begins. Raise Denied, Unwanted or TooMany."""
        wait_s = self._throttle.try_s(login.user, login.address, self._clock())
        if wait_s > 0:
            raise TooMany(wait_s)
        user = self._user(login.user)
        if not await self._fits(user.password_hash, old):
            raise Denied("The present password is another one.")
        self._throttle.succeeded(login.user, login.address)
        check_password(new, user.name)
        if old == new:
            raise Unwanted("password", "This is the present password.")
        fresh = await asyncio.to_thread(passwords.hashed, new)
        async with self._lock:
            changed = replace(self._user(login.user), password_hash=fresh, must_change=False, changed_s=self._wall())
            book = with_user(self._book, changed)
            book = replace(book, sessions=tuple(each for each in book.sessions if each.user != user.name))
            opened = await self._open(book, changed, login.address, agent)
            if user.name == FIRST_USER:
                await asyncio.to_thread(self._file.forget_first_password)
        return opened

    async def _fits(self, kept: str, password: str) -> bool:
        """Look at one password after the other: memory and processor are the data plane's."""
        if self._waiting >= WAITING_MAX or len(password) > passwords.LENGTH_MAX:
            raise TooMany(1.0) if self._waiting >= WAITING_MAX else Denied("User and password do not fit.")
        self._waiting += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(passwords.fits, kept, password)
        finally:
            self._waiting -= 1

    # -- users

    def users(self) -> tuple[User, ...]:
        """Return everybody."""
        return self._book.users

    async def add_user(self, name: str, role: Role, password: str | None) -> str | None:
        """Add a user; without a password return one made up, which has to be changed. Raise Unwanted."""
        given = self._given(password, name)
        kept = await asyncio.to_thread(passwords.hashed, given)
        async with self._lock:
            if self._book.user(name) is not None:
                raise Unwanted("name", f"There is a user {name} already.")
            if len(self._book.users) >= USERS_MAX:
                raise Unwanted("name", f"There are {USERS_MAX} users already.")
            now = self._wall()
            user = User(name, role, kept, password is None, now, now)
            await self._keep(replace(self._book, users=(*self._book.users, user)))
        return given if password is None else None

    async def set_role(self, name: str, role: Role) -> None:
        """Change a user's role, at once also for open sessions and tokens. Raise Unknown or Unwanted."""
        await self._take_away(lambda book: with_role(book, name, role))

    async def set_password(self, name: str, password: str | None) -> str | None:
        """Give a user another password; without one return one made up. Raise Unknown or Unwanted.

        The user's sessions end.
        """
        self._user(name)
        given = self._given(password, name)
        kept = await asyncio.to_thread(passwords.hashed, given)

        def changed(book: Book) -> Book:
            user = user_of(book, name)
            fresh = replace(user, password_hash=kept, must_change=password is None, changed_s=self._wall())
            sessions = tuple(each for each in book.sessions if each.user != name)
            return replace(with_user(book, fresh), sessions=sessions)

        await self._take_away(changed)
        self._throttle.forgive(name)
        if name == FIRST_USER:
            await asyncio.to_thread(self._file.forget_first_password)
        return given if password is None else None

    async def remove_user(self, name: str) -> None:
        """Remove a user with all sessions and tokens, at once. Raise Unknown or Unwanted."""
        await self._take_away(lambda book: without_user(book, name))

    def _given(self, password: str | None, name: str) -> str:
        if password is None:
            return passwords.made_up()
        check_password(password, name)
        return password

    def _user(self, name: str) -> User:
        return user_of(self._book, name)

    # -- tokens

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens, also those that are over."""
        return self._book.tokens

    async def add_token(
        self, user: str, name: str, role: Role, scopes: tuple[Scope, ...], days: float
    ) -> tuple[Token, str]:
        """Make a token of a user's; return it and its secret, which is told once. Raise Unknown or Unwanted."""
        owner = self._user(user)
        if RANKS[role] > RANKS[owner.role]:
            raise Unwanted("role", f"{user} is {owner.role}: a token cannot be more.")
        secret, now = new_secret(TOKEN_PREFIX), self._wall()
        token = Token(
            new_mark(), name, user, role, tuple(dict.fromkeys(scopes)), digest(secret), now, now + days * DAY_S
        )
        async with self._lock:
            tokens = self._book.tokens
            if any(each.name == name and each.user == user for each in tokens):
                raise Unwanted("name", f"{user} has a token {name} already.")
            if len(tokens) >= TOKENS_MAX:
                raise Unwanted("name", f"There are {TOKENS_MAX} tokens already; remove those that are over.")
            await self._keep(replace(self._book, tokens=(*tokens, token)))
        return token, secret

    async def remove_token(self, mark: str) -> Token:
        """Make a token worth nothing, at once. Raise Unknown."""
        token = next((each for each in self._book.tokens if each.mark == mark), None)
        if token is None:
            raise Unknown(f"There is no token {mark}.")
        await self._take_away(lambda book: replace(book, tokens=without(book.tokens, mark)))
        return token

    # -- audit

    async def note(self, login: Login | None, action: str, detail: str, status: int) -> None:
        """Write down what was asked and what became of it; where the disk refuses, the log says so."""
        who = login or Login("", "viewer", "session")
        deed = Deed(self._wall(), who.user, who.via if login else "", who.address, action, detail, status)
        try:
            async with self._writing:
                await asyncio.to_thread(self.audit_log.append, deed)
        except OSError as why:
            log.error("audit log not written", reason=str(why))

    # -- inside

    def _use(self, book: Book) -> None:
        self._book = book
        self._by_digest = {session.digest: session for session in book.sessions}
        self._by_digest |= {token.digest: token for token in book.tokens}

    async def _keep(self, book: Book) -> None:
        """Have a book with more rights in it count once it is on the disk. Raise NotKept."""
        try:
            await asyncio.to_thread(self._file.save, book)
        except OSError as why:
            raise NotKept(f"The state directory does not take it: {why}.") from why
        self._use(book)

    async def _take_away(self, change: Callable[[Book], Book]) -> None:
        """Have a book with fewer rights in it count now, and then keep it. Raise NotKept."""
        async with self._lock:
            self._use(change(self._book))
            try:
                await asyncio.to_thread(self._file.save, self._book)
            except OSError as why:
                log.error("users are not kept", reason=str(why))
                raise NotKept(f"It counts until the daemon is restarted: the disk refuses it ({why}).") from why

    async def _save(self, book: Book) -> None:
        try:
            await asyncio.to_thread(self._file.save, book)
        except OSError as why:
            log.error("users are not kept", reason=str(why))
