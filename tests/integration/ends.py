"""The workers of a lab's both ends, seen from outside: what they count, hold open and have left."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from plane_lab import until

from hagw.lab import gateway
from hagw.lab.lab import Lab


class Ends:
    """The workers of both ends as they are seen from outside: counters, descriptors, sockets."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._own: dict[str, int] = {}

    def ask(self, node: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the answer of each of the node's workers to one request."""
        directory = gateway.node_directory(self._lab.directory, node) / "run"
        return [self._ask(path, request) for path in sorted(directory.glob("worker-*.sock"))]

    def stats(self, node: str) -> list[dict[str, Any]]:
        """Return each worker's counters, its pid among them."""
        answers = self.ask(node, {"op": "ping", "id": 1})
        return [{**answer["stats"], "pid": answer["pid"]} for answer in answers]

    def total(self, node: str, counter: str) -> int:
        """Return a counter's sum over a node's workers."""
        return sum(stats[counter] for stats in self.stats(node))

    def flows(self, recent_s: float = 60.0) -> list[dict[str, Any]]:
        """Return the CPE's flows."""
        answers = self.ask("cpe", {"op": "flows", "id": 2, "recent_s": recent_s})
        return [flow for answer in answers for flow in answer["flows"]]

    def flow_of(self, port: int) -> dict[str, Any]:
        """Return the newest flow of a LAN client by its port: ports come again, also in the other family."""
        return max((flow for flow in self.flows() if flow["client_port"] == port), key=lambda flow: flow["started_s"])

    def descriptors(self, node: str) -> int:
        """Return the workers' open descriptors that are neither warm connections nor of the control socket.

        A worker closes its end of our own inquiry when it comes to it, so that one may be there or not.
        """
        stats = self.stats(node)
        warm = sum(sum(s["pool"].values()) if node == "cpe" else s["warm"] for s in stats)
        return sum(len(lasting_files(s["pid"])) for s in stats) - warm

    def memory_kb(self, node: str) -> int:
        """Return the workers' resident memory."""
        return self.total(node, "memory_kb")

    def remember(self) -> None:
        """Take the descriptors of now, at rest, for all that the workers need for themselves."""
        until(lambda: self.at_rest("cpe") and self.at_rest("hag"), 10.0)
        until(self._are_steady, 10.0, every_s=0.3)

    def _are_steady(self) -> bool:
        """Take the descriptors and say whether they are those of the last time: nothing was coming or going."""
        before, self._own = self._own, {node: self.descriptors(node) for node in ("cpe", "hag")}
        return before == self._own

    def assert_nothing_left(self, within_s: float = 8.0) -> None:
        """Check that no flow, descriptor, connection or subflow is left, after what TCP needs to say good-bye."""
        deadline = time.monotonic() + within_s
        while left := self.left():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    def left(self) -> list[str]:
        """Return what is there beyond the warm connections."""
        found = []
        for node in ("cpe", "hag"):
            stats = self.stats(node)
            active = sum(s["flows_active"] for s in stats)
            warm = sum(sum(s["pool"].values()) if node == "cpe" else s["warm"] for s in stats)
            if active:
                found.append(f"{node}: {active} active flows")
            if self._own and (extra := self.descriptors(node) - self._own[node]):
                found.append(f"{node}: {extra} descriptors")
            multipath = self.sockets(node, "-M")
            if len(multipath) != warm:
                found.append(f"{node}: {len(multipath)} MPTCP connections for {warm} warm ones")
            found += [f"{node}: {line}" for line in multipath if not line.startswith("ESTAB")]
            found += [
                f"{node}: {line}" for line in self.sockets(node, "-t") if not line.startswith(("ESTAB", "TIME-WAIT"))
            ]
        return found

    def sockets(self, node: str, kind: str) -> list[str]:
        """Return what `ss` lists of a kind, listeners aside."""
        shown = self._lab.run(node, ["ss", "-Hna", kind], capture_output=True, text=True, check=True).stdout
        return [line for line in shown.splitlines() if not line.startswith("LISTEN")]

    def listens(self, node: str) -> bool:
        """Say whether all of a node's workers run and accept connections."""
        try:
            stats = self.stats(node)
        except (OSError, ValueError):  # one is just being replaced
            return False
        return len(stats) > 1 and all(s["listening"] for s in stats)

    def at_rest(self, node: str) -> bool:
        """Say whether a node's workers listen, have no flows and, on the CPE, warm connections."""
        if not self.listens(node):
            return False
        stats = self.stats(node)
        return all(s["listening"] and not s["flows_active"] for s in stats) and (
            node != "cpe" or all(sum(s["pool"].values()) >= 3 for s in stats)
        )

    def _ask(self, path: Path, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5.0)
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as answers:
                while (answer := json.loads(answers.readline()))["op"] == "event":
                    pass
        found: dict[str, Any] = answer
        return found


def open_files(pid: int) -> set[str]:
    """Return what a process's descriptors are open on, each with its number unless it is a socket."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            found.add(target if target.startswith("socket:") else f"{number} {target}")
    return found


def lasting_files(pid: int) -> set[str]:
    """Return what a process has open, Unix sockets aside, also those that it closes just now."""
    before = unix_sockets(pid)
    found = open_files(pid)
    return found - before - unix_sockets(pid)


def unix_sockets(pid: int) -> set[str]:
    """Return the Unix sockets of a process, and those that it accepted from us: these belong to our own namespace."""
    tables = [Path(f"/proc/{which}/net/unix").read_text(encoding="utf-8", errors="replace") for which in (pid, "self")]
    return {f"socket:[{line.split()[6]}]" for table in tables for line in table.splitlines()[1:]}
