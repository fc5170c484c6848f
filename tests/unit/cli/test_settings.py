"""`hagw set` and `hagw get`: the owner's file stays the owner's."""

import os
from pathlib import Path

import pytest

from hagw.cli.app import run
from hagw.config.file import replace_file
from hagw.errors import Refused

EXAMPLE = (Path(__file__).parents[3] / "config" / "cpe.yaml").read_text()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hagw.yaml").write_text(EXAMPLE)
    monkeypatch.setenv("HAGW_CONFIG", str(tmp_path / "hagw.yaml"))
    return tmp_path / "hagw.yaml"


def test_one_value_is_changed_and_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["set", "uplinks.lte.cost", "20"]) == 0
    assert capsys.readouterr().out == "-     cost: 10\n+     cost: 20\n"
    assert file.read_text() == EXAMPLE.replace("cost: 10\n", "cost: 20\n")
    assert run(["get", "uplinks.lte.cost"]) == 0
    assert capsys.readouterr().out == "20\n"
    assert run(["get", "rules.voice-not-on-lte.steering"]) == 0
    assert capsys.readouterr().out == "mode: load-balancing\nuplinks: [dsl, wifi]\n"


@pytest.mark.parametrize("value", ["-1", "--all", "-w*"])
def test_a_value_that_begins_like_an_option_is_a_value(
    file: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    for argv in (["set", "uplinks.lte.match.name", value], ["set", "--", "uplinks.lte.match.name", value]):
        file.write_text(EXAMPLE.replace("    interface: lte0\n", "    match: {name: wwan0}\n"))
        assert run(argv) == 0, capsys.readouterr().err
        capsys.readouterr()
        assert run(["get", "uplinks.lte.match.name"]) == 0
        assert capsys.readouterr().out.strip("'\n") == value


def test_an_option_before_or_after_the_value_is_still_one(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(EXAMPLE)
    assert run(["set", "--file", str(other), "uplinks.lte.cost", "7"]) == 0
    assert run(["set", "uplinks.dsl.cost", "3", "--file", str(other)]) == 0
    assert run(["set", "--help"]) == 0
    assert file.read_text() == EXAMPLE
    assert other.read_text() != EXAMPLE


def test_a_changed_key_is_not_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = "0123456789abcdef" * 4, "fedcba9876543210" * 4
    assert run(["set", "gateways[0].key", before]) == 0
    assert run(["set", "gateways[0].key", after]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert after in file.read_text()
    assert not [line for line in shown if before in line or after in line]
    assert shown[-2][1:] != shown[-1][1:], "that it changed is shown"


@pytest.mark.parametrize(
    ("path", "value", "blamed"),
    [
        ("uplinks.lte.cost", "cheap", "uplinks[1].cost: a whole number is wanted, not cheap"),
        ("uplinks.lte.cost", "-1", "uplinks[1].cost: must be at least 0"),
        ("workers", "-x", "workers: a whole number is wanted, not -x"),
        ("uplinks.lte.costs", "3", "uplinks[1].costs: unknown key; did you mean 'cost'?"),
        ("uplinks.lte.interface", "dsl0", "another uplink has this interface (line 14)"),
        ("rules.voice-not-on-lte.steering.uplinks", "[dls]", "no uplink is called 'dls'; did you mean 'dsl'?"),
        ("uplinks.mobile.cost", "3", "no entry is called 'mobile'"),
        ("bypass", "[192.0.2.0/24", "not valid YAML"),
    ],
)
def test_a_bad_value_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], path: str, value: str, blamed: str
) -> None:
    before = file.stat()
    assert run(["set", path, value]) == 2
    assert blamed in capsys.readouterr().err
    assert (file.read_text(), file.stat().st_ino) == (EXAMPLE, before.st_ino)
    assert list(file.parent.iterdir()) == [file]


def test_mode_owner_and_links_stay(file: Path) -> None:
    link = file.parent / "link.yaml"
    link.symlink_to(file.name)
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 12345, 54321)
    before = file.stat()
    assert run(["set", "workers", "3", "--file", str(link)]) == 0
    after = file.stat()
    assert link.is_symlink()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert "\nworkers: 3\n" in file.read_text()


def test_line_ends_and_the_same_value_again_change_nothing(file: Path) -> None:
    file.write_bytes(EXAMPLE.replace("\n", "\r\n").encode())
    assert run(["set", "uplinks.lte.cost", "20"]) == 0
    assert file.read_bytes() == EXAMPLE.replace("cost: 10\n", "cost: 20\n").replace("\n", "\r\n").encode()
    before = file.stat().st_ino
    assert run(["set", "uplinks.lte.cost", "20"]) == 0
    assert file.stat().st_ino == before


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(file: Path) -> None:
    with pytest.raises(Refused, match="changed by somebody else"):
        replace_file(file, EXAMPLE + "# then\n", EXAMPLE + "# now\n")
    assert file.read_text() == EXAMPLE
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_cannot_be_read_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.unlink()
    assert run(["set", "workers", "3"]) == 2
    assert "hagw.yaml: cannot be read" in capsys.readouterr().err
