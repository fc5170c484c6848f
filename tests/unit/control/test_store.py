"""What is remembered survives, but not into another network namespace."""

from pathlib import Path

import pytest

from hagw.control.store import Store, namespace_identity
from hagw.model.remembered import Remembered, RememberedLimits, RememberedLink, RememberedSysctl
from hagw.model.resources import MptcpLimits

FULL = Remembered(
    sysctls={"net/ipv4/ip_forward": RememberedSysctl("0", ("1",), {"net/ipv4/conf/dsl0/forwarding": "0"}, 7)},
    limits=RememberedLimits(MptcpLimits(2, 0), (MptcpLimits(8, 0),)),
    table='{"chains":[]}',
    table_seen="abc",
    links={("dsl0", "mtu"): RememberedLink(1500, (1492, 1400), 7), ("dsl0", "up"): RememberedLink(0, (1,))},
)


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", "here")
    assert store.load() == Remembered()
    for durable in (True, False):
        store.save(FULL, durable=durable)
        assert Store(tmp_path / "state", "here").load() == FULL


def test_another_namespace_remembers_nothing(tmp_path: Path) -> None:
    Store(tmp_path, "here").save(FULL, durable=True)
    assert Store(tmp_path, "there").load() == Remembered()


def test_nothing_to_remember_leaves_no_file(tmp_path: Path) -> None:
    store = Store(tmp_path, "here")
    store.save(FULL, durable=True)
    store.save(Remembered(), durable=False)
    store.save(Remembered(), durable=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"schema": 9}', '{"schema": 1, "namespace": "here"}'])
def test_a_damaged_file_remembers_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "kernel.json").write_text(content)
    assert Store(tmp_path, "here").load() == Remembered()


def test_a_half_written_file_does_not_replace_the_whole_one(tmp_path: Path) -> None:
    store = Store(tmp_path, "here")
    store.save(FULL, durable=True)
    (tmp_path / "kernel.new").write_text('{"schema"')
    assert store.load() == FULL


def test_the_namespace_has_an_identity() -> None:
    assert namespace_identity() == namespace_identity()
