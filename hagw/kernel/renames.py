"""What is remembered about interfaces follows them: parameters are named after interfaces, which get other names."""

import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hagw.model.remembered import Remembered

_OF_INTERFACE: Final = re.compile(r"(net/ipv[46]/(?:conf|neigh)/)([^/]+)(/.+)")
_OF_ALL: Final = {"all", "default"}


def interface_of(name: str) -> str | None:
    """Return the interface that a parameter belongs to, None where it is of none."""
    found = _OF_INTERFACE.fullmatch(name)
    return None if found is None or found[2] in _OF_ALL else found[2]


def index_of(name: str) -> int:
    """Return the index of the interface that a parameter belongs to, 0 where it is of none."""
    interface = interface_of(name)
    try:
        return 0 if interface is None else socket.if_nametoindex(interface)
    except OSError:
        return 0


def follow(remembered: Remembered) -> Remembered:
    """Return what is remembered under the names of now; of an interface that is gone for good nothing is.

    One that was made anew under the same name is another interface. Raises OSError.
    """
    names = dict(socket.if_nameindex())
    sysctls = {
        _renamed(name, known.ifindex, names): known
        for name, known in remembered.sysctls.items()
        if not known.ifindex or known.ifindex in names
    }
    links = {
        (names.get(known.ifindex, device), setting): known
        for (device, setting), known in remembered.links.items()
        if not known.ifindex or known.ifindex in names
    }
    return replace(remembered, sysctls=sysctls, links=links)


def _renamed(name: str, ifindex: int, names: Mapping[int, str]) -> str:
    found = _OF_INTERFACE.fullmatch(name)
    return name if found is None or not ifindex else f"{found[1]}{names[ifindex]}{found[3]}"
