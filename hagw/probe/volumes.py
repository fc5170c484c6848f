"""What each line has carried, as data caps count it: IP bytes by the kernel's counters, and whose counters they are."""

import socket
from collections.abc import Mapping

from hagw.model.usage import Reading, Volume
from hagw.probe.counters import CounterFile, link_header_bytes


class Volumes:
    """Reads interface counters of this process's network namespace. One read costs some 0.1 ms."""

    def __init__(self, namespace: str) -> None:
        """Read for this boot and network namespace, which `namespace` names."""
        self._namespace = namespace
        self._file: CounterFile | None = None
        self._headers: dict[tuple[str, int], int] = {}

    def read(self, interfaces: Mapping[str, str]) -> dict[str, Reading]:
        """Return a reading for each line (name -> its interface) that has an interface. Raises OSError."""
        if self._file is None:
            self._file = CounterFile()
        numbers = {name: number for number, name in socket.if_nameindex()}
        newest = max(numbers.values(), default=0)
        counters = self._file.read({name.encode() for name in interfaces.values()})
        found = {}
        for line, interface in interfaces.items():
            ifindex, counted = numbers.get(interface), counters.get(interface.encode())
            if ifindex is None or counted is None:
                continue
            header = self._header_bytes(interface, ifindex)
            down = max(0, counted.rx_bytes - header * counted.rx_packets)
            up = max(0, counted.tx_bytes - header * counted.tx_packets)
            found[line] = Reading(self._namespace, ifindex, newest, Volume(down, up))
        return found

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _header_bytes(self, interface: str, ifindex: int) -> int:
        key = (interface, ifindex)
        if key not in self._headers:
            self._headers = {known: size for known, size in self._headers.items() if known[0] != interface}
            self._headers[key] = link_header_bytes(interface)
        return self._headers[key]
