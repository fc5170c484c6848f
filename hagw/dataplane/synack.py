"""The TCP options of a server's SYN+ACK, for the Extended TCP Header TLV (RFC 8803 section 6.2.6).

The kernel does not keep them for connections it opened, so they are rebuilt from what was negotiated: MSS, window
scale, SACK, timestamps (values zero: they were of that moment only), and MPTCP without its keys.
"""

import socket
import struct

from hagw.dataplane.mptcp_socket import token_of

_TCPI_OPT_TIMESTAMPS = 1
_TCPI_OPT_SACK = 2
_TCPI_OPT_WSCALE = 4


def syn_ack_options(server: socket.socket) -> bytes:
    """Return options padded to a word; empty when the kernel tells nothing."""
    try:
        info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        mss = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    except OSError:
        return b""
    negotiated = info[5]
    options = struct.pack("!BBH", 2, 4, min(max(mss, 0), 0xFFFF))
    if negotiated & _TCPI_OPT_SACK:
        options += b"\x04\x02"
    if negotiated & _TCPI_OPT_TIMESTAMPS:
        options += b"\x08\x0a" + bytes(8)
    if negotiated & _TCPI_OPT_WSCALE:
        options += bytes((3, 3, info[6] & 0x0F))
    if token_of(server) is not None:
        options += b"\x1e\x04\x01\x00"
    return options + bytes(-len(options) % 4)
