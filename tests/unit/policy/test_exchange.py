"""Rules out to 3GPP's words and back: the same rules, and what does not reduce is said, all of it."""

import json
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.model.intent import RuleIntent, SendingIntent, TimeWindow, TrafficDescriptor, UplinkIntent
from hagw.policy.applications import APPLICATIONS
from hagw.policy.exchange import Accesses, NotReducible, accesses, export_rules
from hagw.policy.exchange_read import import_rules

TWO = Accesses("lte", "dsl")
LINES = ("dsl", "lte")
DSL, LTE = UplinkIntent("dsl", "dsl", "dsl0", 1), UplinkIntent("lte", "wwan", "lte0", 2)
WIFI = UplinkIntent("wifi", "wifi", "wifi0", 3)
FOUR, SIX = [ip_network(t) for t in ("10.0.0.0/8", "192.0.2.1/32")], [ip_network(t) for t in ("fd00::/8", "::1/128")]


def some(values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=2).map(tuple)


@st.composite
def descriptors(draw: st.DrawFn) -> TrafficDescriptor:
    if draw(st.booleans()):
        return TrafficDescriptor(applications=(draw(st.sampled_from(sorted(APPLICATIONS))),))
    prefixes = draw(st.sampled_from((FOUR, SIX)))
    ports = draw(some([(80, 80), (443, 443), (8000, 8100)]))
    return TrafficDescriptor(
        sources=draw(some(prefixes)),
        destinations=draw(some(prefixes)),
        destination_ports=ports,
        protocols=draw(some([6, 17] if ports else [1, 6, 17, 50])),
        dscps=draw(some([0, 10, 46])),
    )


STEERING = [
    {"mode": "load-balancing", "uplinks": ("lte", "dsl")},
    {"mode": "load-balancing", "uplinks": ("lte", "dsl"), "weights": (30, 70)},
    {"mode": "load-balancing", "uplinks": ("dsl",)},
    {"mode": "smallest-delay", "uplinks": ("lte", "dsl")},
    {"mode": "active-standby", "uplinks": ("dsl", "lte")},
    {"mode": "active-standby", "uplinks": ("lte", "dsl")},
    {"mode": "priority-based", "uplinks": ("dsl", "lte")},
    {"mode": "redundant", "uplinks": ("dsl", "lte")},
    {"mode": "block"},
]
SENDING = [
    None,
    SendingIntent("load-balancing", ("lte",)),
    SendingIntent("active-standby", ("lte", "dsl")),
    SendingIntent("smallest-delay", ("lte", "dsl")),
]


@st.composite
def rule_sets(draw: st.DrawFn) -> tuple[RuleIntent, ...]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        steering = draw(st.sampled_from(STEERING))
        rule = RuleIntent(f"r.{number}", number * 3, draw(descriptors()), **steering)  # type: ignore[arg-type]  # of them
        sending = None if rule.mode == "block" else draw(st.sampled_from(SENDING))
        is_another = sending is not None and (sending.mode, sending.uplinks) != (rule.mode, rule.uplinks)
        found.append(replace(rule, sending=sending) if is_another else rule)
    return tuple(found)


@given(rule_sets())
def test_what_is_exported_is_imported_as_it_was(rules: tuple[RuleIntent, ...]) -> None:
    document = json.loads(json.dumps(export_rules(rules, LINES, TWO)))
    assert import_rules(document, TWO) == rules


def test_lines_that_are_not_named_are_both() -> None:
    rule = RuleIntent("r", 1, TrafficDescriptor(), "load-balancing")
    (read,) = import_rules(export_rules([rule], LINES, TWO), TWO)
    assert read.uplinks == ("lte", "dsl")


def test_the_names_are_those_of_the_specification() -> None:
    rule = RuleIntent(
        "films", 7, TrafficDescriptor((ip_network("10.0.0.0/8"),), (), ((443, 443),), protocols=(6,), dscps=(46,)),
        "load-balancing", ("dsl", "lte"), weights=(60, 40), sending=SendingIntent("priority-based", ("dsl", "lte")),
    )  # fmt: skip
    assert export_rules([rule], LINES, TWO) == {
        "pccRules": {
            "films": {
                "pccRuleId": "films",
                "precedence": 7,
                "flowInfos": [
                    {
                        "flowDescription": "permit out 6 from any 443 to 10.0.0.0/8",
                        "tosTrafficClass": "b8fc",
                        "flowDirection": "BIDIRECTIONAL",
                    }
                ],
                "refTcData": ["films"],
            }
        },
        "traffContDecs": {
            "films": {
                "tcId": "films",
                "steerFun": "MPTCP",
                "steerModeUl": {"steerModeValue": "PRIORITY_BASED", "prioAcc": "NON_3GPP_ACCESS"},
                "steerModeDl": {"steerModeValue": "LOAD_BALANCING", "3gLoad": 40},
            }
        },
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "direct"}, "direct is no steering mode"),
        ({"uplinks": ("dsl", "wifi")}, "it uses wifi, which is neither lte nor dsl"),
        ({"quic": "steer"}, "steering.quic has no place"),
        ({"mode": "active-standby", "uplinks": ("dsl", "lte"), "standby": "cold"}, "standby: cold has no place"),
        ({"mode": "priority-based", "uplinks": ()}, "priority-based by cost"),
        ({"sending": SendingIntent("load-balancing", ("wifi",))}, "it uses wifi"),
        ({"traffic": TrafficDescriptor(domains=("example.org",))}, "traffic.domain has no place"),
        ({"traffic": TrafficDescriptor(macs=("02:00:00:00:00:01",))}, "traffic.source_mac has no place"),
        ({"traffic": TrafficDescriptor(times=(TimeWindow((0,), 0, 60),))}, "traffic.time has no place"),
        ({"traffic": TrafficDescriptor(protocols=(17,), applications=("voip",))}, "one appId, and nothing else"),
    ],
)
def test_what_does_not_reduce_is_said(changes: dict[str, Any], why: str) -> None:
    rule = replace(RuleIntent("r", 1, TrafficDescriptor(), "load-balancing", ("dsl", "lte")), **changes)
    with pytest.raises(NotReducible, match=f"rule r: .*{why}"):
        export_rules([rule], LINES, TWO)


