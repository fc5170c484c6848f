"""Streams: one encoding for all, slow listeners miss states and nobody else waits, the daemon ends promptly."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from hagw.api.hub import STREAMS_MAX, WAITING_MAX, Hub, encode
from hagw.control.standing import Standing
from tests.attentive import watching
from tests.fakes import FLOW
from tests.pretended import Pretended, pretended


class Source:
    """What a hub asks."""

    def __init__(self, flows: int = 0) -> None:
        self.asked: list[str] = []
        self.stands = Standing()
        self.flows = [{**FLOW, "id": str(number), "down_bps": number, "up_bps": 0} for number in range(flows)]

    def status(self) -> dict[str, Any]:
        self.asked.append("status")
        return {"state": "bonded", "number": len(self.asked)}

    async def busiest(self) -> dict[str, Any]:
        self.asked.append("flows")
        return {"flows": self.flows, "total": 5 * len(self.flows), "incomplete": []}

    def standing(self) -> Standing:
        return self.stands

    def hub(self) -> Hub:
        return Hub(self.status, self.busiest, self.standing)


def messages(piece: bytes) -> list[tuple[str, Any]]:
    """Return topic and document of every message."""
    found = []
    for message in piece.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in message.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_document_is_made_once_for_everybody_and_not_at_all_for_nobody() -> None:
    async def story() -> None:
        source = Source()
        hub = source.hub()
        running = asyncio.get_running_loop().create_task(hub.run())
        await asyncio.sleep(0.05)
        assert source.asked == []
        listeners = [hub.join(frozenset({"status"})) for _ in range(20)]
        pieces = [await listener.take(5.0) for listener in listeners if listener is not None]
        assert len(pieces) == 20
        assert len(set(pieces)) == 1
        assert source.asked == ["status"]
        late = hub.join(frozenset({"status"}))
        assert late is not None
        assert await late.take(0.05) == pieces[0], "the newest state at once"
        running.cancel()

    asyncio.run(story())


def test_who_is_slow_misses_states_and_is_cut_off_rather_than_miss_events() -> None:
    async def story() -> None:
        hub = Source().hub()
        slow = hub.join(frozenset({"status", "events"}))
        assert slow is not None
        for number in range(100):
            hub.tell("status", {"number": number})
        hub.tell("events", {"id": 1})
        assert messages(await slow.take(1.0)) == [("status", {"number": 99}), ("events", {"id": 1})]
        for number in range(WAITING_MAX + 1):
            assert not slow.overrun
            hub.tell("events", {"id": number})
        assert slow.overrun

    asyncio.run(story())


def test_there_is_an_end_to_how_many_listen() -> None:
    hub = Source().hub()
    listeners = [hub.join(frozenset({"status"})) for _ in range(STREAMS_MAX + 1)]
    assert listeners[-1] is None
    assert listeners[0] is not None
    hub.leave(listeners[0])
    assert hub.join(frozenset({"status"})) is not None


def test_flows_are_asked_for_once_a_second_and_only_while_somebody_listens_to_them() -> None:
    async def story() -> None:
        source = Source(flows=3)
        hub = source.hub()
        running = asyncio.get_running_loop().create_task(hub.run())
        other = hub.join(frozenset({"status"}))
        assert other is not None
        await other.take(5.0)
        assert "flows" not in source.asked
        listeners = [hub.join(frozenset({"flows"})) for _ in range(3)]
        pieces = {await listener.take(5.0) for listener in listeners if listener is not None}
        ((_, told),) = messages(pieces.pop())
        assert not pieces
        assert ([flow["id"] for flow in told["flows"]], told["total"]) == (["0", "1", "2"], 15)
        assert source.asked.count("flows") == 1
        running.cancel()

    asyncio.run(story())


def test_a_change_of_the_configuration_is_told_once() -> None:
    async def story() -> None:
        source = Source()
        hub = source.hub()
        listener = hub.join(frozenset({"changes"}))
        assert listener is not None
        hub.look_for_changes()
        source.stands = Standing(generation=2, pending_confirm_s=30.0)
        hub.look_for_changes()
        source.stands = Standing(generation=2, pending_confirm_s=29.0)
        hub.look_for_changes()
        ((topic, told),) = messages(await listener.take(1.0))
        assert (topic, told["generation"], told["pending_confirm_s"]) == ("changes", 2, 30.0)

    asyncio.run(story())


def test_a_message_is_one_line_whatever_it_says() -> None:
    assert encode("status", {"reason": "a\nb\r\u2028"}).count(b"\n") == 3


def test_a_real_stream_tells_lines_flows_and_events_and_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with pretended(tmp_path) as box:
        topics = "status,flows,history,events,changes"
        with listening(box, topics) as sock, listening(box, topics):
            box.post("/config/set", {"path": "uplinks.lte.cost", "value": 11})
            told = read_until(sock, {"status", "flows", "history", "events", "changes"})
            status = next(document for topic, document in told if topic == "status")
            assert [line["name"] for line in status["uplinks"]] == ["dsl", "lte", "wifi"]
            kinds = {event["kind"] for topic, event in told if topic == "events"}
            assert "change" in kinds
            with watching() as passed_s:
                box.process.terminate()
                assert box.process.wait(60) == 0
                assert passed_s() < 4.0, "open streams do not hold it up"
    with pretended(tmp_path) as box:
        known = box.get("/events?limit=1000")["events"]
        assert {"change", "daemon"} <= {event["kind"] for event in known}
        assert [event["id"] for event in known] == sorted((event["id"] for event in known), reverse=True)
        box.wait(
            "/history?series=uplink.dsl.*", lambda found: _known(found["series"].get("uplink.dsl.down_bps", [])) > 5
        )
        assert set(box.get("/history?range=24h&series=uplink.*.rtt_ms")["series"]) == {
            f"uplink.{name}.rtt_ms" for name in ("dsl", "lte", "wifi")
        }


def _known(values: list[float | None]) -> int:
    return sum(value is not None for value in values)


def listening(box: Pretended, topics: str) -> socket.socket:
    """Open a stream."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(15)
    sock.connect(str(box.socket))
    sock.sendall(f"GET /api/v1/stream?topics={topics} HTTP/1.1\r\nHost: hagw\r\n\r\n".encode())
    return sock


def read_until(sock: socket.socket, wanted: set[str]) -> list[tuple[str, Any]]:
    """Return what is told until each of the topics was."""
    received = bytearray()
    while True:
        received += sock.recv(1 << 20)
        told = messages(_unchunked(bytes(received)))
        if wanted <= {topic for topic, _ in told}:
            return told


def _unchunked(received: bytes) -> bytes:
    """Return the whole chunks of a response as far as it has come."""
    _, _, rest = received.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, separator, after = rest.partition(b"\r\n")
        if not separator or len(after) < int(size, 16) + 2:
            return body[: body.rfind(b"\n\n") + 2]
        body += after[: int(size, 16)]
        rest = after[int(size, 16) + 2 :]
