"""The compiled rules decide as the obvious reading of them does."""

from dataclasses import replace

import pytest
from flows import DOMAINS, flows, rule_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.model.flow import FlowKey
from hagw.model.intent import RuleIntent, TrafficDescriptor
from hagw.policy.index import RuleIndex
from hagw.policy.match import mismatch

FLOW = FlowKey("192.168.77.11", 40_000, "203.0.113.10", 443)


def naive(rules: tuple[RuleIntent, ...], flow: FlowKey) -> int | None:
    return next((number for number, rule in enumerate(rules) if mismatch(rule.traffic, flow) is None), None)


@settings(max_examples=400)
@given(rule_sets(), st.lists(flows(), min_size=1, max_size=10))
def test_the_first_match_is_the_same_as_one_by_one(rules: tuple[RuleIntent, ...], some: list[FlowKey]) -> None:
    index = RuleIndex(rules)
    for flow in some:
        assert index.first(flow) == naive(rules, flow)


@settings(max_examples=200)
@given(rule_sets(), flows())
def test_a_flow_that_does_not_depend_on_a_name_is_decided_without_one(
    rules: tuple[RuleIntent, ...], flow: FlowKey
) -> None:
    index = RuleIndex(rules)
    flow = replace(flow, others=())
    nameless = replace(flow, domain=None)
    found = {index.first(replace(flow, domain=domain)) for domain in (None, *DOMAINS)}
    if not index.depends_on_name(nameless):
        assert len(found) == 1


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("example.org", "example.org", True),
        ("example.org", "www.example.org", False),
        ("*.example.org", "www.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "notexample.org", False),
        ("*.example.org", "example.org.evil.net", False),
        ("example.org", None, False),
    ],
)
def test_a_star_stands_for_every_name_below(pattern: str, name: str | None, fits: bool) -> None:
    rules = (RuleIntent("r", 1, TrafficDescriptor(domains=(pattern,)), "direct"),)
    flow = replace(FLOW, domain=name)
    assert (RuleIndex(rules).first(flow) == 0) == fits == (naive(rules, flow) == 0)


def test_rules_without_names_never_wait_for_one() -> None:
    port = RuleIntent("port", 1, TrafficDescriptor(destination_ports=((443, 443),)), "direct")
    name = RuleIntent("name", 2, TrafficDescriptor(domains=("example.org",)), "direct")
    assert not RuleIndex((port,)).needs_names
    assert not RuleIndex((port, name)).depends_on_name(FLOW)
    assert RuleIndex((name, port)).depends_on_name(FLOW)
    assert not RuleIndex(
        (replace(name, traffic=TrafficDescriptor(domains=("a.b",), protocols=(17,))),)
    ).depends_on_name(FLOW)
