"""rtnetlink messages that change something: default routes, rules, addresses, and interfaces' mtu and being up.

Laid out as in linux/rtnetlink.h, fib_rules.h, if_addr.h and if_link.h; only what hagw sets.
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from hagw.kernel.messages import ADDRESSES, LINKS, ROUTES, RULES
from hagw.kernel.netlink import NLM_F_ACK, attribute
from hagw.model.ids import ADDRESS_PROTOCOL, MARK_MASK, ROUTE_PROTOCOL
from hagw.model.resources import Family, Route, Rule

_NLM_F_REPLACE: Final = 0x100
_NLM_F_EXCL: Final = 0x200
_NLM_F_CREATE: Final = 0x400
_ADD: Final = NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL
_REPLACE: Final = NLM_F_ACK | _NLM_F_CREATE | _NLM_F_REPLACE

_RTM_SETLINK: Final = 19
_RTM_NEWADDR: Final = 20
_RTM_DELADDR: Final = 21
_RTM_NEWROUTE: Final = 24
_RTM_DELROUTE: Final = 25
_RTM_NEWRULE: Final = 32
_RTM_DELRULE: Final = 33

_AF: Final[dict[Family, int]] = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY_TYPE: Final = 0
_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2
_SCOPE_UNIVERSE: Final = 0
_SCOPE_LINK: Final = 253
_SCOPE_HOST: Final = 254
_SCOPE_ANY: Final = 255
_RTNH_F_ONLINK: Final = 4
_FR_ACT_TO_TBL: Final = 1
_IFA_F_NODAD: Final = 0x02
_IFF_UP: Final = 0x1
_TABLE_IN_ATTRIBUTE: Final = 0  # numbers above 255 do not fit into the fixed part

# Attributes, as `messages` knows most of them by name.
_IFLA_MTU: Final = 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_PROTO = 1, 2, 4, 11
_RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 4, 5, 15
_FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN = 2, 3, 6, 10, 14
_FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 15, 16, 21


@dataclass(frozen=True, slots=True)
class Change:
    """One request: its kind (RTM_…), its flags (NLM_F_…) and its body."""

    request: int
    flags: int
    payload: bytes


def route_replaced(route: Route) -> Change:
    """Put a default route in the place of the one there, if any. Raises OSError where the interface is not there."""
    kind, scope, flags, more = _RTN_UNICAST, _SCOPE_UNIVERSE, 0, b""
    if route.kind == "local":
        kind, scope = _RTN_LOCAL, _SCOPE_HOST
    elif route.via is None:
        scope = _SCOPE_LINK
    else:
        # The gateway may lie outside the connected prefix: mobile and data-centre networks do that.
        flags, more = _RTNH_F_ONLINK, attribute(_RTA_GATEWAY, route.via.packed)
    body = _route(route, scope, kind, flags) + _u32(_RTA_OIF, socket.if_nametoindex(route.device)) + more
    return Change(_RTM_NEWROUTE, _REPLACE, body)


def route_deleted(route: Route) -> Change:
    """Delete a default route of ours from the route's table, whatever interface it has."""
    kind = _RTN_LOCAL if route.kind == "local" else _ANY_TYPE
    return Change(_RTM_DELROUTE, NLM_F_ACK, _route(route, _SCOPE_ANY, kind, 0))


def rule_added(rule: Rule, protocol: int = ROUTE_PROTOCOL) -> Change:
    """Add a rule; the kernel refuses one that is there already (EEXIST)."""
    return Change(_RTM_NEWRULE, _ADD, _rule(rule, protocol))


def rule_deleted(rule: Rule) -> Change:
    """Delete a rule of ours."""
    return Change(_RTM_DELRULE, NLM_F_ACK, _rule(rule, ROUTE_PROTOCOL))


def address_added(index: int, address: IPv4Interface | IPv6Interface) -> Change:
    """Add an address of ours to an interface; the kernel refuses one that is there already (EEXIST)."""
    return Change(_RTM_NEWADDR, _ADD, _address(index, address) + attribute(_IFA_PROTO, bytes([ADDRESS_PROTOCOL])))


def address_deleted(index: int, address: IPv4Interface | IPv6Interface) -> Change:
    """Delete an address from an interface."""
    return Change(_RTM_DELADDR, NLM_F_ACK, _address(index, address))


def mtu_set(index: int, mtu: int) -> Change:
    """Set an interface's mtu."""
    return Change(_RTM_SETLINK, NLM_F_ACK, LINKS.fixed.pack(0, 0, index, 0, 0) + _u32(_IFLA_MTU, mtu))


def up_set(index: int, is_up: bool) -> Change:
    """Take an interface up or down."""
    return Change(_RTM_SETLINK, NLM_F_ACK, LINKS.fixed.pack(0, 0, index, _IFF_UP if is_up else 0, _IFF_UP))


def _route(route: Route, scope: int, kind: int, flags: int) -> bytes:
    fixed = (_AF[route.family], 0, 0, 0, _TABLE_IN_ATTRIBUTE, ROUTE_PROTOCOL, scope, kind, flags)
    return ROUTES.fixed.pack(*fixed) + _u32(_RTA_TABLE, route.table)


def _rule(rule: Rule, protocol: int) -> bytes:
    source_bits = 0 if rule.source is None else rule.source.max_prefixlen
    body = RULES.fixed.pack(_AF[rule.family], 0, source_bits, 0, _TABLE_IN_ATTRIBUTE, 0, 0, _FR_ACT_TO_TBL, 0)
    body += _u32(_FRA_PRIORITY, rule.priority) + _u32(_FRA_TABLE, rule.table)
    body += attribute(_FRA_PROTOCOL, bytes([protocol]))
    if rule.mark is not None:
        body += _u32(_FRA_FWMARK, rule.mark) + _u32(_FRA_FWMASK, MARK_MASK)
    if rule.source is not None:
        body += attribute(_FRA_SRC, rule.source.packed)
    if rule.incoming is not None:
        body += attribute(_FRA_IIFNAME, rule.incoming.encode() + b"\0")
    if rule.suppress_default:
        body += _u32(_FRA_SUPPRESS_PREFIXLEN, 0)
    return body


def _address(index: int, address: IPv4Interface | IPv6Interface) -> bytes:
    network = address.network
    packed = address.ip.packed
    if address.version == 6:
        # The owner has chosen it; a line must not be without its address for a second after each change.
        body = ADDRESSES.fixed.pack(socket.AF_INET6, network.prefixlen, _IFA_F_NODAD, 0, index)
        return body + attribute(_IFA_ADDRESS, packed)
    body = ADDRESSES.fixed.pack(socket.AF_INET, network.prefixlen, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if network.prefixlen < 31:
        body += attribute(_IFA_BROADCAST, network.broadcast_address.packed)
    return body


def _u32(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))
