"""What hagw must not touch: connections older than it, connections from outside, and their replies."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ends import Ends
from plane_lab import INET, Server, connect, own_lab, pattern, read_exactly, read_line, until

from hagw.lab import netns
from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

SSH_PORT = 2022
CPE_DSL = "198.18.1.2"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Without hagw at first."""
    with own_lab("older", hagw=False) as made:
        yield made


def hagw_on(lab: Lab) -> None:
    lab.hagw_start("hag")
    lab.hagw_start("cpe")


def let_in(lab: Lab, port: int) -> None:
    """Have the firewall of the gateway let a port in, as its owner would."""
    rule = f"firewall:\n  allow:\n    - {{name: theirs, protocol: tcp, destination_port: [{port}]}}\n"
    file = lab.directory / "with-a-port.yaml"
    file.write_text(lab.config("cpe") + rule, encoding="utf-8")
    lab.apply("cpe", file)


def hagw_off(lab: Lab) -> None:
    lab.hagw_stop("cpe")
    lab.hagw_stop("hag")


@contextmanager
def ssh_session(lab: Lab, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A LAN host's ssh session with a server in the Internet that runs `cat`; both are the real programs."""
    for name in ("host", "user"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(argv, check=True, capture_output=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    config = directory / "sshd_config"
    config.write_text(
        f"Port {SSH_PORT}\nListenAddress 0.0.0.0\nHostKey {directory / 'host'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory / 'user.pub'}\nPermitRootLogin yes\nStrictModes no\n",
        encoding="utf-8",
    )
    server = lab.popen("inet", ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE)
    try:
        with lab.in_namespace("inet"):
            until(lambda: answers("127.0.0.1", SSH_PORT), 5.0)
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        argv = ["ssh", "-T", "-F", "none", "-i", str(directory / "user"), "-p", str(SSH_PORT), *options]
        client = lab.popen("lan1", [*argv, f"root@{INET[4]}", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with client:
            yield client
            assert client.stdin is not None
            client.stdin.close()
            assert client.wait(5) == 0
    finally:
        server.terminate()
        server.communicate()


def answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def says(session: "subprocess.Popen[bytes]", word: str) -> str:
    """Send a line through the session; return what comes back."""
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write(word.encode() + b"\n")
    session.stdin.flush()
    return session.stdout.readline().decode().strip()


def peers_of_sshd(lab: Lab) -> list[str]:
    """Return who sshd is connected with, as it sees it."""
    argv = ["ss", "-Htn", "state", "established", f"( sport = :{SSH_PORT} )"]
    shown = lab.run("inet", argv, capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in shown.splitlines()]


def test_an_ssh_session_lives_through_start_and_stop(lab: Lab, tmp_path: Path) -> None:
    with ssh_session(lab, tmp_path) as session:
        assert says(session, "before hagw") == "before hagw"
        peers = peers_of_sshd(lab)
        assert len(peers) == 1
        for _ in range(2):
            hagw_on(lab)
            assert says(session, "with hagw") == "with hagw"
            assert says(session, "x" * 50_000) == "x" * 50_000
            assert peers_of_sshd(lab) == peers
            assert not [flow for flow in Ends(lab).flows() if flow["server_port"] == SSH_PORT]
            hagw_off(lab)
            assert says(session, "after hagw") == "after hagw"
            assert peers_of_sshd(lab) == peers


def test_a_transfer_lives_through_start_and_stop(lab: Lab) -> None:
    """A download that has the line for itself, started before hagw and ended after it."""
    data = pattern(14_000_000, 1)

    with Server(lab, lambda sock: sock.sendall(data), port=5315), connect(lab, INET[4], 5315) as client:
        first = read_exactly(client, 500_000)
        hagw_on(lab)
        second = read_exactly(client, 1_000_000)
        hagw_off(lab)
        assert first + second + read_exactly(client, len(data)) == data


@contextmanager
def reachable_from_outside(lab: Lab) -> Iterator[None]:
    """The owner's own port forwarding: 8022 of the DSL address to lan1."""
    rules = "chain in { type nat hook prerouting priority dstnat; "
    rules += f"iifname dsl0 ip daddr {CPE_DSL} tcp dport 8022 dnat ip to 192.168.77.11; }};"
    netns.nft(lab.namespace("cpe"), f"table inet forwarding {{ {rules} }}")
    try:
        yield
    finally:
        netns.nft(lab.namespace("cpe"), "delete table inet forwarding")


def echo_lines(sock: socket.socket) -> None:
    while True:
        sock.sendall(read_line(sock).encode() + b"\n")


@pytest.mark.parametrize(("node", "port"), [("cpe", 2023), ("lan1", 8022)])
def test_connections_from_outside_are_not_touched(lab: Lab, node: str, port: int) -> None:
    """To the gateway itself and to a LAN host behind it: before, with and after hagw, over the line they came by."""
    with reachable_from_outside(lab), Server(lab, echo_lines, node=node, port=port):
        with connect(lab, CPE_DSL, port, node="inet") as older:
            older.sendall(b"before\n")
            assert read_line(older) == "before"
            hagw_on(lab)
            if node == "cpe":
                let_in(lab, port)
            older.sendall(b"with\n")
            assert read_line(older) == "with"
            dsl = lab.link("dsl")
            with connect(lab, CPE_DSL, port, node="inet") as younger:
                assert younger.getsockname()[0] == INET[4]
                younger.sendall(b"y" * 200_000 + b"\n")
                received = threading.Thread(target=read_line, args=(younger,))
                received.start()
                received.join(20)
                assert not received.is_alive()
                assert lab.link("dsl")["bytes_up"] - dsl["bytes_up"] > 200_000
                assert not [flow for flow in Ends(lab).flows() if flow["server"] == INET[4]]
                hagw_off(lab)
                for each in (older, younger):
                    each.sendall(b"after\n")
                    assert read_line(each) == "after"


def test_a_chatty_client_may_wait_for_a_slow_server(lab: Lab) -> None:
    """Bytes are always under way when the gateway's acknowledgement is looked at: it is there all the same."""
    hagw_on(lab)
    until(lambda: Ends(lab).at_rest("cpe"), 10.0)
    taken: list[str] = []
    rule = "chain in { type filter hook input priority 0; tcp dport 5316 tcp flags syn drop; };"
    with Server(lab, lambda sock: taken.append(read_line(sock)), port=5316):
        netns.nft(lab.namespace("inet"), f"table inet slow {{ {rule} }}")
        with connect(lab, INET[4], 5316) as client:
            for _ in range(500):
                client.sendall(b"x")
                time.sleep(0.01)
            netns.nft(lab.namespace("inet"), "delete table inet slow")
            client.sendall(b"\n")
            until(lambda: taken, 10.0)
    assert taken == ["x" * 500]
    hagw_off(lab)
