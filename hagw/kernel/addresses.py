"""Addresses of ours on uplinks, known by their protocol number. What others configured is neither seen nor touched."""

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Any, Final

from hagw.kernel.rtnl import Rtnl
from hagw.model.ids import ADDRESS_PROTOCOL
from hagw.model.resources import Address

_IFA_F_NODAD: Final = 0x02
_GONE: Final = {errno.EADDRNOTAVAIL, errno.ENODEV}


class Addresses:
    """Addresses over one rtnetlink socket; one thread."""

    def __init__(self) -> None:
        self._netlink = Rtnl()

    def read(self) -> Iterator[Address]:
        """Yield our addresses as the kernel has them."""
        messages = [found for found in self._netlink.dump("addr") if found.get_attr("IFA_PROTO") == ADDRESS_PROTOCOL]
        names = (
            {link["index"]: link.get_attr("IFLA_IFNAME") for link in self._netlink.dump("links")} if messages else {}
        )
        for message in messages:
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            yield Address(names.get(message["index"], ""), ip_interface(f"{address}/{message['prefixlen']}"))

    def put(self, address: Address) -> None:
        """Add the address; one that is there already is fine. Raises OSError, also where the interface is not there."""
        try:
            self._netlink.change("addr", "add", **_request(address), proto=ADDRESS_PROTOCOL)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def drop(self, address: Address) -> None:
        """Remove the address; one that is not there is fine."""
        try:
            self._netlink.change("addr", "del", **_request(address))
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()


def _request(address: Address) -> dict[str, Any]:
    interface = address.address
    request: dict[str, Any] = {
        "index": socket.if_nametoindex(address.device),
        "address": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
        "family": socket.AF_INET if interface.version == 4 else socket.AF_INET6,
    }
    if interface.version == 6:
        # The owner has chosen it; a line must not be without its address for a second after each change.
        request["flags"] = _IFA_F_NODAD
    elif interface.network.prefixlen < 31:
        request["broadcast"] = str(interface.network.broadcast_address)
    return request
