"""Judge each uplink: its interface, addresses, the gateways it reaches, what passes through it whole."""

from collections.abc import Iterator
from typing import Final

from hagw.doctor.evidence import NOT_ENROLLED, Connection, Echo, Evidence, Line, PathMtu
from hagw.model.finding import Finding

_MTU6_MIN: Final = 1280
_CLOCK_OFF_S: Final = 1_800.0
_ENROL: Final = (
    "Run `hagw enrol GATEWAY CODE` with a code of its operator's (`hagw customer add` there), or write the key."
)


def check_lines(evidence: Evidence) -> Iterator[Finding]:
    """Yield the findings of every line, and whether any of them can be used at all."""
    lines = [line for line in evidence.lines or () if line.enabled]
    for line in lines:
        found = tuple(finding for check in CHECKS for finding in check(line))
        yield from found
        if not found:
            yield Finding(f"line.{line.name}", "ok", f"{line.name}: {_addresses(line)}, MTU {line.mtu}")
    reached = [line for line in lines if any(echo.rtt_ms is not None for echo in line.echoes)]
    if lines and any(line.echoes for line in lines) and not reached:
        keyless = all(echo.why == NOT_ENROLLED for line in lines for echo in line.echoes)
        yield Finding(
            "gateways",
            "problem",
            "No gateway answers over any line: connections go direct, nothing is bonded.",
            _ENROL
            if keyless
            else "Check key, customer and UDP port of the gateways, and that they run (`hagw status` there).",
        )


def check_interface(line: Line) -> Iterator[Finding]:
    """The interface is there and carries something."""
    name, place = f"line.{line.name}.interface", f"{line.name}: interface {line.interface}"
    if not line.present:
        act = "Check modem and driver, and the name in the configuration (`ip link`)."
        yield Finding(name, "warning", f"{place} does not exist.", act)
    elif not line.up:
        yield Finding(name, "warning", f"{place} is switched off.", f"Run `ip link set {line.interface} up`.")
    elif not line.carrier:
        yield Finding(name, "warning", f"{place} has no carrier.", "Check cable, modem and radio.")


def check_addresses(line: Line) -> Iterator[Finding]:
    """It has an address and a way out in at least one family."""
    if not (line.present and line.up and line.carrier):
        return
    name = f"line.{line.name}.address"
    if line.address4 is None and line.address6 is None:
        act = f"Look at the DHCP or PPP client of {line.interface}."
        yield Finding(name, "warning", f"{line.name}: no usable address.", act)
    for version, address, has_route in ((4, line.address4, line.has_route4), (6, line.address6, line.has_route6)):
        if address is not None and not has_route:
            yield Finding(
                name,
                "warning" if version == 4 else "note",
                f"{line.name}: has {address} but no IPv{version} router.",
                f"Let its client set a default route over {line.interface} (any metric), or set gateway{version} in the"
                " configuration.",
            )


def check_mtu(line: Line) -> Iterator[Finding]:
    """Its packets are large enough for IPv6, and what the interface promises gets through."""
    name = f"line.{line.name}.mtu"
    if line.present and line.address6 is not None and line.mtu < _MTU6_MIN:
        act = f"Run `ip link set {line.interface} mtu {_MTU6_MIN}` or more."
        yield Finding(name, "warning", f"{line.name}: MTU {line.mtu} is too small for IPv6.", act)
    for path in line.path_mtus:
        yield from _path_mtu(name, line, path)


def check_rp_filter(line: Line) -> Iterator[Finding]:
    """Strict filtering drops what arrives on any but the best line."""
    if line.rp_filter == "1":
        yield Finding(
            f"line.{line.name}.rp-filter",
            "note",
            f"{line.name}: net.ipv4.conf.{line.interface}.rp_filter is 1 (strict): answers over this line are dropped"
            " while the main route leads elsewhere.",
            "hagw sets it to 2 while it runs: look here again when it does.",
        )


def check_gateways(line: Line) -> Iterator[Finding]:
    """Gateways answer echoes and accept Multipath TCP connections over it."""
    heard = {echo.gateway: echo.address for echo in line.echoes if echo.rtt_ms is not None}
    for echo in line.echoes:
        yield from _echo(line, echo, heard.get(echo.gateway))
    for connection in line.connections:
        yield from _connection(line, connection)


CHECKS: Final = (check_interface, check_addresses, check_mtu, check_rp_filter, check_gateways)


def _echo(line: Line, echo: Echo, heard_at: str | None) -> Iterator[Finding]:
    name = f"line.{line.name}.echo"
    if echo.rtt_ms is not None:
        yield Finding(name, "ok", f"{line.name}: {echo.gateway} at {echo.address} answers in {echo.rtt_ms:.0f} ms")
        if echo.clock_ahead_s is not None and abs(echo.clock_ahead_s) > _CLOCK_OFF_S:
            yield Finding(
                "clock.gateway",
                "note",
                f"The clocks of {echo.gateway} and this machine are {abs(echo.clock_ahead_s) / 3600:.1f} h apart.",
                "A CPE takes its gateway's time: nothing to do if the gateway's is right.",
            )
    elif heard_at is not None:
        yield Finding(
            name,
            "note",
            f"{line.name}: {echo.gateway} at {echo.address} does not answer echoes: {echo.why}; at {heard_at} it does.",
            "Connections use the family that works. Over every line alike? Look at that address of the gateway, else"
            f" at this line's {_family(echo.address)}: address, router, the provider's firewall.",
        )
    else:
        yield Finding(
            name,
            "warning",
            f"{line.name}: {echo.gateway} at {echo.address} does not answer echoes: {echo.why}.",
            _ENROL
            if echo.why == NOT_ENROLLED
            else "Check that UDP to its probe port passes this line, key and customer, and `sources` at the gateway.",
        )


def _connection(line: Line, connection: Connection) -> Iterator[Finding]:
    name, way = f"line.{line.name}.converter", f"{line.name}: {connection.gateway} at {connection.address}"
    match connection.outcome:
        case "mptcp":
            yield Finding(name, "ok", f"{way} accepts Multipath TCP connections")
        case "tcp":
            yield Finding(
                name,
                "warning",
                f"{way}: something on the way removes Multipath TCP's options from connections.",
                "Ask the provider for another access profile (APN), or disable the line: it cannot be bonded as it is.",
            )
        case "failed":
            act = "Check that TCP to its port passes this line, and that its workers listen."
            yield Finding(name, "warning", f"{way} does not accept connections: {connection.why}.", act)


def _path_mtu(name: str, line: Line, path: PathMtu) -> Iterator[Finding]:
    way = f"{line.name}: to {path.gateway} at {path.address}"
    if path.size_bytes is None:
        yield Finding(
            name, "note", f"{way} the path's MTU was not measured: no answer to pings.", "Let the gateway answer pings."
        )
    elif path.size_bytes >= line.mtu:
        yield Finding(name, "ok", f"{way} packets of {path.size_bytes} bytes pass")
    else:
        yield Finding(
            name,
            "warning",
            f"{way} packets above {path.size_bytes} bytes are lost, the interface promises {line.mtu}.",
            f"Run `ip link set {line.interface} mtu {path.size_bytes}`, and set it where the line is configured.",
        )


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _addresses(line: Line) -> str:
    return " and ".join(each for each in (line.address4, line.address6) if each is not None)
