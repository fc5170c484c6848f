"""See each uplink as it is: facts of the kernel, and what comes back over it from every gateway."""

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP, token_of
from hagw.doctor.evidence import NOT_ENROLLED, Connection, Echo, Line, PathMtu
from hagw.doctor.ping import largest_packet
from hagw.kernel import sysctl
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.ids import ECHO_LINE_EXAMINED_BASE
from hagw.model.intent import CpeIntent, GatewayIntent, IPAddress, UplinkIntent
from hagw.probe.path import Endpoints, Path
from hagw.uplinks.interfaces import resolved

_TRIES: Final = 3
_TRY_S: Final = 0.7
_CONNECT_S: Final = 3.0
_BUFFER: Final = 256


def look_lines(intent: CpeIntent, facts: Facts) -> tuple[Line, ...]:
    """Look at all lines side by side; takes some seconds where nothing answers."""
    uplinks = resolved(intent, facts).uplinks
    with ThreadPoolExecutor(max_workers=max(1, len(uplinks))) as threads:
        return tuple(
            threads.map(lambda up: _look(up, facts.uplinks.get(up.name, UplinkFacts(up.name, None)), intent), uplinks)
        )


def _look(uplink: UplinkIntent, facts: UplinkFacts, intent: CpeIntent) -> Line:
    interface = facts.interface or uplink.interface
    ways = [
        (gateway, source, address)
        for gateway in intent.gateways
        for address in gateway.addresses
        for source in (facts.address4, facts.address6)
        if source is not None and source.version == address.version
    ]
    if not (uplink.enabled and facts.carrier and facts.admin_up):
        ways = []
    return Line(
        name=uplink.name,
        interface=interface or "that was asked for",
        enabled=uplink.enabled,
        present=facts.ifindex is not None,
        up=facts.admin_up,
        carrier=facts.carrier,
        mtu=facts.mtu,
        address4=None if facts.address4 is None else str(facts.address4),
        address6=None if facts.address6 is None else str(facts.address6),
        has_route4=facts.gateway4 is not None or facts.onlink4,
        has_route6=facts.gateway6 is not None or facts.onlink6,
        rp_filter=sysctl.read(f"net/ipv4/conf/{interface}/rp_filter"),
        echoes=tuple(_echo(uplink.slot, interface, facts.ifindex or 0, *way) for way in ways),
        connections=tuple(_connect(interface, *way) for way in ways),
        path_mtus=tuple(
            PathMtu(gateway.name, str(address), largest_packet(interface, source, address, facts.mtu))
            for gateway, source, address in ways
        ),
    )


def _echo(
    slot: int, interface: str, ifindex: int, gateway: GatewayIntent, source: IPAddress, address: IPAddress
) -> Echo:
    """Ask as the daemon does, under another line number: the gateway counts questions by it."""
    if not gateway.key:
        return Echo(gateway.name, str(address), None, NOT_ENROLLED)
    line = ECHO_LINE_EXAMINED_BASE + slot
    ends = Endpoints(
        interface=interface,
        ifindex=ifindex,
        source=source,
        destination=address,
        port=gateway.probe_port,
        line=line,
        key=gateway.key,
        convert_port=gateway.port,
    )
    path, why = Path(ends), f"nothing within {_TRIES * _TRY_S:.1f} s"
    try:
        path.open()
        for _ in range(_TRIES):
            path.send(path.ask(time.monotonic()))
            deadline = time.monotonic() + _TRY_S
            while (left := deadline - time.monotonic()) > 0:
                for sock in select.select(path.sockets, [], [], left)[0]:
                    answer = path.asker.accept(sock.recv(_BUFFER), time.monotonic())
                    if answer is not None:
                        ahead = answer.wall_s - time.time()
                        return Echo(gateway.name, str(address), answer.rtt_s * 1000, clock_ahead_s=ahead)
    except OSError as error:
        why = error.strerror or str(error)
    finally:
        path.close()
    return Echo(gateway.name, str(address), None, why)


def _connect(interface: str, gateway: GatewayIntent, source: IPAddress, address: IPAddress) -> Connection:
    """Open a connection, send nothing, and close it."""
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
            sock.settimeout(_CONNECT_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.bind((str(source), 0))
            sock.connect((str(address), gateway.port))
            outcome: Final = "tcp" if token_of(sock) is None else "mptcp"
            return Connection(gateway.name, str(address), outcome)
    except TimeoutError:
        return Connection(gateway.name, str(address), "failed", f"no answer within {_CONNECT_S:g} s")
    except OSError as why:
        return Connection(gateway.name, str(address), "failed", why.strerror or str(why))
