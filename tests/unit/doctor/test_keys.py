"""Gateways are asked with the key that the daemon uses: the configuration's, or the enrolment's."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from hagw.channel.credentials import Credentials, credentials_file, encode_credentials
from hagw.channel.proof import DEVICE_KEY_SIZE
from hagw.doctor.evidence import NOT_ENROLLED, Echo
from hagw.doctor.examine import as_enrolled, judge
from hagw.model.intent import CpeIntent, GatewayIntent
from tests.unit.doctor.scenes import HAG, LINE, WELL

ENROLLED = Credentials("home", b"e" * 32, bytes(DEVICE_KEY_SIZE), bytes(32))


def intent(*gateways: GatewayIntent) -> CpeIntent:
    return CpeIntent(lan_interfaces=("lan0",), uplinks=(), gateways=gateways)


def gateway(name: str, customer: str = "", key: bytes = b"") -> GatewayIntent:
    return GatewayIntent(name, (ip_address(HAG),), 5124, 5124, customer, key)


def enrol(directory: Path, name: str) -> None:
    credentials_file(directory, name).write_text(encode_credentials(ENROLLED), encoding="utf-8")


def test_an_enrolment_s_key_is_used_where_the_configuration_has_none(tmp_path: Path) -> None:
    enrol(tmp_path, "hag")
    (asked,) = as_enrolled(intent(gateway("hag")), tmp_path).gateways
    assert (asked.customer, asked.key) == ("home", ENROLLED.key)


def test_the_configuration_s_key_comes_first_and_another_gateway_s_enrolment_is_no_key(tmp_path: Path) -> None:
    enrol(tmp_path, "own")
    own, other = as_enrolled(intent(gateway("own", "shop", b"k" * 32), gateway("other")), tmp_path).gateways
    assert (own.customer, own.key) == ("shop", b"k" * 32)
    assert other.key == b""


def test_a_cpe_that_has_not_enrolled_is_told_to() -> None:
    line = replace(LINE, echoes=(Echo("hag", HAG, None, NOT_ENROLLED),))
    acts = {finding.id: finding.act for finding in judge(replace(WELL, lines=(line,)))}
    assert acts["gateways"] == acts["line.dsl.echo"]
    assert "hagw enrol" in acts["gateways"]
