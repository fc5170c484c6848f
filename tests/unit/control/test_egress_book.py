"""Blocks of ports on the disk: the same after a restart, their changes in a log that does not grow for ever."""

import asyncio
import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from hagw.control import egress as module
from hagw.control.egress import EgressBook
from hagw.control.gateway import Gateway
from hagw.errors import Refused
from hagw.model.flow import TCP, FlowKey
from hagw.model.intent import EgressIntent, Intent
from tests.fakes import CPE, HAG, FakeHealth, FakeKernel
from tests.logs import listening

EGRESS = EgressIntent((ip_address("203.0.113.5"), ip_address("203.0.113.6")), 16)
NAMES = ("home", "office")


def entries(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "egress.log").read_text().splitlines()]


def test_blocks_outlast_the_daemon_and_their_changes_are_logged(tmp_path: Path) -> None:
    first = EgressBook(tmp_path).of(NAMES, EGRESS)
    second = EgressBook(tmp_path)
    assert second.of(("newcomer", *NAMES), EGRESS) == {
        **first,
        "newcomer": second.of(("newcomer", *NAMES), EGRESS)["newcomer"],
    }
    assert set(second.of(("home",), EGRESS)) == {"home"}
    assert [(e["action"], e["customer"]) for e in entries(tmp_path)] == [
        ("assigned", "home"),
        ("assigned", "office"),
        ("assigned", "newcomer"),
        ("released", "newcomer"),
        ("released", "office"),
    ]
    assert all(e["last"] == e["first"] + 15 for e in entries(tmp_path))


def test_where_nothing_is_configured_nothing_is_written(tmp_path: Path) -> None:
    assert EgressBook(tmp_path).of(NAMES, EgressIntent()) == {}
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_costs_the_assignments_and_nothing_else(tmp_path: Path) -> None:
    EgressBook(tmp_path).of(NAMES, EGRESS)
    (tmp_path / "egress.json").write_text('{"customers": {"home": [["nonsense", 1]]}}')
    assert set(EgressBook(tmp_path).of(NAMES, EGRESS)) == set(NAMES)


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_MAX_BYTES", 2_000)
    book = EgressBook(tmp_path)
    for turn in range(40):
        book.of((f"cpe-{turn}",), EGRESS)
    sizes = {file.name: file.stat().st_size for file in tmp_path.glob("egress.log*")}
    assert set(sizes) == {"egress.log", "egress.log.1"}
    assert all(size <= 2_000 for size in sizes.values())
    assert entries(tmp_path)[-1]["customer"] == "cpe-39"


def test_who_finds_no_room_is_named(tmp_path: Path) -> None:
    few = EgressIntent(EGRESS.addresses[:1], 32_256)
    with listening() as told:
        found = EgressBook(tmp_path).of(("a", "b", "c"), few)
    assert set(found) == {"a", "b"}
    assert [entry["event"] for entry in told] == ["no port block left"]


@pytest.mark.parametrize("own", [HAG, CPE])
def test_a_look_at_a_hags_candidate_assigns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Intent
) -> None:
    for place in ("HAGW_RUNTIME_DIR", "HAGW_STATE_DIR"):
        monkeypatch.setenv(place, str(tmp_path))
    flow = FlowKey("192.168.1.2", 0, "203.0.113.10", 443, TCP)

    async def look() -> None:
        gateway = Gateway(own, "0.1.0", FakeKernel(), FakeHealth(), lambda _: ())
        with pytest.raises(Refused, match="decided on the CPE"):
            gateway.explain(flow, replace(HAG, egress=EGRESS))

    asyncio.run(look())
    assert not list(tmp_path.glob("egress*"))
