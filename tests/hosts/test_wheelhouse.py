"""A machine that reaches no archive and has no package of its own: wheels, which the playbook brings.

Then its first start anew, of which nobody comes back: the machine is without hagw again.
"""

import shutil

import pytest
from build import build_wheel, fetched_wheels, own_version
from host import Host, Site
from playing import CONFIRM_S, Operator


@pytest.fixture(scope="module")
def site(made: list[Site]) -> Site:
    site = Site("wheels", {"hag": "bookworm", "cpe": "bookworm"})
    made.append(site)
    site.lab.link("dsl", rate_down=200e6, rate_up=200e6)
    site.boot()
    return site


@pytest.fixture(scope="module")
def operator(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    house = tmp_path_factory.mktemp("house") / "wheelhouse"
    shutil.copytree(fetched_wheels("bookworm"), house)
    shutil.copy(build_wheel(tmp_path_factory.mktemp("wheel"), own_version()), house)
    groups = {"hagw_hag": {"hag": {}}}
    return Operator(site, groups, hagw_base_install="wheel", hagw_base_wheelhouse=str(house))


def test_a_hag_is_installed_from_wheels_and_a_second_run_changes_nothing(site: Site, operator: Operator) -> None:
    played = operator.play()
    assert played.code == 0, played.text
    hag: Host = site.hosts["hag"]
    assert hag.output("hagw", "status").startswith("hagw")
    assert hag.show("hagw.service", "ActiveState") == "active"
    again = operator.play()
    assert again.code == 0, again.text
    assert again.changed == {"hag": 0}, again.text


CUT = """until systemctl is-active --quiet hagw.service; do sleep 0.05; done
nft add table inet cut
nft 'add chain inet cut i { type filter hook input priority 9; }'
nft add rule inet cut i tcp dport 22 ct state new drop
"""


def test_a_first_start_that_cuts_itself_off_is_taken_back(site: Site, operator: Operator) -> None:
    """Once hagw has started, nobody gets in by SSH any more; the open connection lives on."""
    hag: Host = site.hosts["hag"]
    hag.run("systemctl", "disable", "--now", "hagw.service")
    hag.run("rm", "/etc/hagw/hagw.yaml")
    cut = hag.popen("/bin/sh", "-c", CUT)
    try:
        played = operator.play("--timeout=10")
        assert played.code != 0, played.text
        assert "Come in anew" in played.text
        hag.wait_for(lambda: (hag.root / "etc/hagw/hagw.yaml.taken-back").exists(), "is taken back", CONFIRM_S + 30)
    finally:
        cut.kill()
        cut.communicate()
        hag.run("nft delete table inet cut", check=False)
    assert hag.show("hagw.service", "ActiveState") == "inactive"
    assert hag.show("hagw.service", "UnitFileState") == "disabled"
    assert not (hag.root / "etc/hagw/hagw.yaml").exists()
    assert site.ssh("hag", "true").returncode == 0
    again = operator.play()  # nothing of that is in the way of the next one
    assert again.code == 0, again.text
