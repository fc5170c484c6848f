"""The Ansible playbook against real systems, over SSH: from fresh hosts to bonded, and whatever should stop it.

The tests go on from each other: first those that must change nothing on fresh hosts, then what sets them up.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
from host import Host, Site, download, speed
from packages import package
from playing import CONFIRM_S, Operator, Played

from hagw import __version__

POOL: Final = Path(__file__).with_name("pool.yaml")
NEWER: Final = f"{__version__}.post1"
FRESH_TO_BONDED_S: Final = 180
SUM_OF_LINES_BPS: Final = 86e6  # of the preset `demo`
CPE_ALONE: Final = ("--limit", "cpe")
SECRET: Final = "5d0b7c9e1f3a2846b8d0c2e4f6a81937294b6d8fe0a1c3b5d7f90e2c4a6b8d1f"
HAGS: Final = {
    "hag": ["198.51.100.10", "2001:db8:100::10"],
    "hag2": ["198.51.101.10", "2001:db8:101::10"],
}
CPE_CONFIG: Final[dict[str, Any]] = {
    "lan": {"interfaces": ["lan0"]},
    "uplinks": [
        {"name": "dsl", "kind": "dsl", "interface": "dsl0"},
        {"name": "lte", "kind": "wwan", "interface": "lte0"},
        {"name": "wifi", "kind": "wifi", "interface": "wifi0"},
    ],
    "gateways": [{"name": name, "addresses": addresses} for name, addresses in HAGS.items()],
}
# What a kernel without Multipath TCP says to socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), by a filter of system calls.
WITHOUT_MPTCP: Final = """#!/usr/bin/python3
import ctypes, errno, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPROTONOSUPPORT
SOCKET = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, SOCKET), (LOAD, 0, 0, 32), (EQUAL, 0, 1, 262)]
steps += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that the operator has."""
    place = tmp_path_factory.mktemp("packages")
    for suite in ("bookworm", "trixie"):
        shutil.copy(package(suite), place)
    return place


@pytest.fixture(scope="module")
def site(made: list[Site]) -> Site:
    """A CPE on Debian 12 and HAGs on 13; in test_installed it is the other way round."""
    site = Site("play", {"cpe": "bookworm", "hag": "trixie", "hag2": "trixie", "inet": "bookworm"}, topology=POOL)
    made.append(site)
    site.boot()
    return site


@pytest.fixture(scope="module")
def operator(site: Site, packages: Path) -> Operator:
    cpe = {
        "hagw_cpe_enrol": [{"gateway": name, "at": name} for name in HAGS],
        "hagw_cpe_config": CPE_CONFIG,
    }
    groups = {"hagw_hag": {name: {} for name in HAGS}, "hagw_cpe": {"cpe": cpe}}
    return Operator(site, groups, hagw_base_debs=[f"{packages}/hagw_*+{{suite}}_{{arch}}.deb"])


@pytest.fixture
def cpe(site: Site) -> Host:
    return site.hosts["cpe"]


@pytest.fixture
def quick_way(site: Site) -> Iterator[None]:
    """The operator's way to the HAGs leads over the CPE's DSL line, which would need half a minute for a package."""
    with site.lab.links_restored():
        site.lab.link("dsl", rate_down=200e6, rate_up=200e6)
        yield


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the CPE's configuration with one more key."""
    return {"hagw_cpe_config": {**deepcopy(CPE_CONFIG), path: value}}


def status(cpe: Host) -> dict[str, Any]:
    """Return the CPE's status document."""
    document: dict[str, Any] = json.loads(cpe.output("hagw", "status", "--json"))
    return document


# -- what stops before anything is changed


def assert_untouched(site: Site, played: Played, *words: str) -> None:
    assert played.code != 0, played.text
    told = " ".join(played.text.split())
    for each in words:
        assert each in told, played.text
    assert "changed" in told.lower()
    assert set(played.changed.values()) == {0}, played.text
    for name in ("cpe", *HAGS):
        found = site.hosts[name].run("ls -d /etc/hagw /var/cache/hagw /opt/hagw /usr/bin/hagw", check=False)
        assert found.stdout == "", name


def test_an_unsupported_distribution_stops_the_run(site: Site, operator: Operator, cpe: Host) -> None:
    release = cpe.root / "etc/os-release"
    before = (cpe.root / "usr/lib/os-release").read_text()
    kept = (cpe.root / "etc/debian_version").read_text()
    release.unlink()
    release.write_text(re.sub('VERSION_ID="[0-9]+"', 'VERSION_ID="11"', before))
    (cpe.root / "etc/debian_version").write_text("11.9\n")
    try:
        played = operator.play()
    finally:
        release.unlink()
        release.symlink_to("../usr/lib/os-release")
        (cpe.root / "etc/debian_version").write_text(kept)
    assert_untouched(
        site, played, "Debian 11.9 is not supported; nothing was changed", "Install Debian 12 or 13 on cpe"
    )


