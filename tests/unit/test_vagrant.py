"""The virtual machines: they are the lab's network, provisioned by the product's own playbook."""

import ast
import importlib.util
import json
import re
import shlex
import subprocess
from collections import defaultdict
from types import ModuleType
from typing import Any

import pytest
import yaml

from hagw.config.load import load
from hagw.lab.topology import Topology, load_topology
from tests.unit import docs

VAGRANT = docs.ROOT / "vagrant"
MACHINES: dict[str, Any] = yaml.safe_load((VAGRANT / "machines.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def asked() -> dict[str, Any]:
    """What the Vagrantfile asks Vagrant for."""
    recorder = docs.ROOT / "tests/unit/vagrant_recorder.rb"
    done = subprocess.run(["ruby", recorder, VAGRANT / "Vagrantfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_topology(None, "demo")


def machines(asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["words"][0]: each["inner"] for each in asked["define"]}


def descriptions(asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is written to each machine's disk about the nodes it is."""
    found = {}
    for name, machine in machines(asked).items():
        (script,) = [each["options"]["inline"] for each in machine["provision"] if each["words"] == ["shell"]]
        found[name] = json.loads(re.search(r"^\{.*\}$", script, re.MULTILINE)[0])  # type: ignore[index]  # one line
    return found


def test_every_cable_between_two_machines_is_one_network(asked: dict[str, Any], topology: Topology) -> None:
    home = {node: name for name, machine in MACHINES["machines"].items() for node in machine["nodes"]}
    cables = [*topology.wires, *((link.near, link.far) for link in topology.links.values())]
    wanted = {
        frozenset(cable)
        for cable in cables
        if not {node for node, _ in cable} & set(MACHINES["absent"]) and len({home[node] for node, _ in cable}) == 2
    }
    ends = defaultdict(set)
    for name, machine in machines(asked).items():
        cards = {card["mac"]: card for card in descriptions(asked)[name]["cards"]}
        for network in machine["network"]:
            options = network["options"]
            card = cards[options["libvirt__mac"]]
            assert options["virtualbox__intnet"] == options["libvirt__network_name"]
            ends[options["libvirt__network_name"]].add((card["node"], card["interface"]))
    assert {frozenset(both) for both in ends.values()} == wanted
    assert len(ends) == len(wanted)


def test_every_node_has_a_machine_or_is_said_to_have_none(topology: Topology) -> None:
    home = [node for machine in MACHINES["machines"].values() for node in machine["nodes"]]
    assert sorted([*home, *MACHINES["absent"]]) == sorted(topology.nodes)


def test_addresses_are_those_of_the_lab(asked: dict[str, Any], topology: Topology) -> None:
    for machine in descriptions(asked).values():
        for name, node in machine["nodes"].items():
            told = {i: set(each.get("addresses", ())) for i, each in node["interfaces"].items()}
            assert told == {
                interface.name: {str(address) for address in interface.addresses}
                for interface in topology.nodes[name].interfaces
            }


def test_the_cpe_has_three_lines_and_a_lan(asked: dict[str, Any]) -> None:
    cards = {card["interface"] for card in descriptions(asked)["cpe"]["cards"]}
    assert cards == {"dsl0", "lte0", "wifi0", "lan1"}


def test_cards_are_told_apart_by_addresses_nobody_else_has(asked: dict[str, Any]) -> None:
    macs = [n["options"]["mac"] for machine in machines(asked).values() for n in machine["network"]]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)  # locally administered, unicast


def test_the_product_s_playbook_is_what_provisions(asked: dict[str, Any]) -> None:
    assert asked["no_parallel"]  # the last one's provisioner needs all of them
    *others, last = machines(asked).values()
    assert not [each for machine in others for each in machine["provision"] if each["words"] == ["ansible"]]
    (ansible,) = [each["inner"] for each in last["provision"] if each["words"] == ["ansible"]]
    (playbook,) = ansible["playbook"][0]["words"]
    assert playbook == str(docs.ROOT / "ansible/site.yml")
    (groups,) = ansible["groups"][0]["words"]
    assert groups == {"hagw_hag": ["hag"], "hagw_cpe": ["cpe"]}


def test_machines_without_kvm_have_time(asked: dict[str, Any]) -> None:
    ((boot_timeout_s,),) = [each["words"] for each in asked["boot_timeout"]]
    assert boot_timeout_s >= 1500
    last = list(machines(asked).values())[-1]
    (ansible,) = [each["inner"] for each in last["provision"] if each["words"] == ["ansible"]]
    ((arguments,),) = [each["words"] for each in ansible["raw_arguments"]]
    assert "--timeout=120" in arguments
    ((variables,),) = [each["words"] for each in ansible["extra_vars"]]
    assert variables["hagw_base_confirm_within"] >= 300


def in_inventory(value: str) -> Any:
    """Return what Ansible reads of a variable in the inventory that Vagrant writes: words of a shell, then literals."""
    (word,) = shlex.split(f"name={value}", comments=True)
    return ast.literal_eval(word.removeprefix("name="))


def test_the_cpe_enrols_at_the_lab_s_hag(asked: dict[str, Any]) -> None:
    last = list(machines(asked).values())[-1]
    (ansible,) = [each["inner"] for each in last["provision"] if each["words"] == ["ansible"]]
    (variables,) = ansible["host_vars"][0]["words"]
    assert in_inventory(variables["cpe"]["hagw_cpe_enrol"]) == [{"gateway": "hag", "at": "hag"}]


@pytest.mark.parametrize(("host", "role"), [("cpe", "cpe"), ("hag", "hag")])
def test_configurations_are_the_lab_s_and_accepted(asked: dict[str, Any], host: str, role: str) -> None:
    last = list(machines(asked).values())[-1]
    (ansible,) = [each["inner"] for each in last["provision"] if each["words"] == ["ansible"]]
    (variables,) = ansible["host_vars"][0]["words"]
    config = in_inventory(variables[host][f"hagw_{role}_config"])
    assert "key" not in json.dumps(config)
    load(json.dumps({"version": 1, "role": role, **config}), host)


def test_vagrant_itself_accepts_it() -> None:
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=VAGRANT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- what a machine makes of it


def node_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vagrant_node", VAGRANT / "node.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


node = node_program()


VAGRANTS_OWN = {"52:54:00:a9:b3:cd": "eth0"}


def made_of(asked: dict[str, Any], machine: str) -> list[str]:
    described = descriptions(asked)[machine]
    devices = {card["mac"]: f"ens{number}" for number, card in enumerate(described["cards"], start=4)} | VAGRANTS_OWN
    return [" ".join(command) for command in node.commands(described, devices)]


def test_the_lines_rates_and_delays_are_the_preset_s(asked: dict[str, Any]) -> None:
    made = [command for command in made_of(asked, "wan") if " netem " in command]
    assert "ip netns exec isp-dsl tc qdisc replace dev cpe0 root netem delay 12ms rate 16000kbit limit 217" in made
    assert "ip netns exec isp-dsl tc qdisc replace dev core0 root netem delay 12ms rate 5000kbit limit 68" in made
    assert "ip netns exec core tc qdisc replace dev inet0 root netem delay 10ms limit 10000" in made
    assert len(made) == 7


def test_the_cpe_is_as_hagw_finds_any(asked: dict[str, Any]) -> None:
    made = made_of(asked, "cpe")
    assert not [command for command in made if "netem" in command or "netns" in command]
    assert "ip link set dev ens7 name lan1" in made
    assert "ip link set dev lan1 master lan0" in made
    assert "ip route replace default via 100.64.2.1 dev lte0 metric 300" in made
    assert "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1" in made


@pytest.mark.parametrize(("host", "address"), [("hag", "198.51.100.10/24"), ("lan1", "192.168.77.11/24")])
def test_a_host_whose_card_is_called_like_vagrant_s_leaves_vagrant_s_alone(
    asked: dict[str, Any], host: str, address: str
) -> None:
    made = made_of(asked, host)
    assert "ip link set dev ens4 name lab-eth0" in made
    assert f"ip address replace {address} dev lab-eth0" in made
    assert not [command for command in made if "eth0" in command.split()]


def test_cards_of_a_namespace_that_was_just_removed_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([{}, {"a": "eth1"}, {"a": "eth1", "b": "eth2"}])
    monkeypatch.setattr(node, "devices", lambda: next(seen))
    monkeypatch.setattr(node.time, "sleep", lambda _: None)
    assert node.all_devices({"a", "b"}) == {"a": "eth1", "b": "eth2"}


def test_a_card_that_stays_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "CARDS_TIMEOUT_S", 0)
    monkeypatch.setattr(node, "devices", lambda: {"a": "eth1"})
    with pytest.raises(SystemExit, match="cards are missing: b"):
        node.all_devices({"a", "b"})
