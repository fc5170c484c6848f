"""Answers CPEs' echoes on a HAG worker's datagram sockets; what an answer says is `hagw.pmf.responder`'s."""

import socket
import time
from typing import Final

from hagw.dataplane.customers import Customers
from hagw.dataplane.hag_sockets import IP_PKTINFO
from hagw.dataplane.loop import Loop
from hagw.dataplane.proven import ProvenAddresses
from hagw.model.snapshot import HagSnapshot
from hagw.pmf.responder import Responder

DATAGRAMS_AN_EVENT: Final = 64
IPV6_PKTINFO: Final = 50


class Echoes:
    """One worker's responder on its sockets."""

    def __init__(self, loop: Loop, proven: ProvenAddresses | None) -> None:
        self._loop = loop
        self._proven = proven
        self._responder: Responder | None = None

    def configure(self, customers: Customers, snapshot: HagSnapshot) -> None:
        """Answer these customers, by what a new snapshot says."""
        asking = customers.echoes()
        if self._responder is None:
            self._responder = Responder(asking, ipv6_egress=snapshot.ipv6_egress, draining=snapshot.draining)
        else:
            self._responder.reconfigure(asking, ipv6_egress=snapshot.ipv6_egress, draining=snapshot.draining)
        self._responder.proofs = self._proven if snapshot.bind_cookies or snapshot.bind_renewing else None

    def tell_overload(self, is_overloaded: bool) -> None:
        """Have answers say whether new flows had better go through another gateway."""
        if self._responder is not None:
            self._responder.overloaded = is_overloaded

    def answer(self, sock: socket.socket, _mask: int) -> None:
        """Answer what has come, a bounded number at a time."""
        responder = self._responder
        assert responder is not None
        level = socket.IPPROTO_IPV6 if sock.family == socket.AF_INET6 else socket.IPPROTO_IP
        kind = IPV6_PKTINFO if sock.family == socket.AF_INET6 else IP_PKTINFO
        for _ in range(DATAGRAMS_AN_EVENT):
            try:
                data, ancillary, _, source = sock.recvmsg(256, 128)
                reply = responder.respond(data, source[0], self._loop.now, time.time())
                if reply is not None:
                    # From the address that was asked: anything else does not pass the asker's NAT.
                    info = [a for a in ancillary if a[0] == level and a[1] == kind]
                    sock.sendmsg([reply], info, 0, source)
            except BlockingIOError:
                return
            except OSError:
                continue  # no route back, or an ICMP error of an earlier reply
