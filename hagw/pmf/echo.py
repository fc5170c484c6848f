"""The echo that CPE and HAG measure an access line with: its wire format.

In the manner of 3GPP PMF echo (TS 24.193), but authenticated: both datagrams are keyed with the customer's pre-shared
key, each under its own label, so neither can be taken for the other. `asker` and `responder` are its two
sides; sending, receiving and clocks are left to `hagw.probe` (CPE) and the workers (HAG).

    0       4     5     6     7       8       16        24           32          40        44     48      64
    | magic | kind| flag| line| stream| key id | sequence | timestamp | wall time | received | 0  | HMAC  |

Both are 64 bytes: an answer is never larger than its question, so a spoofed source gains nothing. Sequence and
timestamp belong to the asker and come back unchanged. Wall time is the answerer's, in microseconds since 1970;
`received` counts the different questions that reached it from this line. A request repeats the wall time of the last
answer to its stream, 0 = there was none: so the answerer knows that who asks received it at this address. A recorded
question does not prove that to anybody else. Flag 16 in an answer says that this proof is missing.

A line's questions leave by several sockets, which may end at different processes of the HAG, each with a count of its
own. So each socket is a *stream*, and an answer with flag 4 counts the questions of its stream alone: what is missing
in the count was lost on the way up, what is in it but was never answered, on the way down. Flag and stream came later:
who does not know them sends and ignores zeros there, and loss by direction is then unknown.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

SIZE: Final = 64
KEY_SIZE: Final = 32
_MAGIC: Final = b"hgE1"
_REQUEST: Final = 1
_REPLY: Final = 2
_FLAG_IPV6: Final = 0x01
_FLAG_DRAINING: Final = 0x02
_FLAG_STREAM: Final = 0x04
_FLAG_OVERLOADED: Final = 0x08
_FLAG_UNPROVEN: Final = 0x10
_BODY: Final = struct.Struct("!4sBBBB8sQQQI4x")
_MAC_SIZE: Final = 16
_LABELS: Final = {_REQUEST: b"hagw echo request 1\0", _REPLY: b"hagw echo reply 1\0"}
MICRO: Final = 1_000_000
U64: Final = (1 << 64) - 1
U32: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """A question; `line` is the asker's uplink slot, `timestamp_us` its own clock, `stream` one of its sockets.

    `wall_us` repeats what the last answer to this stream said: it was received where this comes from.
    """

    key_id: bytes
    line: int
    sequence: int
    timestamp_us: int
    stream: int = 0
    wall_us: int = 0


@dataclass(frozen=True, slots=True)
class EchoReply:
    """An answer; `received` counts questions (modulo 2**32), those of its stream alone if `counts_stream`.

    `wall_us` is the HAG's clock.
    """

    key_id: bytes
    line: int
    sequence: int
    timestamp_us: int
    wall_us: int
    received: int
    ipv6: bool
    draining: bool
    stream: int = 0
    counts_stream: bool = False
    overloaded: bool = False
    unproven: bool = False  # another question is welcome: the asker's address is not proved yet


def key_id(key: bytes) -> bytes:
    """Return the 8 bytes that tell the HAG which key to check with; they reveal neither the key nor the name."""
    return hashlib.sha256(b"hagw echo key\0" + key).digest()[:8]


def encode_request(request: EchoRequest, key: bytes) -> bytes:
    """Return the 64 bytes of a question."""
    body = _BODY.pack(
        _MAGIC,
        _REQUEST,
        0,
        request.line,
        request.stream,
        request.key_id,
        request.sequence & U64,
        request.timestamp_us & U64,
        request.wall_us & U64,
        0,
    )
    return body + _mac(_REQUEST, body, key)


def encode_reply(reply: EchoReply, key: bytes) -> bytes:
    """Return the 64 bytes of an answer."""
    flags = (_FLAG_IPV6 if reply.ipv6 else 0) | (_FLAG_DRAINING if reply.draining else 0)
    flags |= (_FLAG_STREAM if reply.counts_stream else 0) | (_FLAG_OVERLOADED if reply.overloaded else 0)
    flags |= _FLAG_UNPROVEN if reply.unproven else 0
    body = _BODY.pack(
        _MAGIC,
        _REPLY,
        flags,
        reply.line,
        reply.stream,
        reply.key_id,
        reply.sequence,
        reply.timestamp_us,
        reply.wall_us & U64,
        reply.received & U32,
    )
    return body + _mac(_REPLY, body, key)


def key_id_of(datagram: bytes) -> bytes | None:
    """Return the key id a datagram names, before anything is verified; None = not an echo of ours."""
    if len(datagram) != SIZE or datagram[:4] != _MAGIC:
        return None
    return datagram[8:16]


def decode_request(datagram: bytes, key: bytes) -> EchoRequest | None:
    """Return the question if it is well-formed and authentic, else None. Reserved bytes are not looked at."""
    if not _is_authentic(datagram, _REQUEST, key):
        return None
    _, _, _, line, stream, kid, sequence, timestamp_us, wall_us, _ = _BODY.unpack_from(datagram)
    return EchoRequest(kid, line, sequence, timestamp_us, stream, wall_us)


def decode_reply(datagram: bytes, key: bytes) -> EchoReply | None:
    """Return the answer if it is well-formed and authentic, else None. Unknown flags are not looked at."""
    if not _is_authentic(datagram, _REPLY, key):
        return None
    _, _, flags, line, stream, kid, sequence, timestamp_us, wall_us, received = _BODY.unpack_from(datagram)
    ipv6, draining, counts_stream = (bool(flags & flag) for flag in (_FLAG_IPV6, _FLAG_DRAINING, _FLAG_STREAM))
    return EchoReply(
        kid, line, sequence, timestamp_us, wall_us, received, ipv6, draining, stream,
        counts_stream=counts_stream, overloaded=bool(flags & _FLAG_OVERLOADED),
        unproven=bool(flags & _FLAG_UNPROVEN),
    )  # fmt: skip


def _mac(kind: int, body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _LABELS[kind] + body, "sha256")[:_MAC_SIZE]


def _is_authentic(datagram: bytes, kind: int, key: bytes) -> bool:
    if key_id_of(datagram) is None or datagram[4] != kind:
        return False
    body = datagram[: SIZE - _MAC_SIZE]
    return hmac.compare_digest(_mac(kind, body, key), datagram[SIZE - _MAC_SIZE :])


def micros(seconds: float) -> int:
    """Return a time as it is written into datagrams."""
    return int(seconds * MICRO)
