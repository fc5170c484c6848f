"""Both ends of the control channel over real TLS on the loopback: who gets in, what is told, what ends it."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from channel_rig import KEY, NEW_KEY, SECRET, Office, stranger, until

from hagw.channel import wire
from hagw.channel.client import ChannelClient, Way, enrol
from hagw.channel.code import Code, new_code
from hagw.channel.credentials import decode_credentials, encode_credentials
from hagw.channel.identity import client_context, fingerprint_of, server_context
from hagw.channel.proof import new_device_key, public_key
from hagw.channel.server import CHANNELS_A_CUSTOMER, _usage
from hagw.channel.strangers import FROM_A_SOURCE_MAX
from hagw.errors import HagwError, Refused
from hagw.model.intent import CustomerIntent, CustomerLimits
from hagw.model.told import Told

# --- enrolment


def test_a_code_gets_name_and_key_once(office: Office) -> None:
    async def scene() -> None:
        code = Code(SECRET, office.fingerprint[:10])
        got = await enrol(office.ways, code)
        assert (got.customer, got.key, got.fingerprint) == ("home", KEY, office.fingerprint)
        assert office.devices["home"] == public_key(got.device_key)
        assert decode_credentials(encode_credentials(got)) == got
        with pytest.raises(Refused, match="unknown, used or expired"):
            await enrol(office.ways, code)

    office.play(scene)


def test_a_code_is_not_told_to_another_gateway(office: Office) -> None:
    async def scene() -> None:
        with pytest.raises(Refused, match="another certificate"):
            await enrol(office.ways, Code(SECRET, new_code(bytes(32)).mark))
        assert office.codes

    office.play(scene)


def test_a_gateway_that_is_away_is_said_to_be(office: Office) -> None:
    with pytest.raises(HagwError, match="is not reached"):
        asyncio.run(enrol(office.ways, Code(SECRET, office.fingerprint[:10])))


# --- in touch


def test_a_channel_carries_the_gateways_version_and_what_blocks_us(office: Office) -> None:
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        assert (client.standing.version, client.standing.uplink) == ("9.9", "dsl")
        office.change(blocked="used up", limits=CustomerLimits(pending_max=3))
        await until(lambda: client.standing.told.blocked == "used up")
        assert client.standing.told == Told("used up", CustomerLimits(pending_max=3), 5124, "gentle")
        assert [entry["customer"] for entry in office.server.document()] == ["home"]
        assert office.met == [("home", "127.0.0.1", True)]

    office.play(scene, client)


def test_a_new_key_is_kept_before_the_gateway_hears_of_it(office: Office) -> None:
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        office.change(key=NEW_KEY, old_key=KEY)
        await until(lambda: office.taken)
        assert office.taken == [NEW_KEY]
        assert [kept.key for kept in office.kept] == [NEW_KEY]

    office.play(scene, client)


def test_a_cpe_that_was_off_during_a_rotation_gets_the_new_key(office: Office) -> None:
    office.customers["home"] = CustomerIntent("home", NEW_KEY)
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.credentials.key == NEW_KEY)

    office.play(scene, client)


def test_a_channel_leaves_a_line_that_is_doubted_at_once(office: Office) -> None:
    first, other = office.ways[0], Way("lte", "127.0.0.2", "127.0.0.1", office.port)
    office.ways = [first, other]
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.uplink == "dsl")
        office.ways = [other]
        client.lines_changed()
        await until(lambda: client.standing.uplink == "lte")
        office.ways = []
        client.lines_changed()
        await until(lambda: client.standing.state == "connecting")
        office.ways = [first]
        client.lines_changed()
        await until(lambda: client.standing.uplink == "dsl")

    office.play(scene, client)


def test_what_lines_carried_is_told_where_it_is_worth_it(office: Office) -> None:
    counts = {"dsl": (5_000_000, 1_000), "lte": (0, 1)}
    client = ChannelClient("hag", office.credentials(), lambda: office.ways, office.kept.append, lambda: counts, 0.02)

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        await asyncio.sleep(0.1)
        assert not office.used
        counts.update(dsl=(7_000_000, 2_000), lte=(0, 301))
        await until(lambda: office.used)
        counts.update(dsl=(1_500_000, 0))  # its interface was made anew
        await until(lambda: len(office.used) > 1)
        assert office.used == [
            ("home", {"dsl": (2_000_000, 1_000), "lte": (0, 300)}),
            ("home", {"dsl": (1_500_000, 0), "lte": (0, 0)}),
        ]

    office.play(scene, client)


def test_a_revoked_cpe_is_told_and_gets_in_no_more(office: Office) -> None:
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        office.customers.clear()
        office.server.roll_changed()
        await until(lambda: client.standing.state == "refused")
        assert "not a customer" in client.standing.reason
        assert office.server.document() == []

    office.play(scene, client)


# --- who is who


@pytest.mark.parametrize(
    "changes", [{"device_key": new_device_key()}, {"customer": "office"}], ids=["another device", "another name"]
)
def test_a_cpe_that_cannot_sign_stays_out(office: Office, changes: dict[str, Any]) -> None:
    client = office.client(**changes)

    async def scene() -> None:
        await until(lambda: client.standing.state == "refused")
        assert "not a customer" in client.standing.reason

    office.play(scene, client)


def test_another_gateway_of_the_registry_is_known_by_our_key(office: Office) -> None:
    client = office.client(fingerprint=bytes(32))

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")

    office.play(scene, client)


def test_a_gateway_that_proves_nothing_is_left(office: Office) -> None:
    client = office.client(fingerprint=bytes(32), key=NEW_KEY)

    async def scene() -> None:
        await until(lambda: client.standing.state == "refused")
        assert "not our gateway" in client.standing.reason
        assert not office.kept

    office.play(scene, client)


# --- whatever else comes


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"type": 1}\n',
        b"[" * 60_000 + b"\n",
        wire.encode("login", protocol=1, version="1"),
        wire.encode("login", protocol=0, version="1"),
        wire.encode("login", protocol=True, version="1"),
        wire.encode("enrol", protocol=1, version="1", secret="zz", device_key=""),
        wire.encode("settings", protocol=1, version="1"),
        wire.encode("login", protocol=1, version="1", customer="home", nonce="00" * 16, signature="00" * 64),
    ],
)
def test_strangers_are_refused_in_one_sentence(office: Office, line: bytes) -> None:
    async def scene() -> None:
        said = await stranger(office, line)
        assert [message["type"] for message in said] == ["hello", "refused"]

    office.play(scene)


def test_a_line_without_end_is_cut_off(office: Office) -> None:
    async def scene() -> None:
        said = await stranger(office, b"x" * (2 * wire.LINE_MAX))
        assert [message["type"] for message in said] in ([], ["hello"])  # a reset may overtake the words

    office.play(scene)


def test_who_does_not_log_in_is_few_from_one_source_and_keeps_nobody_else_out(office: Office) -> None:
    office.ways = [Way("dsl", "127.0.0.2", "127.0.0.1", office.port)]
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        silent = [socket.create_connection(("127.0.0.1", office.port), 5.0) for _ in range(FROM_A_SOURCE_MAX)]
        beyond = socket.create_connection(("127.0.0.1", office.port), 5.0)
        await until(lambda: office.server.strangers.turned_away)
        beyond.setblocking(False)
        with suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(beyond, 1) == b""
        beyond.close()
        office.server.roll_changed()
        other = ChannelClient("hag", office.credentials(), lambda: office.ways, office.kept.append)
        await _stay_until_connected(other)
        for sock in silent:
            sock.close()

    office.play(scene, client)


async def _stay_until_connected(client: ChannelClient) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.run())
        await until(lambda: client.standing.state == "connected")
        task.cancel()


def test_a_customer_has_few_channels_the_newest(office: Office) -> None:
    clients = [office.client() for _ in range(CHANNELS_A_CUSTOMER + 1)]

    async def scene() -> None:
        for client in clients:
            async with asyncio.timeout(10):
                while not client.standing.connects:
                    await asyncio.sleep(0.01)
        assert len(office.server.document()) <= CHANNELS_A_CUSTOMER

    office.play(scene, *clients)


@pytest.mark.parametrize(
    "uplinks",
    [
        {"dsl": {"down": 1 << 60, "up": 0}},
        {"dsl": {"down": -1, "up": 0}},
        {"": {"down": 1, "up": 1}},
        {"\ud800": {"down": 1, "up": 1}},
        {"\0": {"down": 1, "up": 1}},
        {"x" * 33: {"down": 1, "up": 1}},
        [],
    ],
    ids=["more than 64 bits can sum up", "negative", "the gateway's own", "no text", "a zero", "long", "no object"],
)
def test_usage_that_no_database_could_keep_is_refused(office: Office, uplinks: object) -> None:
    with pytest.raises(wire.BadMessage):
        _usage({"type": "usage", "uplinks": uplinks})


def test_usage_that_comes_all_the_time_is_refused(office: Office) -> None:
    def tell_all_the_time() -> None:
        for _ in range(100):
            office.server._used("home", {"dsl": (1, 1)}, "")

    with pytest.raises(wire.BadMessage, match="too often"):
        tell_all_the_time()
    assert 5 < len(office.used) < 20


def test_codes_are_not_tried_by_the_thousand(office: Office) -> None:
    line = wire.encode("enrol", protocol=1, version="1", secret="00" * 10, device_key="00" * 32)

    async def scene() -> None:
        said = [await stranger(office, line) for _ in range(30)]
        words = [messages[-1]["reason"] for messages in said]
        assert "unknown" in words[0]
        assert any("too many" in each for each in words)

    office.play(scene)


def test_types_nobody_knows_and_reserved_ones_do_no_harm(office: Office) -> None:
    client = office.client()

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected")
        (line,) = office.server._lines.values()
        for kind in ("caps", "port-forwards", "of-tomorrow"):
            line.writer.write(wire.encode(kind, anything=[1, 2]))
        office.change(blocked="still here")
        await until(lambda: client.standing.told.blocked == "still here")
        assert client.standing.connects == 1

    office.play(scene, client)


def test_credentials_of_something_else_are_none(office: Office) -> None:
    text = encode_credentials(office.credentials())
    for damaged in ("", "{}", text[:-3], text.replace('"version": 1', '"version": 2'), text.replace("00", "", 1)):
        assert decode_credentials(damaged) is None


def test_the_identity_stays_and_is_secret(tmp_path: Path) -> None:
    first = fingerprint_of(tmp_path)
    assert fingerprint_of(tmp_path) == first
    assert (tmp_path / "control.pem").stat().st_mode & 0o077 == 0
    (tmp_path / "control.pem").write_text("-----BEGIN CERTIFICATE-----")
    with pytest.raises(Refused, match="not a certificate"):
        server_context(tmp_path)


def test_nothing_older_than_tls_1_3_is_spoken(office: Office) -> None:
    async def scene() -> None:
        context = client_context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection("127.0.0.1", office.port, ssl=context, server_hostname="")

    office.play(scene)
