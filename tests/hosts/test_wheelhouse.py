"""A machine that reaches no archive and has no package of its own: wheels, which the playbook brings."""

import shutil

import pytest
from build import build_wheel, fetched_wheels, own_version
from host import Host, Site
from playing import Operator


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
