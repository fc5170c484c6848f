"""What `hagw explain` says: the rules that fit and those that do not, the lines and why not, in words."""

from dataclasses import replace

from test_decide import FLOW, SNAPSHOT, rule

from hagw.model.flow import UDP, FlowKey
from hagw.model.intent import RuleIntent, TimeWindow
from hagw.model.snapshot import CpeSnapshot
from hagw.policy.decide import Policy
from hagw.policy.explain import explain, flow_document, flow_key, flow_text, unnamed

LINE = SNAPSHOT.uplinks[0]
NAMED = replace(FLOW, domain="www.example.org", domain_source="sni")
RULES = (
    rule("night", 1, times=(TimeWindow((0,), 0, 60),)),
    rule("mail", 2, destination_ports=((25, 25), (465, 587))),
    rule("films", 3, "load-balancing", ("dsl",), domains=("*.example.org",)),
    rule("rest", 4, "block"),
)


def told(flow: FlowKey = NAMED, rules: tuple[RuleIntent, ...] = RULES, **changes: object) -> list[str]:
    snapshot: CpeSnapshot = replace(SNAPSHOT, rules=rules, asleep=("night",), **changes)
    text: list[str] = explain(Policy(snapshot), flow)["text"]
    return text


def test_every_rule_says_why_it_fits_or_not() -> None:
    assert told() == [
        "192.168.77.11:40000 -> 203.0.113.10:443 tcp (www.example.org, by sni, confidence high)",
        "converted: rule films bonds dsl",
        "Rules:",
        "  - night (1): time is other hours, not mon 00:00-01:00",
        "  - mail (2): destination_port is 443, not 25, 465-587",
        "  + films (3): matches",
        "  . rest (4): not reached",
        "  . default: not reached",
        "Lines:",
        "  + dsl: carries the first subflow",
        "  - lte: rule films allows dsl only",
        "  - wifi: rule films allows dsl only",
        "Gateways:",
        "  + hag: the only one that takes flows",
        "Rule night sleeps now: mon 00:00-01:00.",
    ]


def test_a_name_that_could_matter_is_asked_for() -> None:
    text = told(FLOW)
    assert "  - films (3): domain is not known, not *.example.org" in text
    assert "The server's name could change this: the host's first bytes are waited for. Try --domain." in text


def test_a_forwarded_flow_has_no_name_and_no_gateway() -> None:
    text = told(replace(NAMED, protocol=UDP, server_port=53), RULES[:3])
    assert "direct: udp is forwarded; rule default has it over dsl" in text
    assert "  + dsl: the flow's line" in text
    assert "  + wifi: taken if the one before it fails" in text
    assert "  - hag: not asked: the flow is not converted" in text
    assert "No DNS answer seen on the LAN told a name of this server: rules that need one do not fit." in told(
        replace(FLOW, protocol=UDP), RULES[:3]
    )


def test_a_forwarded_flow_has_the_names_that_dns_told() -> None:
    asked = replace(FLOW, protocol=UDP, domain="cdn.example", domain_source="dns", others=("www.example.org",))
    text = told(asked)
    assert "192.168.77.11:40000 -> 203.0.113.10:443 udp (cdn.example, by dns, confidence low)" in text
    assert "  + films (3): matches" in text
    assert "The kernel forwards this flow: it knows the name only from DNS answers seen on the LAN." in told(
        replace(asked, domain_source="given")
    )


def test_a_name_that_only_dns_told_can_be_kept_back_and_is_judged_by_still() -> None:
    rules = (rule("mail", 1, domains=("mail.example.org",)), *RULES[2:])
    policy = Policy(replace(SNAPSHOT, rules=rules))
    asked = replace(FLOW, protocol=UDP, domain="cdn.example", domain_source="dns", others=("www.example.org",))
    told = unnamed(explain(policy, asked))
    assert told["rule"] == "films"
    assert "cdn.example" not in str(told)
    assert "www.example.org" not in str(told)
    assert "  - mail (1): domain is another one, not shown here, not mail.example.org" in told["text"]
    given = explain(policy, replace(asked, domain_source="given"))
    assert unnamed(given) is given


def test_lines_say_why_they_are_not_used() -> None:
    lines = (
        replace(LINE, state="down", reason="no carrier"),
        replace(LINE, slot=2, name="lte", state="suspect", reason="silent"),
        replace(LINE, slot=3, name="wifi", state="disabled"),
        replace(LINE, slot=4, name="fibre"),
    )
    text = told(rules=(), uplinks=lines)
    assert "  - dsl: allowed, but down: no carrier" in text
    assert "  - lte: allowed, but suspect: silent" in text
    assert "  - wifi: disabled in the configuration" in text
    assert "  + fibre: carries the first subflow" in text


def test_what_is_not_intercepted_says_so_first() -> None:
    document = explain(Policy(replace(SNAPSHOT, rules=RULES[1:])), FLOW, "203.0.113.0/24 is in bypass")
    assert document["path"] == "blocked"
    assert document["why"] == "203.0.113.0/24 is in bypass; rule rest blocks it"


def test_a_live_flow_tells_its_story() -> None:
    flow = {
        "id": "7", "client": "fd77::11", "client_port": 4, "server": "2001:db8::1", "server_port": 443, "domain": None,
        "domain_source": "none", "path": "converted", "gateway": "hag", "rule": "r", "mode": "load-balancing",
        "why": "rule r bonds dsl, lte", "state": "relaying", "bytes_down": 10, "bytes_up": 2,
        "by_uplink": {"dsl": {"down": 10, "up": 2}, "lte": {"down": 4, "up": 0}},
        "costs": {"dsl": {"cost": 0, "metered": False}, "lte": {"cost": 10, "metered": True}},
        "subflows": [{"uplink": "dsl", "state": "established", "backup": False, "rtt_ms": 24.2}],
        "timeline": [
            {"at_s": -3.25, "uplink": "dsl", "event": "established", "reason": ""},
            {"at_s": 12.5, "uplink": "lte", "event": "withdrawn", "reason": "suspect: silent"},
        ],
    }  # fmt: skip
    assert flow_text(flow) == [
        "Flow 7: [fd77::11]:4 -> [2001:db8::1]:443",
        "converted over hag, relaying: rule r bonds dsl, lte",
        "Rule r, mode load-balancing. 10 bytes down, 2 bytes up:",
        "  dsl: 10 down, 2 up (cost 0)",
        "  lte: 4 down, 0 up (cost 10, metered)",
        "Subflows now:",
        "  dsl: established, RTT 24 ms",
        "What happened, in seconds since the flow began (a warm connection is older than its flow):",
        "     -3.250  dsl established",
        "    +12.500  lte withdrawn: suspect: silent",
        "Last change at +12.500 s: lte withdrawn.",
    ]
    arrived = {"dscp": 46, "interface": "lan0", "mac": None}
    judged = flow_document({**flow, "arrived": arrived}, {"text": ["its ends", "Rules:", "  + r: matches"]})
    assert judged["text"][-3:] == [
        "Judged now, by the rules and lines of this moment:", "Rules:", "  + r: matches",
    ]  # fmt: skip
    assert "arrived" not in judged["flow"], "nobody's business"
    assert flow_key({**flow, "arrived": arrived}) == FlowKey("fd77::11", 4, "2001:db8::1", 443, 6, 46, "lan0")
    document = flow_document(flow)["flow"]
    assert (document["last_change"]["uplink"], document["domain_confidence"]) == ("lte", None)
