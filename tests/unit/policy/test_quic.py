"""QUIC is refused where its rule bonds TCP, and steered elsewhere; a rule may say otherwise."""

from dataclasses import replace

import pytest
from test_decide import FLOW, SNAPSHOT, rule

from hagw.model.flow import UDP
from hagw.model.intent import RuleIntent
from hagw.policy.decide import Policy
from hagw.policy.explain import explain

QUIC = replace(FLOW, protocol=UDP)


def path(*rules: RuleIntent, intercepts: bool = True, **changes: object) -> str:
    snapshot = replace(SNAPSHOT, rules=rules)
    return Policy(snapshot).forward(replace(QUIC, **changes), intercepts=intercepts).path  # type: ignore[arg-type]


def test_quic_is_refused_where_tcp_is_bonded() -> None:
    decision = Policy(SNAPSHOT).decide(QUIC)
    assert (decision.path, decision.uplinks) == ("blocked", ())
    assert decision.why == "QUIC is refused, so that the host takes TCP, which rule default bonds"
    assert path(server_port=444) == "direct"
    assert path(protocol=132) == "direct"


def test_quic_is_steered_where_tcp_is_not_taken() -> None:
    """The gateway is away, or the server is in bypass: there is nothing better to fall back to."""
    assert path(intercepts=False) == "direct"
    assert path(rule("r", mode="load-balancing"), intercepts=False) == "direct"


@pytest.mark.parametrize("mode", ["load-balancing", "priority-based", "active-standby", "smallest-delay"])
def test_every_mode_that_may_use_several_lines_refuses(mode: str) -> None:
    assert path(rule("r", mode=mode)) == "blocked"
    assert path(rule("r", mode=mode, uplinks=("dsl", "lte"))) == "blocked"


@pytest.mark.parametrize(
    "given",
    [
        rule("one line", mode="load-balancing", uplinks=("dsl",)),
        rule("one that exists", mode="load-balancing", uplinks=("dsl", "fibre")),
        rule("no gateway", mode="direct"),
        rule("no TCP", mode="load-balancing", protocols=(UDP,)),
        rule("QUIC itself", mode="load-balancing", applications=("quic",)),
    ],
    ids=lambda given: given.name,
)
def test_quic_is_steered_where_its_rule_bonds_no_tcp(given: RuleIntent) -> None:
    assert path(given) == "direct"


def test_a_rule_says_otherwise() -> None:
    assert path(replace(rule("r", mode="load-balancing"), quic="steer")) == "direct"
    refused = replace(rule("r", mode="direct"), quic="reject")
    assert path(refused) == "blocked"
    assert path(refused, intercepts=False) == "blocked"
    assert path(refused, server_port=80) == "direct"


def test_web_traffic_is_both_and_takes_tcp() -> None:
    assert path(rule("r", mode="load-balancing", applications=("web",))) == "blocked"


def test_explain_says_why_quic_is_refused() -> None:
    told = explain(Policy(SNAPSHOT), QUIC)
    assert "blocked: QUIC is refused, so that the host takes TCP, which rule default bonds" in told["text"]
    assert {line["reason"] for line in told["uplinks"]} == {"the flow is blocked"}
    bypassed = explain(Policy(SNAPSHOT), QUIC, "203.0.113.0/24 is in bypass")
    assert "direct: udp is forwarded; rule default has it over dsl" in bypassed["text"]
