"""Rules in the file: what is accepted, and what is refused with the line and the rule it conflicts with."""

import pytest

from hagw.config.load import load
from hagw.config.rule_warnings import find_warnings
from hagw.errors import ConfigError
from hagw.model.intent import CpeIntent, TrafficDescriptor

HEAD = """\
version: 1
role: cpe
lan: {interfaces: [lan0, guests0]}
uplinks: [{name: dsl, kind: dsl, interface: dsl0}, {name: lte, kind: wwan, interface: lte0}]
gateways: [{name: hag, addresses: [198.51.100.10], customer: home, key: KEY}]
rules:
""".replace("KEY", "5d0b7c9e1f3a2846b8d0c2e4f6a81937294b6d8fe0a1c3b5d7f90e2c4a6b8d1f")
FIRST_LINE = len(HEAD.splitlines()) + 1


def rules(*lines: str) -> str:
    return HEAD + "".join(
        f"  - {{name: r{number}, precedence: {number}, {line}}}\n" for number, line in enumerate(lines)
    )


def traffic(text: str) -> TrafficDescriptor:
    intent = load(rules(f"traffic: {{{text}}}, steering: {{mode: direct}}"), "f")
    assert isinstance(intent, CpeIntent)
    return intent.rules[0].traffic


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(text, "f")
    return str(error.value)


def test_every_descriptor_is_read() -> None:
    found = traffic(
        'source_mac: ["3C-22-FB-01-02-03"], source_interface: [guests0], protocol: [icmp, 47, TCP],'
        ' dscp: [ef, af41, 8], domain: ["*.Example.ORG", bücher.example],'
        ' application: [voip], time: ["mon 08:00-09:00"]'
    )
    assert found.macs == ("3c:22:fb:01:02:03",)
    assert found.interfaces == ("guests0",)
    assert found.protocols == (1, 58, 47, 6)
    assert found.dscps == (46, 34, 8)
    assert found.domains == ("*.example.org", "xn--bcher-kva.example")
    assert found.applications == ("voip",)
    assert [(window.days, window.begin_minute) for window in found.times] == [((0,), 480)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: []", "rules[0].traffic.source: name at least one, or leave this out for any"),
        ("domain: []", "rules[0].traffic.domain: name at least one"),
        ('source_mac: ["3c:22"]', "is not a MAC address"),
        ("source_interface: [guest0]", "guest0 is no LAN interface; did you mean 'guests0'?"),
        ("protocol: [tpc]", "'tpc' is not a protocol"),
        ("protocol: [256]", "'256' is not a protocol"),
        ("dscp: [64]", "'64' is not a DSCP"),
        ('domain: ["*"]', "'*' is not a domain"),
        ('domain: ["a.*.b"]', "'a.*.b' is not a domain"),
        ('domain: ["10.0.0.1"]', "'10.0.0.1' is not a domain"),
        ("application: [vidio]", "'vidio' is not allowed; did you mean 'video'?"),
        ("time: [always]", "'always' is not a weekday"),
        ('protocol: [esp], destination_port: ["80"]', "these protocols have no ports: no flow can ever fit"),
        ("source: [10.0.0.0/8], destination: ['2001:db8::/32']", "are of different families"),
        (
            'application: [printing], destination_port: ["80"]',
            "application printing has none of these protocols and ports",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, message: str) -> None:
    found = refusal(rules(f"traffic: {{{text}}}, steering: {{mode: direct}}"))
    assert found.startswith(f"f:{FIRST_LINE}: ")
    assert message in found


def test_the_same_precedence_names_the_other_rule() -> None:
    text = HEAD + "".join(f"  - {{name: {name}, precedence: 7, steering: {{mode: direct}}}}\n" for name in "ab")
    assert f"f:{FIRST_LINE + 1}: rules[1].precedence: another rule has this precedence (line {FIRST_LINE})" in refusal(
        text
    )


def test_weights_are_percent_in_the_order_of_the_lines() -> None:
    assert "a list is wanted" in refusal(rules("steering: {mode: load-balancing, weights: {dsl: 50, lte: 50}}"))


@pytest.mark.parametrize(
    ("earlier", "later", "is_hidden"),
    [
        ("destination_port: ['443']", "destination_port: ['443'], source: [10.0.0.1]", True),
        ("destination_port: ['1-100', '101-500']", "destination_port: ['50-443']", True),
        ("source: [10.0.0.0/8]", "source: [10.1.0.0/16, 10.2.0.1]", True),
        ("source: [10.0.0.0/8]", "source: [10.1.0.0/16, 192.0.2.1]", False),
        ("source: [10.0.0.0/16]", "source: [10.0.0.0/8]", False),
        ("domain: ['*.example.org']", "domain: [www.example.org]", True),
        ("domain: ['*.example.org']", "domain: ['*.www.example.org']", True),
        ("domain: [www.example.org]", "domain: ['*.www.example.org']", False),
        ("domain: ['*.example.org']", "domain: [example.org]", False),
        ("time: [mon]", "source: [10.0.0.1]", False),
        ("application: [voip, vpn]", "application: [vpn]", True),
        ("protocol: [udp]", "application: [voip]", False),
    ],
)
def test_a_rule_that_an_earlier_one_hides_gets_a_warning(earlier: str, later: str, is_hidden: bool) -> None:
    steering = "steering: {mode: direct}"
    text = rules(f"traffic: {{{earlier}}}, {steering}", f"traffic: {{{later}}}, {steering}")
    found = [str(issue) for issue in find_warnings(text, "f")]
    message = f"f:{FIRST_LINE + 1}: rules[1]: never the first match: rule r0 (line {FIRST_LINE}) takes all its flows"
    assert found == ([message] if is_hidden else [])
