"""Servers that the protocol itself forbids to ask for. Which of the others a customer may reach is policy, not ours."""

from ipaddress import IPv4Address, IPv6Address

from hagw.convert.errors import ErrorCode


def refusal(address: IPv4Address | IPv6Address, port: int) -> tuple[ErrorCode, str] | None:
    """Return why no converter may connect there, None if one may (RFC 8803 section 6.2.5).

    Port 0, unspecified, loopback, multicast and broadcast addresses make the message malformed; link-local
    and IPv4-compatible ones are valid, but mean nothing beyond the client's own link: Not Authorized.
    """
    if not port:
        return ErrorCode.MALFORMED_MESSAGE, "port 0"
    return _refusal_v4(int(address)) if address.version == 4 else _refusal_v6(int(address))


def _refusal_v4(number: int) -> tuple[ErrorCode, str] | None:
    first = number >> 24
    if first == 127 or number == 0:
        return ErrorCode.MALFORMED_MESSAGE, "loopback or unspecified address"
    if 224 <= first < 240 or number == 0xFFFF_FFFF:
        return ErrorCode.MALFORMED_MESSAGE, "multicast or broadcast address"
    if number >> 16 == 0xA9FE:
        return ErrorCode.NOT_AUTHORIZED, "link-local address"
    return None


def _refusal_v6(number: int) -> tuple[ErrorCode, str] | None:
    if number <= 1:
        return ErrorCode.MALFORMED_MESSAGE, "loopback or unspecified address"
    if number >> 120 == 0xFF:
        return ErrorCode.MALFORMED_MESSAGE, "multicast address"
    if number >> 118 == 0xFE80 >> 6:
        return ErrorCode.NOT_AUTHORIZED, "link-local address"
    if number >> 32 == 0:
        return ErrorCode.NOT_AUTHORIZED, "IPv4-compatible address"
    return None
