"""Whoever configures the gateway from outside must not lose the way in."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.intent import AllowIntent, CpeIntent, FirewallIntent, GatewayIntent, UplinkIntent
from hagw.model.resources import Address, KernelState
from hagw.plan.caller import Caller, cut_off
from hagw.plan.cpe import desired

GATEWAY = GatewayIntent("hag", (ip_address("198.51.100.10"),), 5124, 5124, "home", bytes(32))
LINES = (UplinkIntent("dsl", "dsl", "dsl0", 1), UplinkIntent("lte", "wwan", "lte0", 2))
SSH = FirewallIntent(allow=(AllowIntent("ssh", "tcp", destination_ports=((22, 22),)),))
INTENT = CpeIntent(("lan0",), LINES, (GATEWAY,), firewall=SSH)
FACTS = Facts(
    uplinks={
        up.name: UplinkFacts(
            up.name,
            up.slot + 1,
            True,
            True,
            ip_address(f"192.0.{up.slot}.2"),
            gateway4=ip_address(f"192.0.{up.slot}.1"),
        )
        for up in LINES
    }
)
FAR = ip_address("203.0.113.77")
BY_LTE = Caller(FAR, ip_address("192.0.2.2"))


def kernel(intent: CpeIntent) -> KernelState:
    return desired(intent, FACTS, {}, intercept4=False, intercept6=False)


def judged(wanted: CpeIntent, caller: Caller = BY_LTE, present: CpeIntent = INTENT) -> str:
    return "; ".join(cut_off(caller, present, wanted, FACTS, kernel(present), kernel(wanted)))


def test_a_change_of_something_else_harms_nobody() -> None:
    assert judged(replace(INTENT, workers=3)) == ""
    assert judged(replace(INTENT, uplinks=LINES[1:])) == ""


def test_taking_the_callers_uplink_cuts_the_session() -> None:
    assert "leave by lte0 now and would leave by dsl0" in judged(replace(INTENT, uplinks=LINES[:1]))
    off = (LINES[0], replace(LINES[1], enabled=False))
    assert "leave by lte0 now" in judged(replace(INTENT, uplinks=off))


def test_a_caller_from_the_lan_may_take_any_uplink() -> None:
    near = replace(FACTS, local_prefixes=())
    caller = Caller(ip_address("192.168.77.9"), ip_address("192.168.77.1"))
    wanted = replace(INTENT, uplinks=LINES[:1], firewall=FirewallIntent())
    assert cut_off(caller, INTENT, wanted, near, kernel(INTENT), kernel(wanted)) == ()


def test_a_firewall_that_would_not_let_the_caller_back_is_refused() -> None:
    shut = judged(replace(INTENT, firewall=FirewallIntent()))
    assert "the firewall would refuse 203.0.113.77 on TCP port 22 of uplink lte" in shut
    assert judged(replace(INTENT, firewall=FirewallIntent(enabled=False))) == ""
    assert "TCP port 2222" in judged(replace(INTENT, firewall=FirewallIntent()), replace(BY_LTE, port=2222), no_wall())


def no_wall() -> CpeIntent:
    return replace(INTENT, firewall=FirewallIntent(enabled=False))


def test_what_is_shut_already_is_no_obstacle() -> None:
    present = replace(INTENT, firewall=FirewallIntent())
    assert judged(replace(present, workers=3), present=present) == ""


def test_an_interface_that_becomes_an_uplink_shuts_its_callers_out() -> None:
    present = replace(INTENT, uplinks=LINES[:1], firewall=FirewallIntent())
    wanted = replace(present, uplinks=LINES)
    before, after = kernel(present), kernel(present)  # the way stays the same
    assert "could not come back" in "; ".join(cut_off(BY_LTE, present, wanted, FACTS, before, after))


def test_the_callers_own_address_is_not_taken_away() -> None:
    mine = Address("lte0", ip_interface("192.0.2.2/24"))
    before = {**kernel(INTENT), mine.key: mine}
    assert "would be taken away" in "; ".join(cut_off(BY_LTE, INTENT, INTENT, FACTS, before, kernel(INTENT)))