def test_a_kernel_without_multipath_tcp_stops_the_run(site: Site, operator: Operator, cpe: Host) -> None:
    cpe.write("usr/local/bin/python-without-mptcp", WITHOUT_MPTCP, 0o755)
    played = operator.play(ansible_python_interpreter="/usr/local/bin/python-without-mptcp")
    assert_untouched(site, played, "has no Multipath TCP. Boot one that has: Linux 6.1 or later", "Nothing was changed")


def test_a_missing_secret_stops_the_run(site: Site, operator: Operator) -> None:
    gateways = [{"name": "hag", "addresses": HAGS["hag"], "customer": "cpe", "key": "{{ vault_hagw_key }}"}]
    played = operator.play(**changed("gateways", gateways))
    assert_untouched(site, played, "not defined: 'vault_hagw_key'", "Secrets belong into a vault: `ansible-vault edit")


def test_a_key_that_is_none_stops_the_run_and_is_not_shown(site: Site, operator: Operator) -> None:
    gateways = [{"name": "hag", "addresses": HAGS["hag"], "customer": "cpe", "key": "not-long-enough"}]
    played = operator.play("-vvv", **changed("gateways", gateways))
    assert_untouched(site, played, "These keys cannot be used, of hag:", "openssl rand -hex 32")
    assert "not-long-enough" not in played.text


def test_an_enrolment_at_nobody_stops_the_run(site: Site, operator: Operator) -> None:
    played = operator.play(hagw_cpe_enrol=[{"gateway": "hag", "at": "hag9"}])
    assert_untouched(site, played, "hagw_cpe_enrol of cpe names hag9, which is not there; nothing was changed")


def test_an_unreachable_hag_stops_the_run(site: Site, operator: Operator) -> None:
    gateways = [{"name": "hag", "addresses": ["203.0.113.99"]}]
    played = operator.play(**changed("gateways", gateways))
    assert_untouched(
        site, played, "The HAG hag is not reachable at port 5124 (203.0.113.99: ", "check address, routes and"
    )


def test_a_package_that_is_not_there_stops_the_run(site: Site, operator: Operator) -> None:
    played = operator.play(hagw_base_debs=["/nowhere/hagw_{suite}.deb"])
    assert_untouched(
        site, played, "Not found on the machine that runs Ansible", "/nowhere/hagw_bookworm.deb", "build.py bookworm"
    )


def test_check_mode_tells_and_does_nothing(site: Site, operator: Operator) -> None:
    played = operator.play("--check", "--diff")
    assert played.code == 0, played.text
    assert all(played.changed.values()), played.text
    assert "+role: cpe" in played.text
    for name in ("cpe", *HAGS):
        assert site.hosts[name].run("ls -d /etc/hagw /var/cache/hagw /usr/bin/hagw", check=False).stdout == ""


# -- what sets them up


def test_fresh_hosts_are_bonded_in_less_than_three_minutes(
    site: Site, operator: Operator, cpe: Host, quick_way: None
) -> None:
    played = operator.play()
    assert played.code == 0, played.text
    # a run ends well as soon as connections are carried; the last line may still wait for its first answer
    took_s = played.took_s + cpe.wait_for(lambda: status(cpe)["state"] == "bonded", "is bonded")
    assert took_s < FRESH_TO_BONDED_S
    print(f"fresh hosts to bonded: {took_s:.1f} s")


def test_a_lan_client_s_download_then_uses_every_line(site: Site) -> None:
    done = site.lab.run("lan1", list(download("http://203.0.113.10/20M.bin")), capture_output=True, text=True)
    assert speed(done) > 0.75 * SUM_OF_LINES_BPS, done.stderr


def test_a_second_run_changes_nothing(operator: Operator, cpe: Host) -> None:
    generation = status(cpe)["config_generation"]
    played = operator.play("--diff")
    assert played.code == 0, played.text
    assert set(played.changed.values()) == {0}, played.text
    assert "+++" not in played.text
    assert status(cpe)["config_generation"] == generation
    print(f"second run: {played.took_s:.1f} s")


def test_a_change_is_told_by_check_mode_and_then_confirmed(operator: Operator, cpe: Host) -> None:
    generation = status(cpe)["config_generation"]
    change = changed("bypass", ["192.0.2.0/24"])
    asked = operator.play("--check", "--diff", *CPE_ALONE, **change)
    assert asked.changed == {"cpe": 1}, asked.text
    assert "+bypass:" in asked.text
    assert status(cpe)["config_generation"] == generation
    played = operator.play("--diff", *CPE_ALONE, **change)
    assert played.code == 0, played.text
    found = status(cpe)
    assert found["config_generation"] == generation + 1
    assert found["pending_confirm_s"] is None
    assert not found["config_file_differs"]


