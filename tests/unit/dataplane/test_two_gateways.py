"""A flow whose gateway does not take it goes through the next one: over one more connection, all of it, once."""

import time
from collections.abc import Callable, Iterator

import pytest
from plane_rig import HAG, Peer, Server, until
from session_rig import GRANTED, PRELUDE_BYTES, REQUEST_BYTES, Rig

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode
from hagw.convert.message import encode
from hagw.convert.tlv import Error
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.model.snapshot import GatewayView

pytestmark = pytest.mark.netns


class PoolRig(Rig):
    """A worker with a gateway, and a spare one that is asked when the first does not take a flow."""

    def __init__(self, network: str) -> None:
        super().__init__(network)
        self.other = Server(HAG, protocol=IPPROTO_MPTCP)
        spare = GatewayView("spare", (HAG,), self.other.port, "home", "22" * 32, "up", weight=0)
        self.apply(gateways=(*self.snapshot.gateways, spare))

    def fresh(self) -> None:
        for gateway in ("hag", "spare"):
            self.worker.heard(gateway, time.monotonic())

    def asked_of_the_other(self, early: bytes) -> Peer:
        """Return the spare gateway's end of the one connection that a request came over, with this early data."""
        until(self.loop, lambda: self._asked(early))
        (asked,) = self._asked(early)
        return asked

    def _asked(self, early: bytes) -> list[Peer]:
        for each in self.other.accepted:
            each.poll()
        return [each for each in self.other.accepted if bytes(each.received[PRELUDE_BYTES + REQUEST_BYTES :]) == early]

    def close(self) -> None:
        super().close()
        self.other.close()


@pytest.fixture
def rig(network: str) -> Iterator[PoolRig]:
    made = PoolRig(network)
    yield made
    made.close()


def _says(code: ErrorCode, value: bytes = b"") -> Callable[[Peer], object]:
    return lambda conversation: conversation.sock.send(encode((Error(code, value),)))


REFUSALS = {
    "overloaded or draining": _says(ErrorCode.RESOURCE_EXCEEDED, error_value.retry(30)),
    "it does not know our address": _says(ErrorCode.MISSING_COOKIE),
    "we are no customer any more": _says(ErrorCode.NOT_AUTHORIZED),
    "it broke down": _says(ErrorCode.NETWORK_FAILURE),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_a_flow_that_is_refused_goes_through_the_other_gateway(rig: PoolRig, refuse: Callable[[Peer], object]) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"early")
    rig.asked(conversation, b"early")
    refuse(conversation)
    rig.asked_of_the_other(b"early").send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))
    assert rig.server.has_nobody()
    (flow,) = rig.worker.flows(60)
    assert (flow["path"], flow["gateway"]) == ("converted", "spare")


def test_a_gateway_whose_port_is_closed_costs_one_connection_attempt(rig: PoolRig) -> None:
    rig.converter.close()
    rig.fresh()
    client = rig.open(b"early")
    began = time.monotonic()
    rig.asked_of_the_other(b"early")
    print(f"asked the other after {1000 * (time.monotonic() - began):.0f} ms")
    assert rig.server.has_nobody()
    assert not client.received


def test_an_overloaded_gateway_is_left_alone_for_as_long_as_it_asked(rig: PoolRig) -> None:
    conversation = rig.warm()
    rig.fresh()
    rig.open(b"early")
    rig.asked(conversation, b"early")
    REFUSALS["overloaded or draining"](conversation)
    rig.asked_of_the_other(b"early")
    assert rig.worker.policy is not None
    assert [gateway.name for gateway in rig.worker.policy.pool.all] == ["spare"]
    rig.fresh()
    second = rig.open(b"next")
    rig.asked_of_the_other(b"next").send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: second.has(b"answer"))
