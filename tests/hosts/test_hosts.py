"""The hosts themselves: real systems of either release, wired by the lab, that boot, reboot and lose their power."""

from collections.abc import Iterator

import pytest
from host import Host, Site, download


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site("hosts", {"cpe": "trixie", "hag": "bookworm", "lan1": "bookworm", "inet": "trixie"})
    try:
        site.boot()
        yield site
    finally:
        site.close()


@pytest.mark.parametrize("name", ["cpe", "hag", "lan1", "inet"])
def test_a_host_is_a_debian_system_with_all_its_units_up(site: Site, name: str) -> None:
    host = site.hosts[name]
    assert f"VERSION_CODENAME={host.suite}" in host.output("cat", "/etc/os-release")
    assert host.output("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""


def test_an_operator_reaches_every_host_over_ssh(site: Site) -> None:
    for name in site.hosts:
        done = site.ssh(name, "hostname")
        assert done.stdout.strip() == name, done.stderr


def test_the_lans_traffic_crosses_the_lab_s_links_without_hagw(site: Site) -> None:
    done = site.hosts["lan1"].run(*download("http://203.0.113.10/1M.bin"))
    assert 1e6 < float(done.stdout) * 8 < 16e6  # the DSL line's rate


def test_a_reboot_leaves_nothing_in_the_network_but_what_the_host_configures(site: Site) -> None:
    cpe = site.hosts["cpe"]
    _leave_traces(cpe)
    cpe.reboot()
    assert "hagw" not in cpe.output("nft", "list", "tables")
    assert "lab-base" in cpe.output("nft", "list", "tables")
    assert "7777" not in cpe.output("sysctl", "net.ipv4.tcp_keepalive_time")
    assert cpe.output("ip", "mptcp", "endpoint") == ""
    site.hosts["lan1"].run(*download("http://203.0.113.10/1M.bin"))


def test_a_host_whose_power_was_cut_boots_again_with_what_was_on_its_disk(site: Site) -> None:
    hag = site.hosts["hag"]
    hag.run("echo kept > /root/kept; sync")
    hag.cut_power()
    hag.boot()
    assert hag.output("cat", "/root/kept") == "kept"


def _leave_traces(host: Host) -> None:
    host.run("nft add table inet hagw")
    host.run("sysctl net.ipv4.tcp_keepalive_time=7777")
    host.run("ip mptcp endpoint add 192.0.2.1 id 7")
