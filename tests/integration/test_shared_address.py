"""One customer, one external address with ports of its own; a cookie is good only where its CPE has proved to be."""

import json
import secrets
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from ends import Ends
from plane_lab import Echo, connect, own_lab, until

from hagw.convert import cookie
from hagw.convert.errors import ErrorCode
from hagw.convert.message import decode, encode
from hagw.convert.tlv import Connect, Cookie, Error
from hagw.lab.gateway import node_directory, start_daemon
from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

PORT = 5311
SERVERS = ("203.0.113.10", "203.0.113.20")
SHARED = ("198.51.100.21", "198.51.100.22")
RENEWED_WITHIN_S = 2.0
REBOUND = ("198.18.12.3", "198.18.12.5")  # of TCP, one after the other
REBOUND_UDP = "198.18.12.4"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An enrolled CPE with one line, behind its provider's NAT; a gateway with two addresses to share."""
    with own_lab("shared", hagw=False) as made:
        directory = tmp_path_factory.mktemp("config")
        hag, cpe = (yaml.safe_load(made.config(node)) for node in ("hag", "cpe"))
        hag |= {"egress": {"addresses": list(SHARED), "ports_per_customer": 1024}}
        hag["customers"] = [{"name": "office", "key": secrets.token_hex(32)}]
        del cpe["gateways"][0]["customer"], cpe["gateways"][0]["key"]
        cpe["uplinks"] = [line for line in cpe["uplinks"] if line["name"] == "lte"]
        cpe["gateways"][0]["addresses"] = ["198.51.100.10"]
        for address in SHARED:
            made.run("hag", ["ip", "address", "add", f"{address}/24", "dev", "eth0"], check=True)
        for node, wanted in (("hag", hag), ("cpe", cpe)):
            file: Path = directory / f"{node}.yaml"
            file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
            made.apply(node, file)
        made.hagw_start("hag")
        added = made.run(
            "hag", ["hagw", "customer", "add", "home", "--json"], capture_output=True, text=True, check=True
        )
        made.run("cpe", ["hagw", "enrol", "hag", json.loads(added.stdout)["code"]], capture_output=True, check=True)
        start_daemon(made, "cpe")  # which says that it is degraded, with one line
        yield made


@pytest.fixture(scope="module")
def echo(lab: Lab) -> Iterator[Echo]:
    with Echo(lab) as server:
        yield server


def path_of_a_new_flow(lab: Lab, ends: Ends) -> object:
    """Open a flow and have it echo; return whether it was converted."""
    with connect(lab, SERVERS[0], PORT, timeout_s=5.0) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        port = client.getsockname()[1]
        paths = [flow["path"] for flow in ends.flows() if flow["client_port"] == port]
        return paths[-1] if paths else "forwarded"


def test_a_customers_flows_leave_from_one_address_and_its_ports_which_the_log_tells(lab: Lab, echo: Echo) -> None:
    ends = Ends(lab)
    until(lambda: path_of_a_new_flow(lab, ends) == "converted", 15)
    clients = [connect(lab, server, PORT) for server in SERVERS for _ in range(10)]
    for client in clients:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    shown = lab.run("inet", ["ss", "-Htn", f"sport = :{PORT}"], capture_output=True, text=True, check=True).stdout
    came = [line.split()[4].rpartition(":") for line in shown.splitlines() if line.startswith("ESTAB")]
    for client in clients:
        client.close()
    assert len(came) == len(clients)
    log = node_directory(lab.directory, "hag") / "state" / "egress.log"
    told = {entry["customer"]: entry for entry in map(json.loads, log.read_text().splitlines())}
    home, office = told["home"], told["office"]
    assert {address.strip("[]").removeprefix("::ffff:") for address, _, _ in came} == {home["address"]}
    assert all(home["first"] <= int(port) <= home["last"] for _, _, port in came)
    assert home["last"] - home["first"] == office["last"] - office["first"] == 1023
    assert home["address"] != office["address"] or home["last"] < office["first"] or office["last"] < home["first"]


def test_a_stolen_cookie_is_refused_and_an_honest_cpe_behind_a_rebound_nat_is_converted_again(
    lab: Lab, echo: Echo
) -> None:
    ends = Ends(lab)
    until(lambda: path_of_a_new_flow(lab, ends) == "converted", 15)
    until(lambda: replayed(lab) == ErrorCode.MISSING_COOKIE, 15)  # not yet in the moment when it has just come
    assert ends.total("hag", "unproven") >= 1
    for address in REBOUND:
        bind_anew(lab, address)
        rebound = time.monotonic()
        paths: list[object] = []
        while not paths or paths[-1] != "converted" or not is_seen(lab, address):
            paths.append(path_of_a_new_flow(lab, ends))  # none of them fails
            assert time.monotonic() - rebound < RENEWED_WITHIN_S, paths
        print(f"converted again {time.monotonic() - rebound:.2f} s after the NAT was bound anew; meanwhile {paths}")
    assert replayed(lab) == ErrorCode.MISSING_COOKIE


def bind_anew(lab: Lab, address: str) -> None:
    """Have the line's NAT give TCP another address, and UDP one that is not the same."""
    rule = "nft add rule inet isp postrouting oifname core0 ip saddr 100.64.2.0/24"
    script = (
        f"ip address add {address}/24 dev core0",
        f"ip address replace {REBOUND_UDP}/24 dev core0",
        "nft flush chain inet isp postrouting",
        f"{rule} meta l4proto udp snat ip to {REBOUND_UDP}",
        f"{rule} snat ip to {address}",
        "conntrack -F",
    )
    lab.run("isp-lte", ["sh", "-ec", "; ".join(script)], check=True, capture_output=True)


def is_seen(lab: Lab, address: str) -> bool:
    """Say whether the CPE has connections to the gateway from this address."""
    shown = lab.run("hag", ["ss", "-HtnM", "state", "established"], capture_output=True, text=True, check=True).stdout
    return address in shown


def replayed(lab: Lab) -> ErrorCode | None:
    """Show the customer's valid cookie from an address where it never was; return what error it gets, None for none."""
    credentials = node_directory(lab.directory, "cpe") / "state" / "enrolment-hag.json"
    key = bytes.fromhex(json.loads(credentials.read_text())["key"])
    request = (Connect(PORT, ip_address(SERVERS[0])), Cookie(cookie.mint(key, "home", time.time())))
    with lab.in_namespace("inet"):
        thief = socket.create_connection(("198.51.100.10", 5124), 5.0)
    with thief:
        thief.sendall(encode(request))
        answer = b""
        while len(answer) < 4 or len(answer) < 4 * answer[1]:
            answer += thief.recv(256)
    (found,) = decode(answer).tlvs
    return ErrorCode(found.code) if isinstance(found, Error) else None
