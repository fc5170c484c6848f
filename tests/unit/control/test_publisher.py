"""What the publisher makes of what gateways say over their control channels."""

from dataclasses import replace
from pathlib import Path

import pytest

from hagw.control.lines import Lines
from hagw.control.publisher import Publisher
from hagw.model.told import Told
from tests.fakes import CPE, FakeHealth

NORMAL, GENTLE = Told(), Told(probing="gentle")


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    for place in ("HAGW_RUNTIME_DIR", "HAGW_STATE_DIR"):
        monkeypatch.setenv(place, str(tmp_path))
    return Publisher(FakeHealth(), Lines(), lambda _: None)


def test_one_gateway_that_wants_it_has_all_lines_asked_gently_for_as_long_as_it_does(publisher: Publisher) -> None:
    fast = replace(CPE, uplinks=tuple(replace(uplink, probing="fast") for uplink in CPE.uplinks))
    assert publisher.uplinks(fast) == fast.uplinks
    assert publisher.take_told({"hag1": NORMAL, "hag2": GENTLE})
    assert {uplink.probing for uplink in publisher.uplinks(fast)} == {"gentle"}
    assert publisher.take_told({"hag1": NORMAL, "hag2": NORMAL})
    assert publisher.uplinks(fast) == fast.uplinks


def test_a_gateways_port_counts_for_that_gateway(publisher: Publisher) -> None:
    (own,) = {gateway.probe_port for gateway in CPE.gateways}
    assert publisher.take_told({CPE.gateways[0].name: Told(probe_port=5999)})
    assert publisher.gateways(CPE)[0].probe_port == 5999
    assert publisher.take_told({CPE.gateways[0].name: NORMAL})
    assert publisher.gateways(CPE)[0].probe_port == own


def test_what_says_nothing_new_about_asking_is_no_reason_to_look_again(publisher: Publisher) -> None:
    assert publisher.take_told({"hag1": GENTLE})
    assert not publisher.take_told({"hag1": replace(GENTLE, blocked="draining")})
