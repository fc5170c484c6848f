"""A control channel's two ends over real TLS on the loopback: a gateway with one customer, and who speaks to it."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hagw.channel import wire
from hagw.channel.client import ChannelClient, Way
from hagw.channel.credentials import Credentials
from hagw.channel.identity import client_context, fingerprint_of, server_context
from hagw.channel.proof import new_device_key, public_key
from hagw.channel.server import LOGIN_S, ChannelServer, Desk
from hagw.errors import Refused
from hagw.model.intent import CustomerIntent

KEY, NEW_KEY, SECRET = bytes(range(32)), bytes(range(1, 33)), b"0123456789"


class Office:
    """A gateway with one customer, as its registry would have it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.device_key = new_device_key()
        self.customers: dict[str, CustomerIntent] = {"home": CustomerIntent("home", KEY)}
        self.devices: dict[str, bytes] = {"home": public_key(self.device_key)}
        self.codes = {SECRET: "home"}
        self.taken: list[bytes] = []
        self.used: list[tuple[str, Mapping[str, tuple[int, int]]]] = []
        self.reports: list[str] = []
        self.kept: list[Credentials] = []
        self.met: list[tuple[str, str, bool]] = []
        self.fingerprint = fingerprint_of(state)
        self.port = _free_port()
        self.ways = [Way("dsl", "127.0.0.1", "127.0.0.1", self.port)]
        self.server = ChannelServer(self._desk(), "9.9", self.fingerprint, server_context(state))

    def _desk(self) -> Desk:
        async def redeem(secret: bytes, device_key: bytes) -> tuple[str, bytes]:
            name = self.codes.pop(secret, None)
            if name is None:
                raise Refused("This enrolment code is unknown, used or expired.")
            self.devices[name] = device_key
            return name, self.customers[name].key

        async def taken_over(name: str, key: bytes) -> None:
            self.taken.append(key)

        return Desk(
            customers=lambda: self.customers,
            device_keys=lambda: self.devices,
            redeem=redeem,
            taken_over=taken_over,
            used=self._take_usage,
            probe=lambda: {"port": 5124, "style": "gentle"},
            met=lambda *who: self.met.append(who),
        )

    def _take_usage(self, name: str, uplinks: Mapping[str, tuple[int, int]], report: str) -> bool:
        """Take each report once, and say so only when it comes again."""
        if report and report in self.reports:
            return True
        self.reports.append(report)
        self.used.append((name, uplinks))
        return False

    def credentials(self, **changes: Any) -> Credentials:
        return replace(Credentials("home", KEY, self.device_key, self.fingerprint), **changes)

    def client(self, **changes: Any) -> ChannelClient:
        return ChannelClient("hag", self.credentials(**changes), lambda: self.ways, self.kept.append, take_over_s=0.05)

    def change(self, **changes: Any) -> None:
        self.customers["home"] = replace(self.customers["home"], **changes)
        self.server.roll_changed()

    def play(self, scene: Callable[[], Awaitable[None]], *clients: ChannelClient) -> None:
        """Run the gateway and these CPEs for as long as the scene takes."""

        async def run() -> None:
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.server.run(["127.0.0.1"], self.port))]
                await until(lambda: _listens(self.port))
                tasks += [group.create_task(client.run()) for client in clients]
                await scene()
                for task in tasks[1:]:
                    task.cancel()
                await until(lambda: not self.server.peers)
                await asyncio.sleep(0.02)  # the clients see that
                tasks[0].cancel()

        asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def stranger(office: Office, *lines: bytes) -> list[wire.Message]:
    """Say these lines as they are; return what the gateway says until it hangs up."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", office.port, ssl=client_context(), server_hostname="", limit=1 << 20
    )
    with suppress(OSError):
        for line in lines:
            writer.write(line)
            await writer.drain()
    said = []
    with suppress(OSError):
        async with asyncio.timeout(LOGIN_S - 5):
            while line := await reader.readline():
                said.append(json.loads(line))
    writer.close()
    return said


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
