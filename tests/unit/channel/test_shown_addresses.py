"""A CPE whose address a gateway does not know logs in over that very line; its channel goes on."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from channel_rig import Office, until

from hagw.channel.client import Way
from hagw.channel.credentials import credentials_file, encode_credentials
from hagw.enrolments import SHOWS_BURST, CpeSide, _way
from hagw.model.intent import CpeIntent, FlowLimits, GatewayIntent, PoolIntent
from hagw.model.snapshot import CpeSnapshot, UplinkView

DSL = UplinkView(1, "dsl", "lo", 1, "127.0.0.1", None, "up")
LTE = replace(DSL, slot=2, name="lte", address4="127.0.0.2", metered=True)


class _Workers:
    def share_gateways(self) -> None:
        """Nobody listens."""


class _Gateway:
    """A CPE's control plane, as far as its enrolments need it."""

    def __init__(self, office: Office) -> None:
        hag = GatewayIntent("hag", (ip_address("127.0.0.1"),), 5124, 5124, "", b"", office.port)
        self.intent = CpeIntent(("lan0",), (), (hag,))
        self.published = CpeSnapshot(1, (DSL, LTE), (), (), PoolIntent(), FlowLimits(), "cubic")
        self.workers = _Workers()
        self.proved: list[str] = []
        self.on_unproven: Callable[[str, str, str], None] = lambda *_: None

    def enrolment_changed(self, enrolled: dict[str, tuple[str, bytes]]) -> None:
        self.enrolled = enrolled

    def told_changed(self, told: object) -> None:
        self.told = told

    def status(self) -> dict[str, list[object]]:
        return {"uplinks": []}

    def prove_addresses(self, gateway: str) -> None:
        self.proved.append(gateway)


def enrolled(office: Office, state: Path) -> tuple[_Gateway, CpeSide]:
    """Return a CPE's control plane and enrolments, for one gateway."""
    credentials_file(state, "hag").write_text(encode_credentials(office.credentials()))
    gateway = _Gateway(office)
    return gateway, CpeSide(gateway, state)  # type: ignore[arg-type]  # of the real one it needs no more


def all_shown() -> bool:
    """Say whether all connections that were made for this are closed."""
    return not any(getattr(task.get_coro(), "__name__", "") == "show" for task in asyncio.all_tasks())


def test_a_line_that_the_gateway_does_not_know_is_shown_to_it(office: Office, tmp_path: Path) -> None:
    gateway, cpe = enrolled(office, tmp_path)

    async def scene() -> None:
        gateway.on_unproven("hag", "lte", "127.0.0.1")  # before anything runs: nothing happens
        async with asyncio.TaskGroup() as group:
            running = group.create_task(cpe.run())
            await until(lambda: office.server.document())
            await until(lambda: gateway.proved == ["hag"])
            gateway.on_unproven("hag", "lte", "127.0.0.1")
            gateway.on_unproven("hag", "sat", "127.0.0.1")
            gateway.on_unproven("other", "lte", "127.0.0.1")
            gateway.on_unproven("hag", "lte", "127.0.0.8")
            await until(lambda: len(office.met) == 2)
            await until(lambda: office.server.peers == 1)
            assert office.met == [("home", "127.0.0.1", True), ("home", "127.0.0.2", True)]
            assert [each["source"] for each in office.server.document()] == ["127.0.0.1"]
            await until(all_shown)
            running.cancel()

    office.play(scene)


def test_a_line_is_shown_so_often_at_most(office: Office, tmp_path: Path) -> None:
    """Where each connection through a provider's NAT has another address, none can be proved."""
    gateway, cpe = enrolled(office, tmp_path)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(cpe.run())
            await until(lambda: office.server.document())
            for _ in range(100):
                gateway.on_unproven("hag", "lte", "127.0.0.1")
            await until(lambda: len(office.met) > SHOWS_BURST)
            await until(lambda: office.server.peers == 1)
            assert len(office.met) == 1 + SHOWS_BURST
            await until(all_shown)
            running.cancel()

    office.play(scene)


def test_a_gateway_that_cannot_be_shown_an_address_disturbs_nothing(office: Office, tmp_path: Path) -> None:
    gateway, cpe = enrolled(office, tmp_path)
    gateway.published = replace(gateway.published, uplinks=(DSL, replace(LTE, address4="192.0.2.1")))

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(cpe.run())
            await until(lambda: office.server.document())
            gateway.on_unproven("hag", "lte", "127.0.0.1")  # an address that is not ours
            gateway.on_unproven("hag", "dsl", "127.0.0.1")
            await until(lambda: len(office.met) == 2)
            assert [each["source"] for each in office.server.document()] == ["127.0.0.1"]
            await until(all_shown)
            running.cancel()

    office.play(scene)


def test_a_line_is_shown_in_the_family_and_to_the_address_that_refused_it() -> None:
    addresses = (ip_address("198.51.100.10"), ip_address("2001:db8::10"), ip_address("2001:db8::11"))
    gateway = GatewayIntent("hag", addresses, 5124, 5124, "", b"", 5125)
    line = replace(LTE, address6="2001:db8:7::2")
    assert _way(line, gateway) == Way("lte", "127.0.0.2", "198.51.100.10", 5125)
    assert _way(line, gateway, "2001:db8::11") == Way("lte", "2001:db8:7::2", "2001:db8::11", 5125)
    assert _way(LTE, gateway, "2001:db8::11") is None
