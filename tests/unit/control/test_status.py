"""The status and flows documents: their keys are what others script against."""

from dataclasses import replace
from ipaddress import ip_interface

from hagw.alerts.rules import alerts
from hagw.control.drift import Drift
from hagw.control.ports import Interception
from hagw.control.status import flows_document, status_document, verdict
from hagw.control.workers import WorkerReport
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.resources import Address, Drop, LinkSetting, NftTable, Put, Rule
from tests.fakes import ALL_UP, CPE, HAG, STATUS_INPUTS, WORKER

AWAY = WorkerReport(1, None, "ended", "silent for 1.2 s", False, False, 1, None, {})


def test_the_contracts_keys_are_all_there() -> None:
    document = status_document(STATUS_INPUTS)
    contract = "role version state reason uplinks gateways flows_active config_generation pending_confirm_s schema"
    assert set(contract.split()) <= set(document)
    uplink = "name kind interface state reason rtt_ms loss down_bps up_bps bytes_down bytes_up"
    uplink += " jitter_ms jitter_up_ms jitter_down_ms loss_up loss_down probe_bytes_today kept_off_bytes cap_stage"
    uplink += " mptcp harmful broken_families"
    assert set(uplink.split()) == set(document["uplinks"][0])
    assert {"name", "address", "state", "rtt_ms", "pool_ready"} <= set(document["gateways"][0])
    assert document["schema"] == 1


def test_all_well_is_bonded() -> None:
    document = status_document(STATUS_INPUTS)
    assert (document["role"], document["state"]) == ("cpe", "bonded")
    assert document["reason"] == "All 2 uplinks are in use."
    assert document["flows_active"] == 6
    assert document["gateways"][0]["pool_ready"] == 8
    dsl, lte = document["uplinks"]
    assert (dsl["bytes_down"], dsl["down_bps"]) == (1000, 8000)
    assert (lte["bytes_down"], lte["down_bps"]) == (None, None)


def test_a_lost_uplink_is_degraded_and_named() -> None:
    lost = {**ALL_UP, "dsl": UplinkHealth("down", "no answer for 200 ms")}
    assert verdict(replace(STATUS_INPUTS, uplinks=lost)) == ("degraded", "dsl is down (no answer for 200 ms).")


def test_without_any_line_nothing_is_up_and_nobody_is_promised_the_best_uplink() -> None:
    """No lost line says anything of the gateway: it counts as up until it was asked in vain."""
    dead = {"dsl": UplinkHealth("down", "no carrier"), "lte": UplinkHealth("down", "no interface")}
    document = status_document(replace(STATUS_INPUTS, uplinks=dead))
    assert (document["state"], document["reason"]) == (
        "unbonded",
        "No uplink works: dsl is down (no carrier); lte is down (no interface). Nothing reaches the Internet.",
    )
    (gateway,) = document["gateways"]
    assert (gateway["state"], gateway["rtt_ms"]) == ("unknown", None)
    assert gateway["reason"] == "No uplink works: it cannot be asked."
    assert {alert.key for alert in alerts(document)} == {"state:", "uplink:dsl", "uplink:lte"}


def test_a_suspect_line_alone_is_still_a_line() -> None:
    left = {"dsl": UplinkHealth("down", "no carrier"), "lte": UplinkHealth("suspect", "silent")}
    document = status_document(replace(STATUS_INPUTS, uplinks=left))
    assert document["state"] == "degraded"
    assert document["gateways"][0]["state"] == "up"


def test_with_all_lines_switched_off_nothing_is_up() -> None:
    off = replace(CPE, uplinks=tuple(replace(uplink, enabled=False) for uplink in CPE.uplinks))
    state, reason = verdict(replace(STATUS_INPUTS, intent=off))
    assert (state, reason) == ("unbonded", "No uplink works: none is enabled. Nothing reaches the Internet.")


def test_a_disabled_uplink_does_not_degrade() -> None:
    third = replace(CPE.uplinks[0], name="wifi", enabled=False)
    inputs = replace(STATUS_INPUTS, intent=replace(CPE, uplinks=(*CPE.uplinks, third)))
    assert verdict(inputs)[0] == "bonded"
    assert status_document(inputs)["uplinks"][2]["state"] == "disabled"


