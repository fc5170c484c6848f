"""When part of hagw dies or falls silent, new connections of the LAN reach their servers all the same."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from ends import Ends
from plane_lab import (
    INET,
    Attempt,
    Attempts,
    Counting,
    Server,
    Store,
    connect,
    figures,
    own_lab,
    pattern,
    read_exactly,
    read_line,
    until,
)

from hagw.lab import netns
from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

PORT = 5313
RUNS = 2


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("open") as made:
        yield made


@pytest.fixture(scope="module")
def ends(lab: Lab) -> Ends:
    return Ends(lab)


@pytest.fixture
def counting(lab: Lab) -> Iterator[Counting]:
    counted = Counting()
    with Server(lab, counted, port=PORT):
        yield counted


def is_bonded(lab: Lab) -> bool:
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True)
    return done.returncode == 0 and json.loads(done.stdout)["state"] == "bonded"


def heal(lab: Lab, ends: Ends) -> None:
    """Bring everything back, and wait until flows are converted again."""
    unsilence_hag(lab)
    for node in ("hag", "cpe"):
        for pid in lab.pids(node, "worker"):
            os.kill(pid, signal.SIGCONT)
        lab.hagw_start(node)
    until(lambda: is_bonded(lab) and ends.at_rest("cpe") and ends.at_rest("hag"), 20.0)


def kill(lab: Lab, node: str, *roles: str, number: signal.Signals = signal.SIGKILL) -> None:
    for role in roles:
        for pid in lab.pids(node, role):
            os.kill(pid, number)


def kill_one_worker(lab: Lab, number: signal.Signals) -> None:
    os.kill(lab.pids("cpe", "worker")[0], number)


def silence_hag(lab: Lab) -> None:
    rules = "chain in { type filter hook input priority -300; policy drop; }; "
    rules += "chain out { type filter hook output priority -300; policy drop; };"
    netns.nft(lab.namespace("hag"), f"table inet silence {{ {rules} }}")


def unsilence_hag(lab: Lab) -> None:
    """Let it speak again, if it was silenced."""
    netns.nft(lab.namespace("hag"), "table inet silence { }; delete table inet silence")


Fault = Callable[[Lab], object]
FAULTS: dict[str, tuple[Fault, float]] = {
    "one worker killed": (lambda lab: kill_one_worker(lab, signal.SIGKILL), 1.0),
    "all workers killed": (lambda lab: kill(lab, "cpe", "worker"), 1.0),
    "one worker stopped": (lambda lab: kill_one_worker(lab, signal.SIGSTOP), 2.0),
    "all workers stopped": (lambda lab: kill(lab, "cpe", "worker", number=signal.SIGSTOP), 2.0),
    "daemon killed": (lambda lab: kill(lab, "cpe", "daemon"), 1.0),
    "daemon and workers killed": (lambda lab: kill(lab, "cpe", "daemon", "worker"), 1.0),
    "HAG killed": (lambda lab: kill(lab, "hag", "daemon", "worker"), 1.0),
    "HAG silent": (silence_hag, 1.0),
}


@pytest.mark.alone
@pytest.mark.parametrize("fault", FAULTS)
def test_new_connections_reach_their_servers(lab: Lab, ends: Ends, counting: Counting, fault: str) -> None:
    """Those begun once the fault was noticed are served within the limit; at first some may be reset or wait."""
    strike, limit_s = FAULTS[fault]
    recovered = []
    longest = []
    for _ in range(RUNS):
        heal(lab, ends)
        with Attempts(lab, INET[4], PORT) as attempts:
            time.sleep(0.6)
            struck_s = attempts.now_s()
            strike(lab)
            time.sleep(limit_s + 0.6)
        done = attempts.stop()
        if fault == "HAG silent":
            unsilence_hag(lab)
        assert not [a for a in done if a.began_s + a.took_s < struck_s and a.failure], "failed before the fault"
        recovered.append(1000 * recovery_s(done, struck_s))
        longest.append(1000 * max(a.took_s for a in done if a.began_s > struck_s + limit_s))
        late = [a for a in done if a.began_s > struck_s + limit_s and (a.failure or a.took_s > 1.0)]
        assert not late, late
    heal(lab, ends)
    figures(f"{fault}: new connections are served after", "ms", recovered)
    figures(f"{fault}: and then take at most", "ms", longest)
    assert max(recovered) < 1000 * limit_s
    assert not counting.twice()


def recovery_s(done: list[Attempt], struck_s: float) -> float:
    """Return how long after the fault the first request was served that was begun after it."""
    served = [a.began_s + a.took_s for a in done if a.began_s > struck_s and a.failure is None]
    return min(served) - struck_s


def test_early_data_is_never_sent_twice(lab: Lab, ends: Ends, counting: Counting) -> None:
    """Requests go on while the HAG dies again and again; each has its own number and is made once."""
    with Attempts(lab, INET[4], PORT, every_s=0.01) as attempts:
        for number in range(4):
            time.sleep(0.5)
            if number % 3 == 2:
                silence_hag(lab)
                time.sleep(1.0)
                unsilence_hag(lab)
            elif number % 3 == 1:
                kill(lab, "hag", "worker")
            else:
                kill(lab, "hag", "daemon", "worker")
            lab.hagw_start("hag")
            until(lambda: ends.listens("hag"), 10.0)
            until(lambda: is_bonded(lab), 15.0)
    done = attempts.stop()
    failed = [attempt for attempt in done if attempt.failure]
    print(
        f"{len(done)} requests over 4 deaths of the HAG: {len(failed)} reset, {len(counting.seen)} seen by the server"
    )
    assert not counting.twice()
    assert len(counting.seen) >= len(done) - len(failed)
    heal(lab, ends)


def test_a_daemon_restart_loses_no_connection(lab: Lab, ends: Ends) -> None:
    heal(lab, ends)
    with Server(lab, Store()), connect(lab, INET[4], 5310) as idle, connect(lab, INET[4], 5310) as busy:
        busy.sendall(b"down 20000000 1\n")
        first = read_exactly(busy, 1_000_000)
        before = ends.total("cpe", "flows_total")
        for number in (signal.SIGTERM, signal.SIGKILL):
            kill(lab, "cpe", "daemon", number=number)
            until(lambda: not lab.pids("cpe", "daemon"), 5.0)
            lab.hagw_start("cpe")
        kill(lab, "hag", "daemon")
        until(lambda: not lab.pids("hag", "daemon"), 5.0)
        lab.hagw_start("hag")
        assert first + read_exactly(busy, 19_000_000) == pattern(20_000_000, 1)
        idle.sendall(b"down 5 2\n")
        assert read_exactly(idle, 5) == pattern(5, 2)
        assert ends.total("cpe", "flows_total") == before


@pytest.mark.parametrize("node", ["cpe", "hag"])
def test_the_death_of_a_worker_costs_its_own_connections_only(lab: Lab, ends: Ends, node: str) -> None:
    heal(lab, ends)

    def echo(sock: object) -> None:
        while True:
            sock.sendall(read_line(sock).encode() + b"\n")  # type: ignore[attr-defined, arg-type]

    with Server(lab, echo, port=5314):
        clients = [connect(lab, INET[4], 5314, timeout_s=5.0) for _ in range(24)]
        for client in clients:
            client.sendall(b"hello\n")
            assert read_line(client) == "hello"
        stats = ends.stats(node)
        victim = max(stats, key=lambda s: s["flows_active"])
        assert 0 < victim["flows_active"] < 24
        os.kill(victim["pid"], signal.SIGKILL)
        became = []
        for client in clients:
            with client:
                try:
                    client.sendall(b"again\n")
                    became.append(read_line(client))
                except (ConnectionResetError, BrokenPipeError):
                    became.append("reset")  # an end in order would make half a file look like a whole one
        assert sorted(became) == ["again"] * (24 - victim["flows_active"]) + ["reset"] * victim["flows_active"]
    heal(lab, ends)


@pytest.mark.alone
def test_clients_wait_for_nobody_while_everything_is_down(lab: Lab, ends: Ends, counting: Counting) -> None:
    """Nothing of hagw runs: each single connection is as quick as the line."""
    kill(lab, "cpe", "daemon", "worker")
    time.sleep(0.1)
    with Attempts(lab, INET[4], PORT, every_s=0.05) as attempts:
        time.sleep(1.5)
    done = attempts.stop()
    figures("nothing of hagw runs: a request takes", "ms", [1000 * attempt.took_s for attempt in done])
    assert not [attempt for attempt in done if attempt.failure or attempt.took_s > 0.5]
    heal(lab, ends)


def test_flows_that_went_direct_are_told_apart(lab: Lab, ends: Ends, counting: Counting) -> None:
    heal(lab, ends)
    kill(lab, "hag", "daemon", "worker")
    time.sleep(1.2)
    began = time.time()
    with connect(lab, INET[4], PORT) as client:
        client.sendall(b"direct\n")
        assert read_line(client) == "ok"
        port = client.getsockname()[1]
    found = [flow for flow in ends.flows() if flow["client_port"] == port and flow["started_s"] >= began - 0.1]
    assert all(flow["path"] == "direct" and flow["why"] for flow in found)  # none if it was not intercepted any more
    heal(lab, ends)
    with connect(lab, INET[4], PORT) as client:
        client.sendall(b"bonded again\n")
        assert read_line(client) == "ok"
        assert ends.flow_of(client.getsockname()[1])["path"] == "converted"


def test_threads_of_this_process_are_few() -> None:
    """Comes last: attempts that hang would still be here."""
    until(lambda: threading.active_count() < 10, 10.0)
