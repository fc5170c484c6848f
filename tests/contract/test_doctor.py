"""What the examination sees on a real kernel: features by trying, rivals as they are, nothing left behind."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from namespaces import Namespace, link
from routers import INTENT

from hagw.doctor.check_kernel import FEATURES
from hagw.doctor.check_rivals import findings
from hagw.doctor.look_rivals import RivalLooker
from hagw.doctor.ping import largest_packet
from hagw.doctor.trial import TRIALS
from hagw.kernel.rules import read_rules
from hagw.model.finding import Finding

pytestmark = pytest.mark.netns

LAN_ONLY = "iifname lan0 accept;"


def seen(box: Namespace) -> dict[str, Finding]:
    """Return what is found in a namespace, by id."""
    with box.entered():
        return {finding.id: finding for finding in findings("cpe", RivalLooker().look(INTENT))}


def described(box: Namespace) -> str:
    return "".join(box.run(*command.split()) for command in ("ip rule", "ip -6 rule", "ip route", "nft list ruleset"))


@contextmanager
def running(box: Namespace, name: str, directory: Path) -> Iterator[None]:
    """Run a program of that name in the namespace; it does nothing."""
    program = directory / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with box.entered():
        process = subprocess.Popen([str(program), "60"])
    try:
        deadline = time.monotonic() + 20
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != name[:15]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield
    finally:
        process.kill()
        process.wait()


def test_this_kernel_passes_every_trial_it_must_and_nothing_stays(namespace: Callable[[str], Namespace]) -> None:
    box = namespace("box")
    before = described(box)
    with box.entered():
        done = subprocess.run([sys.executable, "-m", "hagw.doctor.trial"], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["why_not_tried"] == ""
    assert set(document["lacks"]) == {name for name, _ in TRIALS}
    must = {feature.trial for feature in FEATURES if feature.severity == "problem"}
    assert {name: why for name, why in document["lacks"].items() if why and name in must} == {}
    assert "default" in document["schedulers"]
    assert described(box) == before


def test_an_empty_namespace_has_no_rivals(namespace: Callable[[str], Namespace]) -> None:
    assert {name for name in seen(namespace("box")) if name != "rival.sysctl"} == set()


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("mptcpd", "rival.mptcpd"),
        ("NetworkManager", "rival.networkmanager"),
        ("systemd-networkd", "rival.networkd"),
        ("firewalld", "rival.firewalld"),
        ("dockerd", "rival.docker"),
        ("glorytun", "rival.openmptcprouter"),
    ],
)
def test_a_program_counts_in_its_own_namespace_alone(
    namespace: Callable[[str], Namespace], tmp_path: Path, name: str, finding: str
) -> None:
    box, other = namespace("box"), namespace("other")
    with running(box, name, tmp_path):
        assert finding in seen(box)
        assert finding not in seen(other)


def test_a_rule_added_without_priority_comes_before_ours_and_is_named(namespace: Callable[[str], Namespace]) -> None:
    box = namespace("box")
    box.ip("rule add fwmark 0x1000000/0x3f000000 lookup 5190 priority 5100 protocol 104")
    assert "rival.rule" not in seen(box)
    box.ip("rule add fwmark 0xca6c lookup 51820")
    found = seen(box)["rival.rule"]
    assert found.severity == "warning"
    assert "5099: fwmark 0xca6c lookup 51820" in found.found  # the kernel took the one before the first


def test_rules_are_read_as_iproute_shows_them(namespace: Callable[[str], Namespace]) -> None:
    box = namespace("box")
    rule4, rule6 = "from 10.0.0.0/8 to 192.0.2.1 iif lo lookup 7", "to 2001:db8::/32 oif lo lookup 8"
    box.run("ip", "rule", "add", *rule4.split(), "priority", "77")
    box.run("ip", "-6", "rule", "add", *rule6.split(), "priority", "78")
    with box.entered():
        rules = {rule.priority: rule for rule in read_rules()}
    assert str(rules[77]) == "77: from 10.0.0.0/8 to 192.0.2.1/32 iif lo lookup 7"
    assert (str(rules[78]), rules[78].family) == ("78: to 2001:db8::/32 oif lo lookup 8", 6)


@pytest.mark.parametrize(
    ("ruleset", "finding"),
    [
        ("chain c { type filter hook input priority 0; policy drop; tcp dport 22 accept; }", "rival.input-filter"),
        ("chain c { type filter hook input priority 0; counter reject; }", "rival.input-filter"),
        ("chain c { type filter hook forward priority 0; policy drop; }", "rival.forward-filter"),
        (
            "chain c { type filter hook prerouting priority -150; ip protocol tcp tproxy ip to :99; }",
            "rival.tproxy",
        ),
    ],
)
def test_filters_and_proxies_of_others_are_found(
    namespace: Callable[[str], Namespace], ruleset: str, finding: str
) -> None:
    box = namespace("box")
    box.run("nft", f"table inet theirs {{ {ruleset}; }}")
    assert seen(box)[finding].severity == "problem"
    assert finding in seen(box)


def test_the_rule_from_the_advice_settles_an_input_filter(namespace: Callable[[str], Namespace]) -> None:
    box = namespace("box")
    box.run("nft", "table inet theirs { chain c { type filter hook input priority 0; policy drop; }; }")
    advice = seen(box)["rival.input-filter"].act.split("`")[1]
    box.run("nft", f"add rule inet theirs c {advice}")
    assert "rival.input-filter" not in seen(box)


def test_a_forward_filter_that_lets_the_lan_pass_is_fine(namespace: Callable[[str], Namespace]) -> None:
    box = namespace("box")
    box.run(
        "nft", f"table inet theirs {{ chain c {{ type filter hook forward priority 0; policy drop; {LAN_ONLY} }}; }}"
    )
    assert "rival.forward-filter" not in seen(box)


@pytest.mark.parametrize(("source", "destination"), [("10.1.0.2", "10.1.0.1"), ("fd01::2", "fd01::1")])
def test_the_largest_packet_that_passes_is_measured(
    namespace: Callable[[str], Namespace], source: str, destination: str
) -> None:
    near, far = namespace("near"), namespace("far")
    link(near, "dsl0", far, "isp0")
    near.ip("address add 10.1.0.2/24 dev dsl0", "address add fd01::2/64 dev dsl0 nodad")
    far.ip("address add 10.1.0.1/24 dev isp0", "address add fd01::1/64 dev isp0 nodad")
    ends = ip_address(source), ip_address(destination)
    with near.entered():
        assert largest_packet("dsl0", *ends, 1500) == 1500
        far.ip("link set isp0 mtu 1420")  # what is larger is dropped on arrival, without a word
        assert largest_packet("dsl0", *ends, 1500) in range(1420, 1425)  # veth allows for a VLAN tag
        far.run("nft", "table inet t { chain c { type filter hook input priority 0; policy drop; }; }")
        assert largest_packet("dsl0", *ends, 1500) is None
