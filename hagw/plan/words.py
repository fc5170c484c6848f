"""A plan in words for its owner: what changes in the configuration, and what is done to the machine for it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, assert_never

from hagw.model.ids import TABLE_BEST, TABLE_INTERCEPT, TABLE_MAIN, TABLE_UPLINK_BASE
from hagw.model.intent import CpeIntent, HagIntent, Intent
from hagw.model.resources import (
    Address,
    Drop,
    LinkSetting,
    MptcpLimits,
    NftTable,
    Plan,
    Put,
    Resource,
    Route,
    Rule,
    Sysctl,
)

_SECRETS = ("key", "registry_url")
_SECRETS_OF_GROUPS = (*_SECRETS, "url", "secret")  # a webhook's
_DERIVED = "slot"


def changes(before: Intent, after: Intent) -> tuple[str, ...]:
    """Return what differs between two configurations, a sentence each; keys are never shown."""
    match before, after:
        case CpeIntent(), CpeIntent():
            named = (("uplink", before.uplinks, after.uplinks), ("gateway", before.gateways, after.gateways),
                     ("rule", before.rules, after.rules))  # fmt: skip
        case HagIntent(), HagIntent():
            named = (("customer", before.customers, after.customers),)  # type: ignore[assignment]  # shorter
        case _:
            return ("it becomes another role",)
    found = [line for kind, old, new in named for line in _entries(kind, old, new)]
    skipped = {"uplinks", "gateways", "rules", "customers"}
    return (*found, *_fields("", before, after, skipped))


def steps(plan: Plan, names: Mapping[int, str]) -> tuple[str, ...]:
    """Return the plan's steps in order; `names` are uplinks by slot."""
    return tuple(_step(step, names) for step in plan)


def _entries(kind: str, before: tuple[Any, ...], after: tuple[Any, ...]) -> Iterator[str]:
    old = {entry.name: entry for entry in before}
    new = {entry.name: entry for entry in after}
    yield from (f"{kind} {name} goes" for name in old if name not in new)
    yield from (f"{kind} {name} comes{_introduce(kind, new[name])}" for name in new if name not in old)
    for name in new:
        if name in old:
            yield from _fields(f"{kind} {name}: ", old[name], new[name], {_DERIVED})
    common = [name for name in new if name in old]
    if kind != "rule" and [name for name in old if name in new] != common:
        yield f"{kind}s are in another order: {', '.join(common)}"


def _introduce(kind: str, entry: Any) -> str:
    match kind:
        case "uplink":
            return f", {entry.kind} on {entry.interface}" + ("" if entry.enabled else ", not enabled")
        case "gateway":
            return f", {', '.join(str(address) for address in entry.addresses)} port {entry.port}"
        case "rule":
            return f", precedence {entry.precedence}: {entry.mode}"
        case _:
            return ""


def _fields(prefix: str, before: Any, after: Any, skipped: set[str]) -> Iterator[str]:
    for each in fields(before):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if each.name in skipped or old == new:
            continue
        if each.name in _SECRETS:
            yield f"{prefix}{each.name} becomes another one"
        elif is_dataclass(old) and is_dataclass(new):
            yield from _fields(f"{prefix}{each.name}.", old, new, set())
        elif _value(old) == _value(new):  # only secrets differ
            yield f"{prefix}{each.name} becomes another one"
        else:
            yield f"{prefix}{each.name} was {_value(old)}, becomes {_value(new)}"


def _value(value: Any) -> str:
    match value:
        case None | "":
            return "not given"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(_value(item) for item in value) if value else "none"
        case _ if is_dataclass(value) and not isinstance(value, type):
            said = ((each, getattr(value, each.name)) for each in fields(value) if each.name not in _SECRETS_OF_GROUPS)
            return f"({', '.join(f'{each.name} {_value(this)}' for each, this in said if this != each.default)})"
        case _:
            return str(value)


def _step(step: Put | Drop, names: Mapping[int, str]) -> str:
    match step:
        case Put(resource):
            return _put(resource, names)
        case Drop(resource):
            return _drop(resource, names)
        case _:
            assert_never(step)


def _put(resource: Resource, names: Mapping[int, str]) -> str:
    match resource:
        case Sysctl(name, value):
            return f"set kernel parameter {_dotted(name)} to {value}"
        case LinkSetting(device, "up", _):
            return f"switch {device} on"
        case LinkSetting(device, name, value):
            return f"set the {name} of {device} to {value}"
        case Address(device, address):
            return f"give {device} the address {address}"
        case MptcpLimits(subflows, accepted):
            return f"let the kernel accept {subflows} subflows a connection and {accepted} announced addresses"
        case Route():
            return f"route {_which(resource.table, names)} (IPv{resource.family}) {_whither(resource)}"
        case Rule():
            return f"add the rule that {_who(resource, names)}"
        case NftTable():
            return "replace the firewall table inet hagw, in one step"
        case _:
            assert_never(resource)


def _drop(resource: Resource, names: Mapping[int, str]) -> str:
    match resource:
        case Sysctl(name):
            return f"put kernel parameter {_dotted(name)} back to what it was before hagw"
        case LinkSetting(device, name):
            return f"put the {name} of {device} back to what it was before hagw"
        case Address(device, address):
            return f"take the address {address} from {device}"
        case MptcpLimits():
            return "put the kernel's MPTCP limits back to what they were before hagw"
        case Route():
            return f"remove the route of {_which(resource.table, names)} (IPv{resource.family}) {_whither(resource)}"
        case Rule():
            return f"remove the rule that {_who(resource, names)}"
        case NftTable():
            return "remove the firewall table inet hagw"
        case _:
            assert_never(resource)


def _dotted(name: str) -> str:
    return name if "." in name else name.replace("/", ".")


def _whither(route: Route) -> str:
    if route.kind == "local":
        return "to this machine itself"
    return f"out of {route.device}" + (f" by router {route.via}" if route.via else "")


def _who(rule: Rule, names: Mapping[int, str]) -> str:
    whose = f"IPv{rule.family} packets"
    if rule.mark is not None:
        whose += f" marked {rule.mark:#x}"
    if rule.source is not None:
        whose += f" from {rule.source}"
    if rule.incoming == "lo":
        whose += " of this machine"
    elif rule.incoming is not None:
        whose += f" that came in by {rule.incoming}"
    where = _which(rule.table, names)
    return f"{whose} take {where}" + (", its default routes aside" if rule.suppress_default else "")


def _which(table: int, names: Mapping[int, str]) -> str:
    match table:
        case _ if table == TABLE_MAIN:
            return "the main table"
        case _ if table == TABLE_BEST:
            return "the best uplink"
        case _ if table == TABLE_INTERCEPT:
            return "what is intercepted"
        case _:
            slot = table - TABLE_UPLINK_BASE
            return f"uplink {names[slot]}" if slot in names else f"table {table}"
