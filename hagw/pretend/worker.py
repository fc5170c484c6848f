"""A pretend worker: answers the daemon like a real one, and carries nothing. Run as `python -m hagw.pretend.worker`.

It ends by itself when no daemon has talked to it for a while: nobody depends on it.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from hagw import __version__
from hagw.model.snapshot import CpeSnapshot, HagSnapshot, from_json
from hagw.pretend.customers import CustomerTraffic
from hagw.pretend.traffic import Traffic

TICK_S: Final = 0.25
ALONE_MAX_S: Final = 15.0
LINE_MAX_BYTES: Final = 32 << 20
RETIRED_ANSWER: Final = "a pretend worker hands nothing over"


class Worker:
    """One pretend worker; `command` says which."""

    def __init__(self, role: str, index: int, workers: int, flows: int, stripped: frozenset[str]) -> None:
        now, wall = time.monotonic(), time.time()
        self._cpe = Traffic(index, workers, flows, stripped, now, wall) if role == "cpe" else None
        self._hag = CustomerTraffic(index, now, wall) if role == "hag" else None
        self._generation: int | None = None
        self._heard_at = now
        self._ended = asyncio.Event()

    async def run(self, path: Path) -> None:
        """Serve until told to stop, or forgotten."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, path, limit=LINE_MAX_BYTES)
        async with server:
            while not self._ended.is_set() and time.monotonic() - self._heard_at < ALONE_MAX_S:
                self._plane.tick(time.monotonic())
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._ended.wait()
                except TimeoutError:
                    pass
            path.unlink(missing_ok=True)

    @property
    def _plane(self) -> Traffic | CustomerTraffic:
        plane = self._cpe or self._hag
        assert plane is not None
        return plane

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self._heard_at = time.monotonic()
                answer = self._answer(json.loads(line))
                if answer is not None:
                    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return  # the daemon went; the next one may come
        finally:
            writer.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Carry out one request."""
        match request:
            case {"op": "snapshot", "snapshot": dict(document)}:
                self._apply(document)
                return {"op": "applied", "generation": self._generation}
            case {"op": "ping", "id": number}:
                own = {"snapshot_generation": self._generation, "version": __version__, "memory_kb": 0, "faults": 0}
                stats = {**self._plane.stats(), **own}
                return {"op": "pong", "id": number, "pid": os.getpid(), "stats": stats}
            case {"op": "flows", "id": number, "busiest": int(most)}:
                chosen, total = self._plane.busiest(most)
                return {"op": "flows", "id": number, "flows": chosen, "total": total}
            case {"op": "flows", "id": number}:
                return {"op": "flows", "id": number, "flows": self._plane.flows(float(request.get("recent_s", 0.0)))}
            case {"op": "flow", "id": number, "flow": flow_id}:
                found = self._plane.flow(str(flow_id))
                return {"op": "flows", "id": number, "flows": [] if found is None else [found]}
            case {"op": "try", "id": number}:
                return {"op": "tried", "id": number, "failure": ""}
            case {"op": "usage", "id": number} if self._hag is not None:
                day = time.strftime("%Y-%m-%d", time.gmtime())
                reading = {**self._hag.usage(str(request.get("ack", ""))), "day": day}
                return {"op": "flows", "id": number, "flows": [reading]}
            case {"op": "stop"}:
                self._ended.set()
                return None
            case {"op": "heard" | "names" | "elsewhere"}:
                return None
            case _:
                return {"op": "error", "message": f"unknown request {request.get('op')}"}

    def _apply(self, document: dict[str, Any]) -> None:
        snapshot = from_json(document)
        match snapshot:
            case CpeSnapshot() if self._cpe is not None:
                self._cpe.apply(snapshot)
            case HagSnapshot() if self._hag is not None:
                self._hag.apply(snapshot)
            case _:
                return
        self._generation = snapshot.generation


def main() -> int:
    """Run one worker."""
    parser = argparse.ArgumentParser(prog="hagw.pretend.worker")
    parser.add_argument("--role", choices=("cpe", "hag"), required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--stripped", action="append", default=[])
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--take-over", action="store_true")
    chosen = parser.parse_args()
    if chosen.take_over:
        print(RETIRED_ANSWER, file=sys.stderr)
        return 1
    stripped = frozenset(chosen.stripped)
    asyncio.run(Worker(chosen.role, chosen.index, chosen.workers, chosen.flows, stripped).run(chosen.socket))
    return 0


if __name__ == "__main__":
    sys.exit(main())
