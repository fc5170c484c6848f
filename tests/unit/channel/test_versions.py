"""Older and newer ends of a control channel work together, and each shows that the other's version is another one."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

import pytest
from channel_rig import KEY, Office, until

from hagw import __version__
from hagw.channel import proof, wire
from hagw.channel.client import ChannelClient, Way
from hagw.channel.identity import client_context, server_context
from hagw.model.intent import CustomerIntent, CustomerLimits

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def cpe(office: Office, name: str, version: str, **more: Any) -> AsyncIterator[Ends]:
    """Log in as a CPE of another version, which says `more` than ours does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port, ssl=client_context(), server_hostname="")
    hello = json.loads(await reader.readline())
    nonce = secrets.token_bytes(wire.NONCE_SIZE)
    about = proof.transcript(bytes.fromhex(hello["nonce"]), nonce, office.fingerprint, name)
    signature = proof.sign(office.device_key, about).hex()
    login = {"protocol": 1, "version": version, "customer": name, "nonce": nonce.hex(), "signature": signature}
    writer.write(wire.encode("login", **{**login, **more}))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def said(reader: asyncio.StreamReader, kind: str) -> dict[str, Any]:
    """Return the next message of a kind."""
    while True:
        message: dict[str, Any] = json.loads(await reader.readline())
        if message["type"] == kind:
            return message


def test_older_and_newer_cpes_are_served_and_marked(office: Office) -> None:
    for name in ("old", "new"):
        office.customers[name] = CustomerIntent(name, KEY)
        office.devices[name] = proof.public_key(office.device_key)

    async def scene() -> None:
        async with cpe(office, "old", "0.0.1") as old, cpe(office, "new", "99.0", protocol=7, speaks=["x"]) as new:
            for reader, writer in (old, new):
                settings = await said(reader, "settings")
                assert settings["key"] == KEY.hex()
                writer.write(wire.encode("of-tomorrow", anything=1))
                assert (await said(reader, "unsupported"))["what"] == "of-tomorrow"
                writer.write(wire.encode("ping", with_more=True))
                await said(reader, "pong")
            shown = {each["customer"]: (each["version"], each["version_differs"]) for each in office.server.document()}
            assert shown == {"old": ("0.0.1", True), "new": ("99.0", True)}
            async with cpe(office, "home", "9.9") as (reader, _):  # as the gateway of this rig
                await said(reader, "settings")
                marked = {each["customer"]: each["version_differs"] for each in office.server.document()}
                assert marked == {"old": True, "new": True, "home": False}

    office.play(scene)


@pytest.mark.parametrize("version", [None, 7, "", "x" * 65, "\x1b[2J", "\u202e1"])
def test_a_version_that_nobody_can_be_shown_is_unknown(version: object) -> None:
    assert wire.version_of({"type": "hello", "version": version}) == "unknown"


@pytest.mark.parametrize("version", ["0.0.1", __version__, "99.0"])
def test_a_gateway_of_another_version_is_used_and_its_version_known(office: Office, version: str) -> None:
    """A newer one speaks a higher protocol and has keys and messages that we do not know; an older one lacks some."""
    told = {"limits": {**asdict(CustomerLimits(pending_max=3)), "of_tomorrow": 1}, "probe": {"port": 9, "colour": 1}}
    settings = wire.encode("settings", key=KEY.hex(), **({} if version == "0.0.1" else told), more=[1])
    heard: list[str] = []

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = 9 if version == "99.0" else 1
        writer.write(wire.encode("hello", protocol=protocol, version=version, nonce="00" * wire.NONCE_SIZE, more=1))
        await said(reader, "login")
        writer.write(wire.encode("welcome", proofs=[], more=1))
        writer.write(wire.encode("of-tomorrow") + settings)
        with suppress(OSError):
            while line := await reader.readline():
                heard.append(json.loads(line)["type"])
        writer.close()

    client = ChannelClient("hag", office.credentials(), lambda: [way], office.kept.append)
    way = Way("dsl", "127.0.0.1", "127.0.0.1", office.port)

    async def scene() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            server = await asyncio.start_server(
                gateway, "127.0.0.1", office.port, ssl=server_context(office.state), ssl_shutdown_timeout=1.0
            )
            task = group.create_task(client.run())
            await until(lambda: client.standing.state == "connected" and "unsupported" in heard)
            if version != "0.0.1":
                await until(lambda: client.standing.told.limits == CustomerLimits(pending_max=3))
                assert client.standing.told.probe_port == 9
            assert (client.standing.version, client.standing.connects) == (version, 1)
            task.cancel()
            await until(task.done)
            server.close()

    asyncio.run(scene())
