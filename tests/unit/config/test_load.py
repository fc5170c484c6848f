"""Files that are right, and the values they become."""

import contextlib
import string
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.config.load import load, load_file
from hagw.config.values import parse_duration, parse_key, parse_ports, parse_prefix, parse_rate, parse_truth
from hagw.errors import ConfigError
from hagw.model.intent import CpeIntent, CustomerLimits, HagIntent

EXAMPLES = Path(__file__).parents[3] / "config"
KEY = "8f3c1d5e7a9b02468ace13579bdf0f1e2d3c4b5a69788796a5b4c3d2e1f00a1b"
CPE = f"""
version: 1
role: cpe
lan: {{interfaces: [lan0]}}
uplinks:
  - {{name: dsl, kind: dsl, interface: dsl0, rate_down: 16 Mbit/s, rate_up: 5000000}}
  - {{name: lte, kind: wwan, interface: lte0, metered: yes}}
gateways:
  - {{name: hag, addresses: [198.51.100.10, "2001:db8::1"], customer: home, key: {KEY}}}
rules:
  - {{name: late, precedence: 20, traffic: {{destination: [203.0.113.10]}}, steering: {{mode: direct, uplinks: [lte]}}}}
  - {{name: early, precedence: 3, traffic: {{destination_port: ["443", "8000-8100"]}}, steering: {{mode: block}}}}
"""


def test_the_examples_load() -> None:
    assert isinstance(load_file(EXAMPLES / "cpe.yaml"), CpeIntent)
    assert isinstance(load_file(EXAMPLES / "hag.yaml"), HagIntent)


def test_slots_are_the_positions_and_rules_are_in_the_order_of_precedence() -> None:
    intent = load(CPE, "cpe.yaml")
    assert isinstance(intent, CpeIntent)
    assert [(up.name, up.slot) for up in intent.uplinks] == [("dsl", 1), ("lte", 2)]
    assert (intent.uplinks[0].rate_down_bps, intent.uplinks[0].rate_up_bps) == (16_000_000, 5_000_000)
    assert intent.uplinks[1].metered
    assert [rule.name for rule in intent.rules] == ["early", "late"]
    assert intent.rules[0].traffic.destination_ports == ((443, 443), (8000, 8100))
    assert intent.rules[1].traffic.destinations == (ip_network("203.0.113.10/32"),)
    assert intent.gateways[0].addresses == (ip_address("198.51.100.10"), ip_address("2001:db8::1"))
    assert intent.gateways[0].key == bytes.fromhex(KEY)


def test_a_line_has_a_prefix_of_its_own() -> None:
    intent = load(CPE.replace("metered: yes", 'prefix6: "2001:db8:1200::/56"'), "cpe.yaml")
    assert isinstance(intent, CpeIntent)
    assert [uplink.prefix6 for uplink in intent.uplinks] == [None, ip_network("2001:db8:1200::/56")]


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("192.0.2.0/24", "not an IPv6 prefix of 16 to 64 bits"),
        ("2001:db8::/65", "not an IPv6 prefix of 16 to 64 bits"),
        ("fe80::/64", "cannot be delegated"),
        ("2001:db8:1200:7::/64", "overlaps the prefix of another uplink"),
    ],
)
def test_what_cannot_be_a_lines_prefix_is_refused(prefix: str, reason: str) -> None:
    text = CPE.replace("metered: yes", f'prefix6: "{prefix}"')
    text = text.replace("rate_up: 5000000", 'prefix6: "2001:db8:1200::/56"')
    with pytest.raises(ConfigError, match=reason):
        load(text, "cpe.yaml")


def test_a_packet_scheduler_can_be_chosen() -> None:
    assert load(CPE, "cpe.yaml").mptcp_scheduler is None
    assert load(f"{CPE}mptcp: {{scheduler: bpf_rr}}\n", "cpe.yaml").mptcp_scheduler == "bpf_rr"
    with pytest.raises(ConfigError, match="scheduler"):
        load(f"{CPE}mptcp: {{scheduler: 'two words'}}\n", "cpe.yaml")


