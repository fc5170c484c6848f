"""Who is at the other end of the command line."""

import pytest

from hagw.cli import session


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("203.0.113.9 50000 192.0.2.2 22", {"client": "203.0.113.9", "server": "192.0.2.2", "port": 22}),
        ("fe80::1%eth0 50000 fe80::2%eth0 2222", {"client": "fe80::1", "server": "fe80::2", "port": 2222}),
        ("", None),
        ("UNKNOWN 1 UNKNOWN 2", None),
        ("203.0.113.9 50000 192.0.2.2", None),
        ("203.0.113.9 50000 192.0.2.2 ssh", None),
    ],
)
def test_the_session_is_what_ssh_says(text: str, found: dict[str, str | int] | None) -> None:
    assert session.parse(text) == found


def test_the_console_has_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session.VARIABLE, "203.0.113.9 50000 192.0.2.2 22")
    assert session.caller() == {"client": "203.0.113.9", "server": "192.0.2.2", "port": 22}
