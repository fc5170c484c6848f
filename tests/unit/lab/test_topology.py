"""Topologies and presets as data, and what is said about wrong ones."""

from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from hagw.config.load import load
from hagw.errors import ConfigError
from hagw.lab.build import interface_commands
from hagw.lab.gateway import config_texts
from hagw.lab.topology import load_preset, load_topology, preset_names

SMALL = """\
version: 1
nodes:
  a:
    interfaces: {eth0: {addresses: [10.0.0.1/24]}}
    routes: [{to: default, via: 10.0.0.2, metric: 7}]
  b:
    interfaces: {br0: {bridge: [one, two], addresses: [10.0.0.2/24]}}
  c: {interfaces: {eth0: {}}}
wires:
  - [a/eth0, b/one]
links:
  line: {near: b/two, far: c/eth0, delay: 3ms}
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "topology.yaml"
    file.write_text(dedent(text))
    return file


def test_the_built_in_topology_has_the_nodes_and_links_everybody_scripts_against() -> None:
    topology = load_topology()
    assert [node.name for node in topology.visible()] == [
        "lan1", "lan2", "cpe", "isp-dsl", "isp-lte", "isp-wifi", "hag", "inet",
    ]  # fmt: skip
    assert list(topology.links) == ["dsl", "lte", "wifi", "inet"]
    assert [link.near for link in topology.links.values()][:3] == [("cpe", "dsl0"), ("cpe", "lte0"), ("cpe", "wifi0")]
    addresses = {str(address.ip) for address in topology.nodes["inet"].addresses}
    assert addresses == {"203.0.113.10", "203.0.113.20", "2001:db8:113::10", "2001:db8:113::20"}


@pytest.mark.parametrize(
    ("preset", "dsl", "lte", "wifi"),
    [
        ("demo", (16e6, 5e6, 12.0), (50e6, 20e6, 25.0), (20e6, 20e6, 8.0)),
        ("adsl", (16e6, 1e6, 12.0), (50e6, 20e6, 25.0), (20e6, 20e6, 8.0)),
    ],
)
def test_presets_have_the_agreed_rates(preset: str, dsl: object, lte: object, wifi: object) -> None:
    links = load_topology(preset=preset).links
    seen = [(s.rate_down_bps, s.rate_up_bps, s.delay_ms) for s in (links[n].state for n in ("dsl", "lte", "wifi"))]
    assert seen == [dsl, lte, wifi]
    assert links["inet"].state.delay_ms == 10.0


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_about_links_of_the_built_in_topology(preset: str) -> None:
    assert set(load_preset(preset)) <= set(load_topology().links)
    load_topology(preset=preset)


def test_every_address_is_given_once() -> None:
    addresses = [str(address.ip) for node in load_topology().nodes.values() for address in node.addresses]
    assert len(addresses) == len(set(addresses))


def test_both_ends_get_the_same_fresh_key() -> None:
    texts = config_texts(load_topology(), {})
    cpe, hag = yaml.safe_load(texts["cpe"]), yaml.safe_load(texts["hag"])
    key = cpe["gateways"][0]["key"]
    assert len(bytes.fromhex(key)) == 32
    assert hag["customers"][0]["key"] == key
    assert config_texts(load_topology(), {})["cpe"] != texts["cpe"]


def test_a_given_configuration_passes_its_key_to_the_other_end(tmp_path: Path) -> None:
    own = tmp_path / "cpe.yaml"
    own.write_text(config_texts(load_topology(), {})["cpe"].replace("name: hag", "name: mine"))
    texts = config_texts(load_topology(), {"cpe": own})
    assert texts["cpe"] == own.read_text()
    key = yaml.safe_load(texts["cpe"])["gateways"][0]["key"]
    assert yaml.safe_load(texts["hag"])["customers"][0]["key"] == key


@pytest.mark.parametrize("node", ["cpe", "hag"])
def test_generated_configurations_are_valid(node: str) -> None:
    load(config_texts(load_topology(), {})[node], node)


def test_a_configuration_hagw_refuses_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "cpe.yaml"
    wrong.write_text("version: 1\nrole: cpe\n")
    with pytest.raises(ConfigError, match=r"cpe\.yaml"):
        config_texts(load_topology(), {"cpe": wrong})


def test_a_configuration_for_a_node_without_hagw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lan1.*cpe, hag"):
        config_texts(load_topology(), {"lan1": tmp_path / "x.yaml"})


def test_an_own_topology_is_read(tmp_path: Path) -> None:
    topology = load_topology(written(tmp_path, SMALL))
    assert topology.links["line"].state.delay_ms == 3.0
    assert interface_commands(topology.nodes["a"]) == [
        "link set lo up",
        "address add 10.0.0.1/24 dev eth0",
        "link set eth0 up",
        "route add default via 10.0.0.2 metric 7",
    ]
    assert interface_commands(topology.nodes["b"])[1:4] == [
        "link add br0 type bridge forward_delay 0 mcast_snooping 0",
        "link set one master br0 up",
        "link set two master br0 up",
    ]


@pytest.mark.parametrize(
    ("before", "after", "blame"),
    [
        ("version: 1", "version: 2", "version"),
        ("wires:", "cables:", "cables"),
        ("10.0.0.1/24", "10.0.0.300/24", r"nodes\.a\.interfaces\.eth0\.addresses"),
        ("via: 10.0.0.2", "over: 10.0.0.2", r"nodes\.a\.routes\.over"),
        ("a/eth0", "d/eth0", "no node 'd'"),
        ("a/eth0", "b/two", "used twice"),
        ("[one, two]", "[one, two, three]", "b/three has no cable"),
        ("delay: 3ms", "delay: soon", r"links\.line: delay 'soon'"),
        ("near: b/two, ", "", r"links\.line: needs 'near'"),
        ("c: {interfaces", "c: {services: [mail], interfaces", "unknown service 'mail'"),
        ("version: 1", "version: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, before: str, after: str, blame: str) -> None:
    assert before in SMALL
    with pytest.raises(ConfigError, match=blame):
        load_topology(written(tmp_path, SMALL.replace(before, after)))


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="adsl, demo"):
        load_topology(preset="fibre")
