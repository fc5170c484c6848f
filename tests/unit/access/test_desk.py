"""Users, sessions and tokens: who is let in, for how long, and what takes it away."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hagw.access import desk as desk_module
from hagw.access.faults import Denied, NotKept, TooMany, Unknown, Unwanted
from hagw.access.store import first_password
from tests.unit.access.desk_rig import PASSWORD, Rig

HOME = "192.168.77.11"


def play(tmp_path: Path, story: Callable[[Rig], Awaitable[None]]) -> None:
    async def scenario() -> None:
        await story(Rig(tmp_path))

    asyncio.run(scenario())


def test_the_first_start_leaves_a_password_that_only_root_reads_until_it_is_changed(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        assert stat.S_IMODE((tmp_path / "web-password").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "access.json").stat().st_mode) == 0o600
        password = rig.first_password()
        assert first_password(tmp_path) == ("admin", password)
        rig.desk = rig.restarted()  # starting again makes no other one
        opened = await rig.desk.log_in("admin", password, HOME, "")
        assert (opened.login.role, opened.login.must_change) == ("admin", True)
        changed = await rig.desk.change_password(opened.login, password, PASSWORD, "")
        assert not changed.login.must_change
        assert first_password(tmp_path) is None
        with pytest.raises(Denied):
            await rig.desk.log_in("admin", password, HOME, "")

    play(tmp_path, story)


def test_no_password_and_no_secret_is_on_the_disk(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "operator", PASSWORD)
        opened = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        _, secret = await rig.desk.add_token("eva", "backup", "viewer", ("read",), 30)
        text = "".join(path.read_text() for path in tmp_path.iterdir() if path.name != "web-password")
        for hidden in (PASSWORD, opened.secret, secret):
            assert hidden not in text
        assert "$argon2id$" in text

    play(tmp_path, story)


def test_a_session_survives_a_restart_and_ends_by_itself(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "viewer", PASSWORD)
        opened = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        desk = rig.desk = rig.restarted()
        for _ in range(int(desk_module.ABSOLUTE_S // desk_module.IDLE_S)):
            rig.passes(desk_module.IDLE_S - 1)
            login = desk.who(opened.secret, HOME)
            assert login is not None
            await desk.seen(login)
        rig.passes(desk_module.IDLE_S - 1)
        assert desk.who(opened.secret, HOME) is None  # in use, but a week old
        again = await desk.log_in("eva", PASSWORD, HOME, "")
        rig.passes(desk_module.IDLE_S + 1)
        assert desk.who(again.secret, HOME) is None
        assert desk.sessions() == ()

    play(tmp_path, story)


def test_every_login_begins_a_session_of_its_own(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "viewer", PASSWORD)
        first = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        second = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        assert first.secret != second.secret
        for number in range(desk_module.SESSIONS_A_USER_MAX):
            await rig.desk.log_in("eva", PASSWORD, HOME, str(number))
        assert len(rig.desk.sessions()) == desk_module.SESSIONS_A_USER_MAX
        assert rig.desk.who(first.secret, HOME) is None

    play(tmp_path, story)


def test_what_takes_rights_away_counts_at_once(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        desk = rig.desk
        await desk.add_user("eva", "admin", PASSWORD)
        opened = await desk.log_in("eva", PASSWORD, HOME, "")
        token, secret = await desk.add_token("eva", "script", "admin", ("read", "change"), 30)
        assert desk.still(opened.login)
        await desk.set_role("eva", "viewer")
        session, by_token = desk.who(opened.secret, HOME), desk.who(secret, HOME)
        assert session is not None
        assert by_token is not None
        assert (session.role, by_token.role, desk.still(opened.login)) == ("viewer", "viewer", False)
        await desk.remove_token(token.mark)
        assert desk.who(secret, HOME) is None
        await desk.log_out(session.mark)
        assert (desk.who(opened.secret, HOME), desk.still(session)) == (None, False)
        again = await desk.log_in("eva", PASSWORD, HOME, "")
        given = await desk.set_password("eva", None)
        assert given is not None
        assert desk.who(again.secret, HOME) is None
        last = await desk.log_in("eva", given, HOME, "")
        assert last.login.must_change
        await desk.remove_user("eva")
        assert desk.who(last.secret, HOME) is None
        assert rig.restarted().who(last.secret, HOME) is None

    play(tmp_path, story)


def test_a_full_disk_adds_no_rights_and_cannot_keep_any(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "viewer", PASSWORD)
        opened = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        rig.disk.full = True
        with pytest.raises(NotKept):
            await rig.desk.add_user("mallory", "admin", PASSWORD)
        assert [user.name for user in rig.desk.users()] == ["admin", "eva"]
        with pytest.raises(NotKept):
            await rig.desk.log_out(opened.login.mark)
        assert rig.desk.who(opened.secret, HOME) is None

    play(tmp_path, story)


def test_a_damaged_file_lets_nobody_in_but_who_reads_the_machines_disk(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "viewer", PASSWORD)
        before = rig.first_password()
        (tmp_path / "access.json").write_text('{"schema": 1, "users": [')
        rig.desk = rig.restarted()
        assert (tmp_path / "access.json.damaged").exists()
        with pytest.raises(Denied):
            await rig.desk.log_in("eva", PASSWORD, HOME, "")
        assert rig.first_password() != before
        assert (await rig.desk.log_in("admin", rig.first_password(), HOME, "")).login.must_change

    play(tmp_path, story)


def test_guessing_is_slowed_down_but_locks_nobody_out_where_they_have_been(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        desk = rig.desk
        await desk.add_user("eva", "viewer", PASSWORD)
        await desk.log_in("eva", PASSWORD, HOME, "")
        guessed = 0
        for number in range(300):
            try:
                await desk.log_in("eva", f"guess {number}", f"203.0.113.{number % 30}", "")
            except Denied:
                guessed += 1
            except TooMany:
                continue
        assert guessed == 20
        with pytest.raises(TooMany):  # right, but from where eva never came from
            await desk.log_in("eva", PASSWORD, "203.0.113.99", "")
        assert (await desk.log_in("eva", PASSWORD, HOME, "")).login.user == "eva"
        await desk.set_password("eva", "another horse battery")
        assert (await desk.log_in("eva", "another horse battery", "203.0.113.99", "")).login.user == "eva"

    play(tmp_path, story)


def test_many_guesses_at_once_are_many_guesses(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        tries = [rig.desk.log_in("admin", f"guess {number}", HOME, "") for number in range(40)]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, Denied) for each in found) <= 10
        assert all(isinstance(each, (Denied, TooMany)) for each in found)

    play(tmp_path, story)


def test_the_last_admin_stays_also_when_two_ask_at_once(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "admin", PASSWORD)
        done = await asyncio.gather(
            rig.desk.remove_user("eva"), rig.desk.set_role("admin", "viewer"), return_exceptions=True
        )
        assert [type(each) for each in done] == [type(None), Unwanted]
        with pytest.raises(Unknown):
            await rig.desk.remove_user("nobody")

    play(tmp_path, story)


def test_a_token_is_worth_no_more_than_its_user_and_ends(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.desk.add_user("eva", "operator", PASSWORD)
        with pytest.raises(Unwanted, match="cannot be more"):
            await rig.desk.add_token("eva", "script", "admin", ("read",), 1)
        _, secret = await rig.desk.add_token("eva", "script", "viewer", ("metrics",), 1)
        login = rig.desk.who(secret, HOME)
        assert login is not None
        assert (login.role, login.scopes, login.via) == ("viewer", ("metrics",), "token")
        rig.passes(86_399)
        assert rig.desk.who(secret, HOME) is not None
        rig.passes(2)
        assert rig.desk.who(secret, HOME) is None
        rig.passes(-400_000)  # the clock was set back before the token was made: nothing can be said of its age
        assert rig.desk.who(secret, HOME) is None

    play(tmp_path, story)


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaa", "evaevaevaevaeva-1234", "x" * 300], ids=["short", "same", "name", "long"]
)
def test_poor_passwords_are_refused(tmp_path: Path, password: str) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(Unwanted):
            await rig.desk.add_user("eva", "viewer", password)

    play(tmp_path, story)


def test_the_audit_log_is_bounded_and_survives_a_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hagw.access.audit.SIZE_MAX_BYTES", 4000)

    async def story(rig: Rig) -> None:
        for number in range(60):
            await rig.desk.note(None, "session.begin", f"user {number}\n", 401)
        files = sorted(tmp_path.glob("audit.log*"))
        assert len(files) == 2
        assert sum(file.stat().st_size for file in files) < 9000
        with (tmp_path / "audit.log").open("a") as file:
            file.write('{"at_unix_s": 1, "us')
        await rig.desk.note(None, "last", "", 200)
        newest = rig.desk.audit_log.newest(3)
        assert [deed.action for deed in newest] == ["last", "session.begin", "session.begin"]
        assert json.loads((tmp_path / "audit.log.1").read_text().splitlines()[0])["detail"].endswith("\n")

    play(tmp_path, story)
