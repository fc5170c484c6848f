"""Netlink requests without a dependency: framing, attributes, acknowledgements with the kernel's own words.

Used for dumps, where pyroute2 has no command (MPTCP path manager, conntrack by mark) and by the data plane, whose
processes must stay small. One socket serves one thread; every request is answered before the next is sent.
"""

import os
import select
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP: Final = 0x300
NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF

_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_CAPPED: Final = 0x100
_NLM_F_ACK_TLVS: Final = 0x200
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLMSGERR_ATTR_MSG: Final = 1
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_ANSWER_TIMEOUT_MS: Final = 2_000
_RECEIVE_BYTES: Final = 1 << 16

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")


def attribute(kind: int, payload: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + bytes(-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Encode an attribute that holds other attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type without flags, payload) of each attribute; stops at the first that does not fit."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > len(data):
            return
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3


class NetlinkSocket:
    """One netlink socket. Bound to the network namespace of the thread that makes it."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0
        self.was_interrupted = False  # the latest dump: what it shows changed meanwhile

    def request(self, kind: int, payload: bytes, flags: int = NLM_F_ACK) -> list[bytes]:
        """Send one request and return the payloads of its answers, the acknowledgement left out.

        Raises OSError with the kernel's errno, and its explanation where it gave one; ETIMEDOUT when the
        kernel does not answer. `flags` must ask for an acknowledgement or a dump: both mark the end.
        """
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        size = _HEADER.size + len(payload)
        self._socket.send(_HEADER.pack(size, kind, NLM_F_REQUEST | flags, self._sequence, 0) + payload)
        answers: list[bytes] = []
        self.was_interrupted = False
        while True:
            for message_kind, message_flags, body in self._messages():
                if message_kind != _NLMSG_ERROR and message_flags & _NLM_F_DUMP_INTR:
                    self.was_interrupted = True
                if message_kind == _NLMSG_ERROR:
                    _raise_error(body, message_flags)
                    return answers
                if message_kind == _NLMSG_DONE:
                    _raise_error(body, message_flags | _NLM_F_CAPPED, tlvs_at=_ERROR.size)
                    return answers
                answers.append(body)

    def close(self) -> None:
        """Close the socket; harmless when it is closed already."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (type, flags, body) of one datagram's messages that answer the current request."""
        data = self._receive()
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            if size < _HEADER.size or offset + size > len(data):
                raise OSError(74, "truncated netlink message")  # EBADMSG
            if sequence == self._sequence:  # an answer that came after its request had timed out is not ours
                yield kind, flags, data[offset + _HEADER.size : offset + size]
            offset += (size + 3) & ~3

    def _receive(self) -> bytes:
        # Requests are handled inside send(), so the answer is already there: polling first would cost a
        # system call for each subflow. Only a dump's later parts may need the wait.
        try:
            return self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if not poll.poll(_ANSWER_TIMEOUT_MS):
                raise TimeoutError(110, "no answer from the kernel") from None  # ETIMEDOUT
            return self._socket.recv(_RECEIVE_BYTES)


def _raise_error(body: bytes, flags: int, tlvs_at: int | None = None) -> None:
    """Raise what an acknowledgement says, nothing for success. Layout: struct nlmsgerr in linux/netlink.h."""
    if len(body) < _ERROR.size:
        return
    code = -_ERROR.unpack_from(body)[0]
    if code <= 0:
        return
    text = os.strerror(code)
    if flags & _NLM_F_ACK_TLVS:
        if tlvs_at is None:
            quoted = _HEADER.size if flags & _NLM_F_CAPPED else _HEADER.unpack_from(body, _ERROR.size)[0]
            tlvs_at = _ERROR.size + ((quoted + 3) & ~3)
        for kind, value in attributes(body[tlvs_at:]):
            if kind == _NLMSGERR_ATTR_MSG:
                text = f"{text}: {value.rstrip(bytes(1)).decode(errors='replace')}"
    raise OSError(code, text)
