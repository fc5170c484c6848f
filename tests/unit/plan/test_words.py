"""What a plan says to its owner."""

from dataclasses import replace
from ipaddress import ip_interface

from hagw.model.intent import (
    AlertsIntent,
    CpeIntent,
    CustomerIntent,
    HagIntent,
    InterfaceMatch,
    RuleIntent,
    SendingIntent,
    TrafficDescriptor,
    UplinkIntent,
    WebhookIntent,
)
from hagw.model.resources import Address, Drop, LinkSetting, MptcpLimits, NftTable, Put, Route, Rule, Sysctl
from hagw.plan.words import changes, steps
from tests.unit.plan.states import GATEWAY

DSL, LTE = UplinkIntent("dsl", "dsl", "dsl0", 1), UplinkIntent("lte", "wwan", "lte0", 2)
BEFORE = CpeIntent(("lan0",), (DSL, LTE), (GATEWAY,))


def test_every_change_is_a_sentence_and_keys_are_never_shown() -> None:
    rule = RuleIntent("tv", 5, TrafficDescriptor(), "direct", ("dsl",))
    after = CpeIntent(
        ("lan0", "lan1"),
        (replace(DSL, cost=3, slot=9), UplinkIntent("sat", "ethernet", "sat0", 3, enabled=False)),
        (replace(GATEWAY, key=b"\xee" * 32),),
        rules=(rule,),
        workers=4,
        pool=replace(BEFORE.pool, size_min=9),
    )
    said = changes(BEFORE, after)
    assert said == (
        "uplink lte goes",
        "uplink sat comes, ethernet on sat0, not enabled",
        "uplink dsl: cost was 0, becomes 3",
        "gateway hag: key becomes another one",
        "rule tv comes, precedence 5: direct",
        "lan_interfaces was lan0, becomes lan0, lan1",
        "workers was 0, becomes 4",
        "pool.size_min was 3, becomes 9",
    )
    assert "ee" * 8 not in "".join(said)


def test_what_is_a_group_of_values_comes_and_goes_in_words() -> None:
    matched = replace(DSL, interface="", match=InterfaceMatch(mac="02:00:00:00:00:01"))
    comes = (
        "uplink dsl: interface was dsl0, becomes not given",
        "uplink dsl: match was not given, becomes (mac 02:00:00:00:00:01)",
    )
    goes = (
        "uplink dsl: interface was not given, becomes dsl0",
        "uplink dsl: match was (mac 02:00:00:00:00:01), becomes not given",
    )
    there = replace(BEFORE, uplinks=(matched, LTE))
    assert changes(BEFORE, there) == comes
    assert changes(there, BEFORE) == goes
    rule = RuleIntent("tv", 5, TrafficDescriptor(), "load-balancing", sending=SendingIntent("smallest-delay", ("lte",)))
    sending = replace(BEFORE, rules=(rule,))
    assert changes(sending, replace(BEFORE, rules=(replace(rule, sending=None),))) == (
        "rule tv: sending was (mode smallest-delay, uplinks lte), becomes not given",
    )


def test_where_alerts_go_is_never_shown() -> None:
    hook = WebhookIntent("ops", "https://hooks.example/very-secret", "signed-with-this")
    told, moved = (replace(BEFORE, alerts=AlertsIntent((each,))) for each in (hook, replace(hook, url="https://b/c")))
    assert changes(BEFORE, told) == ("alerts.webhooks was none, becomes (name ops)",)
    assert changes(told, moved) == ("alerts.webhooks becomes another one",)


def test_another_order_is_told_for_lines_and_not_for_slots() -> None:
    assert changes(BEFORE, replace(BEFORE, uplinks=(LTE, DSL))) == ("uplinks are in another order: lte, dsl",)
    assert changes(BEFORE, replace(BEFORE, uplinks=(replace(DSL, slot=5), LTE))) == ()


def test_a_hag_tells_of_its_customers() -> None:
    home = CustomerIntent("home", bytes(32))
    before = HagIntent((), 5124, 5124, 5125, (home,))
    assert changes(before, replace(before, customers=(home, replace(home, name="shop")))) == ("customer shop comes",)
    assert changes(before, BEFORE) == ("it becomes another role",)


def test_every_kind_of_step_is_a_sentence() -> None:
    address = ip_interface("192.0.2.7/24")
    plan = (
        Put(Sysctl("net/ipv4/ip_forward", "1")),
        Put(MptcpLimits(8, 0)),
        Put(LinkSetting("lte0", "mtu", 1400)),
        Put(LinkSetting("lte0", "up", 1)),
        Put(Address("lte0", address)),
        Put(Route(4, 5102, "lte0", address.ip)),
        Put(Route(6, 5191, "dsl0")),
        Put(Route(4, 5190, "lo", kind="local")),
        Put(Rule(4, 5142, 5102, source=address.ip)),
        Put(Rule(6, 5139, 254, incoming="lo", suppress_default=True)),
        Put(NftTable("x")),
        Drop(Rule(4, 5105, 5103, mark=0x3000000)),
        Drop(Sysctl("net/ipv4/ip_forward", "1")),
        Drop(LinkSetting("lte0", "mtu", 1400)),
        Drop(Address("lte0", address)),
        Drop(NftTable("x")),
    )
    assert steps(plan, {2: "lte"}) == (
        "set kernel parameter net.ipv4.ip_forward to 1",
        "let the kernel accept 8 subflows a connection and 0 announced addresses",
        "set the mtu of lte0 to 1400",
        "switch lte0 on",
        "give lte0 the address 192.0.2.7/24",
        "route uplink lte (IPv4) out of lte0 by router 192.0.2.7",
        "route the best uplink (IPv6) out of dsl0",
        "route what is intercepted (IPv4) to this machine itself",
        "add the rule that IPv4 packets from 192.0.2.7 take uplink lte",
        "add the rule that IPv6 packets of this machine take the main table, its default routes aside",
        "replace the firewall table inet hagw, in one step",
        "remove the rule that IPv4 packets marked 0x3000000 take table 5103",
        "put kernel parameter net.ipv4.ip_forward back to what it was before hagw",
        "put the mtu of lte0 back to what it was before hagw",
        "take the address 192.0.2.7/24 from lte0",
        "remove the firewall table inet hagw",
    )
