"""Interfaces: what they can be known by, and their mtu and being up, put back as they were."""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from hagw.kernel.rtnl import Rtnl
from hagw.model.remembered import RememberedLink
from hagw.model.resources import LinkProperty, LinkSetting
from hagw.uplinks.interfaces import Link

_IFF_UP: Final = 0x1
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GDRVINFO: Final = 3
_DRVINFO_SIZE: Final = 196
_NO_MAC: Final = "00:00:00:00:00:00"


class Links:
    """Settings of interfaces over one rtnetlink socket; one thread."""

    def __init__(self) -> None:
        self._netlink = Rtnl()

    def read_known(self, remembered: Mapping[tuple[str, LinkProperty], RememberedLink]) -> Iterator[LinkSetting]:
        """Yield the settings under our control with the values they have now; none of interfaces that are gone."""
        links = self._links() if remembered else {}
        for device, name in remembered:
            if device in links:
                yield LinkSetting(device, name, _value(links[device], name))

    def remember(self, wanted: LinkSetting, known: RememberedLink | None) -> RememberedLink | None:
        """Return what must be remembered before `wanted` is written, None where there is no such interface."""
        if known is not None:
            return replace(known, written=tuple(dict.fromkeys((*known.written, wanted.value))))
        link = self._links().get(wanted.device)
        return None if link is None else RememberedLink(_value(link, wanted.name), (wanted.value,), link["index"])

    def put(self, wanted: LinkSetting) -> None:
        """Write a setting. Raises OSError, also where the interface is not there."""
        index = socket.if_nametoindex(wanted.device)
        if wanted.name == "mtu":
            self._netlink.change("link", "set", index=index, mtu=wanted.value)
        else:
            self._netlink.change("link", "set", index=index, state="up" if wanted.value else "down")

    def restore(self, present: LinkSetting, known: RememberedLink) -> str | None:
        """Put back the previous value; return why not where it was left alone. Raises OSError."""
        if present.value == known.previous:
            return None
        if present.value not in known.written:
            what = f"{present.name} of {present.device} is {present.value}"
            return f"{what}, set by somebody else: left alone (it was {known.previous})"
        self.put(replace(present, value=known.previous))
        return None

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def _links(self) -> dict[str, Any]:
        return {link.get_attr("IFLA_IFNAME"): link for link in self._netlink.dump("links")}


def describe_links(links: Mapping[str, Any], *, with_drivers: bool) -> list[Link]:
    """Return what the dumped links can be known by. A driver costs a system call each."""
    drivers = _drivers(links) if with_drivers else {}
    return [
        Link(
            name=name,
            mac=_mac(link.get_attr("IFLA_ADDRESS")),
            permanent_mac=_mac(link.get_attr("IFLA_PERM_ADDRESS")),
            driver=drivers.get(name, ""),
        )
        for name, link in links.items()
    ]


def _value(link: Any, name: LinkProperty) -> int:
    if name == "mtu":
        mtu: int = link.get_attr("IFLA_MTU")
        return mtu
    return int(bool(link["flags"] & _IFF_UP))


def _mac(text: Any) -> str:
    return text.lower() if isinstance(text, str) and text != _NO_MAC else ""


def _drivers(names: Mapping[str, Any]) -> dict[str, str]:
    """Ask by ioctl (struct ethtool_drvinfo): sysfs may show another network namespace's interfaces."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for name in names:
            info = array.array("B", struct.pack("=I", _ETHTOOL_GDRVINFO).ljust(_DRVINFO_SIZE, b"\0"))
            request = struct.pack("16sP16x", name.encode(), info.buffer_info()[0])
            try:
                fcntl.ioctl(sock, _SIOCETHTOOL, request)
            except OSError:
                continue  # lo and some tunnels have none
            found[name] = info.tobytes()[4:36].split(b"\0")[0].decode(errors="replace")
    return found
