"""A scripted worker that speaks the control protocol: run as a process of its own by the tests of its supervisor.

Usage: fake_worker.py SOCKET [MOOD...]; moods: slow (applies after 0.3 s), mute-flows (never answers flows),
paged-flows, chatty (sends an event at once), nonsense (answers pings with no JSON), crash-start, deaf (never pongs),
late (leaves a file pid-PID, opens its socket a minute later), busy (its customer home uses 1000 bytes between any two
readings of usage, and has two connections), older (knows no usage).
"""

import contextlib
import json
import os
import socket
import sys
import time
from typing import Any

FLOW = {"id": "1", "client": "192.168.77.10", "started_s": 1.0}


def main() -> None:
    """Serve one daemon connection after the other until told to stop."""
    path, moods = sys.argv[1], set(sys.argv[2:])
    if "crash-start" in moods:
        sys.exit(1)
    if "late" in moods:
        with open(os.path.join(os.path.dirname(path), f"pid-{os.getpid()}"), "w"):
            time.sleep(60)
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    worker = Worker(moods)
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(ConnectionError):  # a daemon that is killed does not wait for what it asked
            worker.serve(connection)


class Worker:
    """The state that outlives a daemon connection."""

    def __init__(self, moods: set[str]) -> None:
        self.moods = moods
        self.generation: int | None = None
        self.applied: list[int] = []
        self.heard: list[str] = []
        self.readings = 1
        self.elsewhere: dict[str, int] = {}

    def serve(self, connection: socket.socket) -> None:
        """Answer one daemon until it hangs up."""
        with connection, connection.makefile("rb") as lines:
            if "chatty" in self.moods:
                event = {"event": "destination-refused", "address": "203.0.113.9", "port": 81, "reason": "refused"}
                say(connection, {"op": "event", **event})
            for line in lines:
                self.answer(connection, json.loads(line))

    def answer(self, connection: socket.socket, message: dict[str, Any]) -> None:
        """Answer one message as the moods have it."""
        match message:
            case {"op": "ping", "id": number}:
                if "nonsense" in self.moods:
                    connection.sendall(b"\x00 not json\n")
                elif "deaf" not in self.moods:
                    say(connection, {"op": "pong", "id": number, "pid": os.getpid(), "stats": self.stats()})
            case {"op": "snapshot", "snapshot": {"generation": generation}}:
                if "slow" in self.moods:
                    time.sleep(0.3)
                self.generation = generation
                self.applied.append(generation)
                say(connection, {"op": "applied", "generation": generation})
            case {"op": "flows", "id": number, "busiest": int(most)} if "old" not in self.moods:
                told = [
                    {**FLOW, "id": str(n), "down_bps": 100 * n, "up_bps": self.generation or 0}
                    for n in range(min(most, 5))
                ]
                say(connection, {"op": "flows", "id": number, "flows": told, "total": 2000})
            case {"op": "flows", "id": number} if "paged-flows" in self.moods:
                say(connection, {"op": "flows", "id": number, "flows": [FLOW], "more": True})
                say(connection, {"op": "flows", "id": number, "flows": [FLOW]})
            case {"op": "flows", "id": number} if "mute-flows" not in self.moods:
                say(connection, {"op": "flows", "id": number, "flows": [FLOW]})
            case {"op": "heard", "gateway": gateway}:
                self.heard.append(gateway)
            case {"op": "usage", "id": number, "ack": str(acknowledged)} if "busy" in self.moods:
                self.readings += acknowledged == f"{os.getpid()}-{self.readings}"
                name = f"{os.getpid()}-{self.readings}"
                reading = {"batch": name, "day": "2026-11-23", "used": [["home", 900, 100, 1]], "live": {"home": 2}}
                say(connection, {"op": "flows", "id": number, "flows": [reading]})
            case {"op": "usage"} if "older" in self.moods:
                self.readings += 1
                say(connection, {"op": "error", "message": "unknown request usage"})
            case {"op": "elsewhere", "flows": dict(flows)}:
                self.elsewhere = flows
            case {"op": "stop"}:
                sys.exit(0)

    def stats(self) -> dict[str, Any]:
        """Return the stats a worker would, and what this one was told."""
        return {
            "flows_active": 2,
            "pool": {"hag1": 3},
            "listening": self.generation is not None,
            "snapshot_generation": self.generation,
            "applied": self.applied,
            "heard": self.heard,
            "readings": self.readings,
            "elsewhere": self.elsewhere,
        }


def say(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one line."""
    connection.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