def test_every_mistake_is_said_at_once() -> None:
    rules = [RuleIntent(name, 1, TrafficDescriptor(domains=("a.org",)), "direct") for name in ("a", "b")]
    with pytest.raises(NotReducible) as found:
        export_rules(rules, LINES, TWO)
    assert [each.where for each in found.value.found] == ["rule a", "rule a", "rule b", "rule b"]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("traffContDecs", "r", "steerFun"), "ATSSS_LL", "MPTCP is all"),
        (("traffContDecs", "r", "steerModeDl", "steerModeValue"), "FASTEST", "steerModeValue: one of"),
        (("traffContDecs", "r", "steerModeDl", "thresValue"), {"rttThres": 100}, "thresValue: hagw cannot do that"),
        (("traffContDecs", "r", "steerModeDl", "steerModeInd"), "UE_ASSISTANCE", "AUTO_LOAD_BALANCE is all"),
        (("traffContDecs", "r", "steerModeUl"), {"steerModeValue": "LOAD_BALANCING", "3gLoad": 3}, "another split"),
        (("traffContDecs", "r", "flowStatus"), "ENABLED-UPLINK", "flowStatus: ENABLED or DISABLED"),
        (("traffContDecs",), {}, "refTcData: the id of one"),
        (("pccRules", "r", "precedence"), -1, "precedence: a whole number"),
        (("pccRules", "r", "precedence"), True, "precedence: a whole number"),
        (("pccRules", "r", "pccRuleId"), "a rule", "pccRuleId: "),
        (("pccRules", "r", "flowInfos"), [], "1 to 256 filters"),
        (("pccRules", "r", "flowInfos"), [{"flowDescription": "deny out ip from any to any"}], "is not a filter"),
        (("pccRules", "r", "flowInfos"), [{"flowDescription": "permit out ip from 10.0.0.1/8 to any"}], "not a prefix"),
        (
            ("pccRules", "r", "flowInfos"),
            [{"flowDescription": f"permit out {p} from {a} to any"} for p, a in (("6", "10.0.0.0/8"), ("17", "any"))],
            "not every combination",
        ),
        (("pccRules", "r", "refQosData"), ["q"], "refQosData: hagw cannot do that"),
    ],
)
def test_what_cannot_be_done_is_refused(path: tuple[str, ...], value: object, why: str) -> None:
    rule = RuleIntent("r", 1, TrafficDescriptor(), "load-balancing", ("lte", "dsl"))
    document = export_rules([rule], LINES, TWO)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(NotReducible, match=why):
        import_rules(document, TWO)


@pytest.mark.parametrize("document", [None, [], {}, {"pccRules": []}, {"pccRules": {"a": 1}, "traffContDecs": {}}])
def test_another_document_is_refused(document: object) -> None:
    with pytest.raises(NotReducible):
        import_rules(document, TWO)


def test_two_rules_of_one_precedence_are_refused() -> None:
    rules = [RuleIntent(name, 1, TrafficDescriptor(), "block") for name in ("a", "b")]
    with pytest.raises(NotReducible, match=r"pccRules\.b: precedence 1 is that of a, too"):
        import_rules(export_rules(rules, LINES, TWO), TWO)


def test_the_accesses_are_known_by_their_kind() -> None:
    assert accesses([DSL, LTE]) == TWO
    assert accesses([DSL, LTE, replace(WIFI, enabled=False)]) == TWO
    rule = RuleIntent("r", 1, TrafficDescriptor(), "load-balancing", ("dsl", "lte"))
    assert accesses([DSL, LTE, WIFI], [rule]) == TWO
    assert accesses([DSL, LTE, WIFI], [], non_three_gpp="wifi") == Accesses("lte", "wifi")
    assert accesses([DSL, WIFI], [], three_gpp="wifi") == Accesses("wifi", "dsl")
    with pytest.raises(NotReducible, match="say which is which"):
        accesses([DSL, LTE, WIFI])
    with pytest.raises(NotReducible, match="no such line; there are: dsl, lte"):
        accesses([DSL, LTE], three_gpp="5g")