def test_a_change_that_hagw_refuses_or_takes_back_leaves_everything_as_it_was(operator: Operator, cpe: Host) -> None:
    before = status(cpe)["config_generation"]
    file = cpe.output("cat", "/etc/hagw/hagw.yaml")
    uplinks = [{"name": "dsl", "kind": "dsl", "interface": "dsl9"}]
    played = operator.play(*CPE_ALONE, **changed("uplinks", uplinks))
    assert played.code != 0
    assert "hagw refused the configuration, or took it back" in " ".join(played.text.split()), played.text
    assert status(cpe)["config_generation"] == before
    cpe.wait_for(lambda: status(cpe)["state"] == "bonded", "is bonded")
    assert cpe.output("cat", "/etc/hagw/hagw.yaml") == file


CUT = """
import subprocess, time
from hagw.cli.client import get
from hagw.control.places import api_socket
print("watching", flush=True)
while get(api_socket(), "/status")["pending_confirm_s"] is None:
    time.sleep(0.02)
cut = "add table inet cut; add chain inet cut i { type filter hook input priority 9; }; "
subprocess.run(["nft", cut + "add rule inet cut i tcp dport 22 ct state new drop"], check=True)
"""


def test_a_run_that_cuts_itself_off_is_taken_back(site: Site, operator: Operator, cpe: Host) -> None:
    """Once the change waits for its confirmation, nobody gets in by SSH any more; the open connection lives on."""
    before = status(cpe)["config_generation"]
    cut = cpe.popen("/opt/hagw/bin/python", "-P", "-c", CUT, stdout=subprocess.PIPE)
    try:
        assert cut.stdout is not None
        assert cut.stdout.readline() == "watching\n"
        played = operator.play("--timeout=10", *CPE_ALONE, **changed("bypass", ["198.18.77.0/24"]))
        assert played.code != 0, played.text
        assert "Come in anew" in played.text
        cpe.wait_for(lambda: status(cpe)["pending_confirm_s"] is None, "is taken back", CONFIRM_S + 5)
        assert status(cpe)["config_generation"] == before
        assert "198.18.77.0" not in cpe.output("cat", "/etc/hagw/hagw.yaml")
    finally:
        cut.kill()
        cut.communicate()
        cpe.run("nft delete table inet cut", check=False)
    assert site.ssh("cpe", "true").returncode == 0


def test_a_pool_of_hags_is_upgraded_one_after_the_other_and_nobody_notices(
    site: Site, operator: Operator, packages: Path, quick_way: None
) -> None:
    for old in packages.glob("*+trixie_*"):
        old.unlink()
    shutil.copy(package("trixie", NEWER), packages)
    ended = threading.Event()
    failures: list[str] = []
    client = threading.Thread(target=_download_until, args=(site, ended, failures))
    client.start()
    try:
        played = operator.play()
    finally:
        ended.set()
        client.join()
    assert played.code == 0, played.text
    assert failures == []
    drained = []
    for name in HAGS:
        assert NEWER in site.hosts[name].output("hagw", "version")
        lines = site.hosts[name].output("journalctl", "-u", "hagw", "-o", "short-unix", "--no-pager").splitlines()
        begin, end = (
            float(next(x for x in lines if words in x).split()[0]) for words in ("draining", "taking new flows")
        )
        drained.append((begin, end))
    (first, second) = sorted(drained)
    assert first[1] < second[0], "both were drained at a time"


def _download_until(site: Site, ended: threading.Event, failures: list[str]) -> None:
    while not ended.is_set():
        command = list(download("http://203.0.113.10/1M.bin", limit_s=20))
        done = site.lab.run("lan1", command, capture_output=True, text=True)
        if done.returncode != 0:
            failures.append(done.stderr)
        time.sleep(0.3)


def test_no_secret_is_told_or_logged(operator: Operator, cpe: Host) -> None:
    """A gateway with a key of its own: the run that brings it shows only that it changes."""
    gateways = [
        *CPE_CONFIG["gateways"],
        {"name": "third", "addresses": ["203.0.113.10"], "customer": "x", "key": SECRET},
    ]
    played = operator.play("-vvv", "--check", "--diff", *CPE_ALONE, **changed("gateways", gateways))
    assert "third" in played.text
    assert SECRET not in played.text
    assert SECRET not in cpe.output("journalctl", "--no-pager")