def test_a_key_of_digits_stays_a_key_and_off_stays_a_word() -> None:
    digits = "01234567" * 8
    intent = load(
        f"version: 1\nrole: hag\nlisten: {{addresses: ['::']}}\n"
        f"customers: [{{name: 123, key: {digits}}}]\ndestinations: {{server_mptcp: off}}\n",
        "hag.yaml",
    )
    assert isinstance(intent, HagIntent)
    assert intent.customers[0].key == bytes.fromhex(digits)
    assert intent.customers[0].name == "123"
    assert intent.destinations.server_mptcp == "off"


def test_a_wrong_key_is_never_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        load(CPE.replace(KEY, KEY[:-1]), "cpe.yaml")
    assert KEY[:20] not in str(refused.value)


def test_an_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_file(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_file(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "bps"),
    [("16 Mbit/s", 16e6), ("1.5Gbit/s", 1.5e9), ("512 kbit/s", 512e3), ("64000", 64e3), ("64000 bit/s", 64e3)],
)
def test_rates(text: str, bps: float) -> None:
    assert parse_rate(text) == bps


@pytest.mark.parametrize(
    ("text", "seconds"), [("900 s", 900), ("500ms", 0.5), ("2 h", 7200), ("15 min", 900), ("7", 7)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.text(alphabet=string.printable, max_size=70) | st.text(max_size=70))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_rate, parse_duration, parse_prefix, parse_ports, parse_key, parse_truth):
        with contextlib.suppress(ValueError):
            parse(text)


LINES = st.sampled_from(
    [*CPE.splitlines(), "  - x", "a: &b c", "\tx", "]", "rules:", "pool: {idle: 3}", "? x", "- -", "uplinks: {}"]
)


@given(st.lists(LINES | st.text(max_size=12), max_size=14))
def test_any_file_is_loaded_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        load("version: 1\nrole: cpe\n" + "\n".join(lines), "cpe.yaml")


@given(st.integers(0, len(CPE)), st.text(max_size=3))
def test_a_file_with_one_place_damaged_is_loaded_or_refused(at: int, put: str) -> None:
    with contextlib.suppress(ConfigError):
        load(CPE[:at] + put + CPE[at + 1 :], "cpe.yaml")


def test_a_customer_of_the_file_has_limits_and_destinations_of_its_own() -> None:
    entry = (
        f"{{name: home, key: {KEY}, allow: [10.1.0.0/16], deny: [203.0.113.0/24],"
        " limits: {connections: 9, connects_per_s: 8, pending: 7, rate_down: 6 Mbit/s, rate_up: 5 Mbit/s}}"
    )
    intent = load(f"version: 1\nrole: hag\nlisten: {{addresses: ['::']}}\ncustomers:\n  - {entry}\n", "hag.yaml")
    assert isinstance(intent, HagIntent)
    (home,) = intent.customers
    assert home.limits == CustomerLimits(9, 8, 7, 6_000_000, 5_000_000)
    assert (home.allow, home.deny) == ((ip_network("10.1.0.0/16"),), (ip_network("203.0.113.0/24"),))


@pytest.mark.parametrize(
    ("text", "bound"),
    [("", "auto"), ("cookies: {}", "auto"), ("cookies: {bind: auto}", "auto"), ("cookies: {bind: yes}", "on"),
     ("cookies: {bind: true}", "on"), ("cookies: {bind: off}", "off"), ("cookies: {bind: false}", "off")],
)  # fmt: skip
def test_cookies_are_bound_where_that_can_be_proved_unless_said_otherwise(text: str, bound: str) -> None:
    intent = load(f"version: 1\nrole: hag\nlisten: {{addresses: ['::']}}\n{text}\n", "hag.yaml")
    assert isinstance(intent, HagIntent)
    assert intent.bind_cookies == bound


def test_another_word_for_binding_is_said_to_be_wrong() -> None:
    with pytest.raises(ConfigError) as refused:
        load("version: 1\nrole: hag\nlisten: {addresses: ['::']}\ncookies: {bind: sometimes}\n", "hag.yaml")
    assert str(refused.value) == "hag.yaml:4: cookies.bind: true, false or auto is wanted, not 'sometimes'"
