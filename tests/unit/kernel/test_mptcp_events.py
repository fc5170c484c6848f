"""Messages of the path manager's multicast group, as the kernel lays them out."""

import struct

import pytest

from hagw.kernel.mptcp_events import SubflowEvent, parse
from hagw.kernel.netlink import attribute

TOKEN = attribute(1, struct.pack("=I", 77))
LOCAL4 = attribute(5, bytes([192, 0, 2, 2]))
LOCAL6 = attribute(6, bytes.fromhex("20010db8000000000000000000000002"))
MAPPED = attribute(6, bytes.fromhex("00000000000000000000ffffc0000202"))
PORT = attribute(9, struct.pack(">H", 40_000))
OTHERS = attribute(2, struct.pack("=H", 2)) + attribute(3, b"\x02") + attribute(10, struct.pack(">H", 5124))


def message(event: int, *attributes: bytes) -> bytes:
    body = struct.pack("=BBH", event, 1, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 31, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (message(10, TOKEN, OTHERS, LOCAL4, PORT), SubflowEvent(77, ("192.0.2.2", 40_000), False)),
        (message(11, TOKEN, LOCAL6, PORT), SubflowEvent(77, ("2001:db8::2", 40_000), True)),
        (message(11, TOKEN, MAPPED, PORT, attribute(12, b"\x68")), SubflowEvent(77, ("192.0.2.2", 40_000), True, 104)),
        (message(1, TOKEN, LOCAL4, PORT), None),
        (message(11, LOCAL4, PORT), None),
        (message(11, TOKEN, PORT), None),
        (message(11, TOKEN, LOCAL4), None),
    ],
)
def test_what_asks_for_a_look_is_told(told: bytes, found: SubflowEvent | None) -> None:
    assert parse(told) == found


def test_a_damaged_message_tells_nothing_wrong() -> None:
    whole = message(11, TOKEN, LOCAL4, PORT)
    for end in range(len(whole)):
        assert parse(whole[:end]) in (None, SubflowEvent(77, ("192.0.2.2", 40_000), True))
