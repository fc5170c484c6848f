"""Routes and rules of ours, known by their protocol number. What others made is neither seen nor touched.

But for one case: `ip rule flush` takes the rules along that the system itself begins with, and without them no packet
finds the main table. Those that were there when we came are put back.
"""

import errno
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from socket import AF_INET, AF_INET6, if_nametoindex
from typing import Any, Final

from hagw.kernel.rtnl import Rtnl
from hagw.model.ids import (
    MARK_MASK,
    PRIORITY_DEFAULT,
    PRIORITY_MAIN,
    ROUTE_PROTOCOL,
    TABLE_BEST,
    TABLE_DEFAULT,
    TABLE_INTERCEPT,
    TABLE_MAIN,
    TABLE_UPLINK_BASE,
)
from hagw.model.resources import Family, Route, Rule

_AF: Final[dict[Family, int]] = {4: AF_INET, 6: AF_INET6}
_RTN_LOCAL: Final = 2
_RTNH_F_ONLINK: Final = 4
_SCOPE_ANY: Final = 255
_SUPPRESS_NONE: Final = 0xFFFFFFFF
_OUR_TABLES: Final = range(TABLE_UPLINK_BASE, max(TABLE_BEST, TABLE_INTERCEPT) + 1)
_SYSTEM_RULES: Final = (
    Rule(4, PRIORITY_MAIN, TABLE_MAIN),
    Rule(4, PRIORITY_DEFAULT, TABLE_DEFAULT),
    Rule(6, PRIORITY_MAIN, TABLE_MAIN),
)
_RTPROT_KERNEL: Final = 2
_GONE: Final = {errno.ESRCH, errno.ENOENT, errno.ENODEV}


class Routing:
    """Routes and rules over one rtnetlink socket; one thread."""

    def __init__(self) -> None:
        self._netlink = Rtnl()
        self._system_seen: set[Rule] = set()
        self._system_found: set[Rule] = set()

    def read(self) -> Iterator[Route | Rule]:
        """Yield our routes and rules as the kernel has them."""
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in self._netlink.dump("links")}
        self._system_found = set()
        for family, af in _AF.items():
            for message in self._netlink.dump("routes", family=af):
                route = _read_route(message, family, names)
                if route is not None:
                    yield route
            for message in self._netlink.dump("rules", family=af):
                rule = _read_rule(message, family)
                if message.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL:
                    yield rule
                elif rule in _SYSTEM_RULES:
                    self._system_found.add(rule)
        self._system_seen |= self._system_found

    def mend(self) -> tuple[Rule, ...]:
        """Put back rules of the system's own that an earlier reading found and the latest did not; return them."""
        lost = tuple(rule for rule in _SYSTEM_RULES if rule in self._system_seen - self._system_found)
        for rule in lost:
            self._add_rule({**_rule(rule), "protocol": _RTPROT_KERNEL})
        self._system_found |= set(lost)
        return lost

    def put_route(self, route: Route) -> None:
        """Add the route, or replace the one in its place. Raises OSError, also where the interface is not there."""
        self._netlink.change("route", "replace", **_route(route))

    def drop_route(self, route: Route) -> None:
        """Remove every default route of ours in the table; none is fine."""
        wanted = {"family": _AF[route.family], "table": route.table, "dst": "default", "proto": ROUTE_PROTOCOL}
        wanted["scope"] = _SCOPE_ANY
        if route.kind == "local":
            wanted["type"] = "local"
        for _ in range(16):  # IPv6 lets several exist side by side
            if not self._removed("route", **wanted):
                return

    def put_rule(self, rule: Rule) -> None:
        """Add the rule; one that is there already is fine."""
        self._add_rule(_rule(rule))

    def drop_rule(self, rule: Rule) -> None:
        """Remove the rule; one that is not there is fine."""
        self._removed("rule", **_rule(rule))

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def _add_rule(self, request: dict[str, Any]) -> None:
        try:
            self._netlink.change("rule", "add", **request)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def _removed(self, command: str, **request: Any) -> bool:
        try:
            self._netlink.change(command, "del", **request)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        return True


def _route(route: Route) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _AF[route.family],
        "table": route.table,
        "dst": "default",
        "oif": if_nametoindex(route.device),
        "proto": ROUTE_PROTOCOL,
    }
    if route.kind == "local":
        request |= {"type": "local", "scope": "host"}
    elif route.via is None:
        request |= {"scope": "link"}
    else:
        # The gateway may lie outside the connected prefix: mobile and data-centre networks do that.
        request |= {"gateway": str(route.via), "flags": _RTNH_F_ONLINK}
    return request


def _read_route(message: Any, family: Family, names: dict[int, str]) -> Route | None:
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["proto"] != ROUTE_PROTOCOL or table not in _OUR_TABLES or message["dst_len"] != 0:
        return None
    gateway = message.get_attr("RTA_GATEWAY")
    return Route(
        family=family,
        table=table,
        device=names.get(message.get_attr("RTA_OIF"), ""),
        via=None if gateway is None else ip_address(gateway),
        kind="local" if message["type"] == _RTN_LOCAL else "unicast",
    )


def _read_rule(message: Any, family: Family) -> Rule:
    source = message.get_attr("FRA_SRC")
    suppress = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return Rule(
        family=family,
        priority=message.get_attr("FRA_PRIORITY") or 0,
        table=message.get_attr("FRA_TABLE") or message["table"],
        mark=message.get_attr("FRA_FWMARK"),
        source=None if source is None else ip_address(source),
        incoming=message.get_attr("FRA_IIFNAME"),
        suppress_default=suppress not in (None, _SUPPRESS_NONE),
    )


def _rule(rule: Rule) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _AF[rule.family],
        "priority": rule.priority,
        "table": rule.table,
        "protocol": ROUTE_PROTOCOL,
    }
    if rule.mark is not None:
        request |= {"fwmark": rule.mark, "fwmask": MARK_MASK}
    if rule.source is not None:
        request |= {"src": str(rule.source), "src_len": 32 if isinstance(rule.source, IPv4Address) else 128}
    if rule.incoming is not None:
        request |= {"iifname": rule.incoming}
    if rule.suppress_default:
        request |= {"suppress_prefixlen": 0}
    return request
