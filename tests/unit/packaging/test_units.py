"""systemd's units say what the rest relies on; what they do is for `tests/hosts` to show."""

from pathlib import Path

import pytest

import hagw.packaging
from hagw.control.worker_unit import VARIABLE

UNITS = Path(hagw.packaging.__file__).parent / "systemd"


def _settings(unit: str) -> dict[str, str]:
    lines = (UNITS / unit).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith(("#", " ")))


def test_the_control_names_the_workers_template() -> None:
    assert f"Environment={VARIABLE}=hagw-worker@\n" in (UNITS / "hagw.service").read_text()
    assert (UNITS / "hagw-worker@.service").exists()


def test_the_network_waits_for_nothing_of_ours() -> None:
    for unit in UNITS.iterdir():
        assert not {"network.target", "network-online.target", "network-pre.target"} & set(
            _settings(unit.name).get("Before", "").split()
        )
        assert "network-online.target" not in unit.read_text()


@pytest.mark.parametrize("unit", ["hagw.service", "hagw-worker@.service"])
def test_units_hold_few_capabilities(unit: str) -> None:
    held = set(_settings(unit)["CapabilityBoundingSet"].split())
    assert held <= {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}


def test_a_slow_machine_has_time_to_start_and_to_put_the_kernel_back() -> None:
    control = _settings("hagw.service")
    assert int(control["TimeoutStartSec"]) >= 300
    assert int(control["TimeoutStopSec"]) >= 120
    assert int(control["WatchdogSec"]) >= 30


def test_a_worker_that_was_replaced_is_not_killed_with_its_successor() -> None:
    worker = _settings("hagw-worker@.service")
    assert worker["KillMode"] == "process"
    assert worker["NotifyAccess"] == "all"  # the successor says that it is the main process now