def test_a_lost_gateway_is_unbonded() -> None:
    state, reason = verdict(replace(STATUS_INPUTS, gateways={"hag1": GatewayHealth("down", "no echo for 3 s")}))
    assert state == "unbonded"
    assert reason.startswith("Gateway hag1 is down (no echo for 3 s).")


def test_without_workers_or_interception_it_is_off() -> None:
    assert verdict(replace(STATUS_INPUTS, workers=(AWAY,)))[0] == "off"
    assert verdict(replace(STATUS_INPUTS, interception=Interception()))[0] == "off"


def test_a_missing_worker_and_a_kernel_failure_degrade() -> None:
    state, reason = verdict(replace(STATUS_INPUTS, workers=(WORKER, AWAY)))
    assert (state, reason) == ("degraded", "1 of 2 workers not ready: 1 (silent for 1.2 s).")
    assert verdict(replace(STATUS_INPUTS, trouble="The nft table cannot be put.")) == (
        "degraded",
        "The nft table cannot be put.",
    )


def test_one_uplink_is_no_bond() -> None:
    assert verdict(replace(STATUS_INPUTS, intent=replace(CPE, uplinks=CPE.uplinks[:1])))[0] == "degraded"


def test_a_hag_is_judged_by_its_workers() -> None:
    hag = replace(STATUS_INPUTS, intent=HAG, interception=Interception())
    assert status_document(hag)["role"] == "hag"
    assert status_document(hag)["uplinks"] == []
    assert verdict(hag)[0] == "bonded"
    assert verdict(replace(hag, workers=(WORKER, AWAY)))[0] == "degraded"
    assert verdict(replace(hag, workers=(AWAY,)))[0] == "off"


def test_flows_are_ordered_newest_first() -> None:
    document = flows_document([{"id": "a", "started_s": 1.0}, {"id": "b", "started_s": 2.0}], (1,))
    assert [flow["id"] for flow in document["flows"]] == ["b", "a"]
    assert (document["schema"], document["incomplete"]) == (1, [1])


def test_what_others_changed_is_counted_by_kind_and_the_last_time_is_told() -> None:
    assert status_document(STATUS_INPUTS)["drift"]["last"] is None
    rule = Rule(4, 5100, 5190)
    flushed = tuple(Put(Rule(4, 5102 + number, 5101)) for number in range(20))
    drift = Drift().repaired((Put(NftTable("")), Put(rule), Drop(Rule(4, 5199, 1))), 0.0, 3.14)
    address = Address("lte0", ip_interface("100.64.2.2/24"))
    drift = drift.repaired((Put(address), Put(LinkSetting("lte0", "mtu", 1400))), 1.0, 1.0)
    drift = drift.repaired(flushed, 1_700_000_000.25, 7.0)
    shown = status_document(replace(STATUS_INPUTS, drift=drift))["drift"]
    assert shown["repairs"] == 3
    lost = {"table": 1, "routes": 0, "rules": 21, "sysctls": 0, "limits": 0, "addresses": 1, "links": 1}
    assert shown["lost"] == lost
    assert shown["last"] is not None
    assert shown["last"]["at"] == "2023-11-14T22:13:20.250+00:00"
    assert shown["last"]["repaired"][-1] == "and 12 more"
    assert shown["last"]["took_ms"] == 7.0


def test_the_firewalls_counts_are_shown_for_a_cpe_alone() -> None:
    assert status_document(STATUS_INPUTS)["firewall"] == {
        "enabled": True,
        "allowed": None,
        "blocked_input": None,
        "blocked_forward": None,
    }
    counted = {"allowed": 1, "blocked_input": 2, "blocked_forward": 3, "pinned": 4}
    assert status_document(replace(STATUS_INPUTS, counted=counted))["firewall"] == {
        "enabled": True,
        "allowed": 1,
        "blocked_input": 2,
        "blocked_forward": 3,
    }
    assert status_document(replace(STATUS_INPUTS, intent=HAG))["firewall"] is None
