"""The certificate of the admin page: made, known by its fingerprint, renewed, or the owner's."""

import datetime
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from hagw.web import certificate as module
from hagw.web.certificate import (
    CERTIFICATE_FILE,
    KEY_FILE,
    Certificates,
    CertificateUnusable,
    Pair,
    context_for,
    fingerprint,
)
from hagw.web.settings import Settings

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def pair_of(settings: Settings, state: Path, now: datetime.datetime) -> Pair:
    return Certificates(state).pair(settings, now)


def names(path: Path) -> list[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return [str(each.value) for each in found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def test_it_is_made_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    pair = pair_of(Settings(), tmp_path, NOW)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert pair_of(Settings(), tmp_path, NOW + DAY) == pair
    context_for(pair)
    shown = fingerprint(tmp_path / CERTIFICATE_FILE)
    assert len(shown.split(":")) == 32
    assert {"localhost", "127.0.0.1", "::1"} <= set(names(tmp_path / CERTIFICATE_FILE))


def test_it_is_renewed_a_month_before_it_ends_with_the_same_key(tmp_path: Path) -> None:
    pair = pair_of(Settings(), tmp_path, NOW)
    key = (tmp_path / KEY_FILE).read_bytes()
    assert pair_of(Settings(), tmp_path, NOW + 366 * DAY) == pair
    renewed = pair_of(Settings(), tmp_path, NOW + 368 * DAY)
    assert renewed != pair
    assert (tmp_path / KEY_FILE).read_bytes() == key
    assert pair_of(Settings(), tmp_path, NOW) != renewed  # a clock that was set back: not valid yet


def test_another_name_needs_another_one(tmp_path: Path) -> None:
    pair = pair_of(Settings(), tmp_path, NOW)
    other = pair_of(Settings(names=("hagw.example",), addresses=("10.0.0.5", "0.0.0.0")), tmp_path, NOW)
    assert other != pair
    assert {"hagw.example", "10.0.0.5"} <= set(names(tmp_path / CERTIFICATE_FILE))
    assert "0.0.0.0" not in names(tmp_path / CERTIFICATE_FILE)


def test_the_owners_is_taken_as_it_is(tmp_path: Path) -> None:
    pair_of(Settings(), tmp_path, NOW)
    own = Settings(certificate=str(tmp_path / CERTIFICATE_FILE), key=str(tmp_path / KEY_FILE))
    state = tmp_path / "state"
    context_for(pair_of(own, state, NOW + 9999 * DAY))
    assert not state.exists()
    with pytest.raises(CertificateUnusable, match="cannot be read"):
        pair_of(Settings(certificate="/nowhere/a.pem", key="/nowhere/b.pem"), state, NOW)
    swapped = Settings(certificate=str(tmp_path / KEY_FILE), key=str(tmp_path / CERTIFICATE_FILE))
    with pytest.raises(CertificateUnusable, match="not a certificate"):
        context_for(pair_of(swapped, state, NOW))


def test_a_file_with_words_around_the_certificate_is_taken(tmp_path: Path) -> None:
    pair_of(Settings(), tmp_path, NOW)
    ours = tmp_path / CERTIFICATE_FILE
    shown = fingerprint(ours)
    for encoding in ("utf-8", "latin-1"):
        own = tmp_path / f"{encoding}.pem"
        own.write_bytes("subject=O=Bäckerei Müller\n".encode(encoding) + ours.read_bytes() + "é\n".encode(encoding))
        assert fingerprint(own) == shown
        context_for(pair_of(Settings(certificate=str(own), key=str(tmp_path / KEY_FILE)), tmp_path, NOW))


def test_a_damaged_file_of_ours_is_said(tmp_path: Path) -> None:
    pair_of(Settings(), tmp_path, NOW)
    (tmp_path / CERTIFICATE_FILE).write_text("damaged")
    with pytest.raises(CertificateUnusable):
        pair_of(Settings(), tmp_path, NOW)


def test_what_is_known_of_it_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime.datetime] = []
    issued = module._issued

    def counted(*about: Any) -> tuple[datetime.datetime, datetime.datetime]:
        asked.append(about[-1])
        return issued(*about)

    monkeypatch.setattr(module, "_issued", counted)
    ours = Certificates(tmp_path)
    pair = ours.pair(Settings(), NOW)
    assert ours.pair(Settings(), NOW + 366 * DAY) == pair
    assert asked == [NOW]
    assert ours.pair(Settings(), NOW + 368 * DAY) != pair  # within a month of its end
    pair_of(Settings(names=("hagw.example",)), tmp_path, NOW + 368 * DAY)  # somebody else made another one
    ours.pair(Settings(), NOW + 369 * DAY)
    assert len(asked) == 4
    (tmp_path / CERTIFICATE_FILE).write_text("damaged")
    for _ in range(3):
        with pytest.raises(CertificateUnusable):
            ours.pair(Settings(), NOW + 369 * DAY)
    assert len(asked) == 5  # and not each second in which somebody wants to know
    with pytest.raises(CertificateUnusable):
        ours.pair(Settings(), NOW + 368 * DAY)
    assert len(asked) == 6, "a clock that was set back is no reason to wait for a day"
    (tmp_path / CERTIFICATE_FILE).unlink()
    context_for(ours.pair(Settings(), NOW + 370 * DAY))


def test_the_page_is_served_without_the_library_that_signs() -> None:
    code = "import hagw.web.main, sys; print([m for m in ('cryptography', 'httpx', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "[]\n"
