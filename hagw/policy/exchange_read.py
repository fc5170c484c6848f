"""Rules from the words of 3GPP (TS 29.512) back to hagw's; `hagw.policy.exchange` writes them.

Every mistake of a document is found, each with its place. What hagw cannot do (thresholds, other functionality than
MPTCP) is a mistake: a rule that does something else than it says is worse than none.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import product
from typing import Any, Final

from hagw.model.flow import PROTOCOLS
from hagw.model.intent import IPNetwork, RuleIntent, SendingIntent, SendingMode, SteeringMode, TrafficDescriptor
from hagw.policy.applications import APPLICATIONS
from hagw.policy.exchange import FLOWS_MAX, FUNCTIONALITY, MODES, Accesses, Json, NotReducible, Unsaid

RULES_MAX: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_FILTER: Final = re.compile(r"permit out (\S+) from (\S+)(?: ([\d,-]+))? to (\S+)", re.ASCII)
_TOS: Final = re.compile(r"([0-9a-f]{2})fc", re.IGNORECASE)
_BY_VALUE: Final[dict[str, SteeringMode]] = {value: mode for mode, value in MODES.items()}
_KNOWN_OF_MODE: Final = {"steerModeValue", "active", "standby", "3gLoad", "prioAcc", "steerModeInd", "primary"}

Filter = tuple[int | None, IPNetwork | None, IPNetwork | None, int | None]  # protocol, source, destination, DSCP
Ranges = tuple[tuple[int, int], ...]


class _Wrong(ValueError):
    """What is wrong with one rule, in words."""


def import_rules(document: object, two: Accesses) -> tuple[RuleIntent, ...]:
    """Return the document's rules, in order of precedence. Raises NotReducible with all that does not fit."""
    rules, controls = _part(document, "pccRules"), _part(document, "traffContDecs")
    if len(rules) > RULES_MAX:
        raise NotReducible([Unsaid("pccRules", f"more than {RULES_MAX} rules")])
    found, mistakes = [], []
    for key, rule in rules.items():
        try:
            found.append(_rule(rule, controls, two))
        except _Wrong as why:
            mistakes.append(Unsaid(f"pccRules.{key}", str(why)))
    mistakes += _doubles(found)
    if mistakes:
        raise NotReducible(mistakes)
    return tuple(sorted(found, key=lambda rule: rule.precedence))


def _part(document: object, key: str) -> Json:
    part = document.get(key) if isinstance(document, dict) else None
    if not isinstance(part, dict):
        raise NotReducible([Unsaid(key, "an object is wanted here: the document is an SmPolicyDecision of TS 29.512")])
    return part


def _doubles(rules: list[RuleIntent]) -> Iterator[Unsaid]:
    for what in ("name", "precedence"):
        seen: dict[object, str] = {}
        for rule in rules:
            value = getattr(rule, what)
            if value in seen:
                yield Unsaid(f"pccRules.{rule.name}", f"{what} {value} is that of {seen[value]}, too")
            seen.setdefault(value, rule.name)


def _rule(rule: object, controls: Json, two: Accesses) -> RuleIntent:
    if not isinstance(rule, dict):
        raise _Wrong("an object is wanted")
    name, precedence = rule.get("pccRuleId"), rule.get("precedence")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Wrong("pccRuleId: 1 to 32 letters, digits, '_', '.' or '-'")
    if type(precedence) is not int or not 0 <= precedence <= 255:
        raise _Wrong("precedence: a whole number up to 255")
    _only(rule, {"pccRuleId", "precedence", "appId", "flowInfos", "refTcData"})
    references = rule.get("refTcData")
    control = controls.get(str(references[0])) if isinstance(references, list) and len(references) == 1 else None
    if not isinstance(control, dict):
        raise _Wrong("refTcData: the id of one of traffContDecs is wanted")
    return _steered(name, precedence, _traffic(rule), control, two)


def _only(found: Json, known: set[str]) -> None:
    if strange := sorted(set(found) - known):
        raise _Wrong(f"{', '.join(strange)}: hagw cannot do that")


def _steered(name: str, precedence: int, traffic: TrafficDescriptor, control: Json, two: Accesses) -> RuleIntent:
    _only(control, {"tcId", "flowStatus", "steerFun", "steerModeUl", "steerModeDl"})
    if control.get("flowStatus", "ENABLED") == "DISABLED":
        return RuleIntent(name, precedence, traffic, "block")
    if control.get("flowStatus", "ENABLED") != "ENABLED":
        raise _Wrong("flowStatus: ENABLED or DISABLED")
    if control.get("steerFun", FUNCTIONALITY) != FUNCTIONALITY:
        raise _Wrong(f"steerFun: {FUNCTIONALITY} is all that hagw has")
    mode, lines, weights = _mode(control.get("steerModeDl", control.get("steerModeUl")), two)
    if control.get("steerModeUl", control.get("steerModeDl")) == control.get("steerModeDl"):
        return RuleIntent(name, precedence, traffic, mode, lines, weights=weights)
    up, up_lines, up_weights = _mode(control.get("steerModeUl"), two)
    if up_weights:
        raise _Wrong("steerModeUl.3gLoad: another split for what is sent is not possible")
    sending = SendingIntent(_sending_mode(up), up_lines)
    return RuleIntent(name, precedence, traffic, mode, lines, weights=weights, sending=sending)


def _sending_mode(mode: SteeringMode) -> SendingMode:
    match mode:
        case "load-balancing" | "active-standby" | "smallest-delay" | "priority-based":
            return mode
        case _:
            raise _Wrong(f"steerModeUl: {mode} for what is sent only is not possible")


def _mode(found: object, two: Accesses) -> tuple[SteeringMode, tuple[str, ...], tuple[int, ...]]:
    """Return mode, lines and weights of a SteeringMode."""
    if not isinstance(found, dict) or found.get("steerModeValue") not in _BY_VALUE:
        raise _Wrong(f"steerModeValue: one of {', '.join(_BY_VALUE)} is wanted")
    _only(found, _KNOWN_OF_MODE)
    mode = _BY_VALUE[found["steerModeValue"]]
    both = (two.three_gpp, two.non_three_gpp)
    match mode:
        case "active-standby":
            active = _line(found, "active", two)
            if "standby" not in found:
                return "load-balancing", (active,), ()
            standby = _line(found, "standby", two)
            if standby == active:
                raise _Wrong("standby: the access that is active already")
            return mode, (active, standby), ()
        case "priority-based":
            first = _line(found, "prioAcc", two)
            return mode, (first, both[both[0] == first]), ()
        case "load-balancing":
            return mode, both, _weights(found)
        case "redundant" if "primary" in found:
            first = _line(found, "primary", two)
            return mode, (first, both[both[0] == first]), ()
        case _:
            return mode, both, ()


def _weights(found: Json) -> tuple[int, ...]:
    if found.get("steerModeInd", "AUTO_LOAD_BALANCE") != "AUTO_LOAD_BALANCE":
        raise _Wrong("steerModeInd: AUTO_LOAD_BALANCE is all that hagw can do")
    if "steerModeInd" in found or "3gLoad" not in found:
        return ()
    share = found["3gLoad"]
    if type(share) is not int or not 0 < share < 100:
        raise _Wrong("3gLoad: a whole number from 1 to 99; for 0 or 100 name the active access alone")
    return share, 100 - share


def _line(found: Json, key: str, two: Accesses) -> str:
    line = two.line(found.get(key))
    if line is None:
        raise _Wrong(f"{key}: 3GPP_ACCESS or NON_3GPP_ACCESS is wanted")
    return line


def _traffic(rule: Json) -> TrafficDescriptor:
    flows, application = rule.get("flowInfos"), rule.get("appId")
    if application is not None:
        if application not in APPLICATIONS or flows is not None:
            raise _Wrong(f"appId: one of {', '.join(APPLICATIONS)}, and no flowInfos beside it")
        return TrafficDescriptor(applications=(application,))
    if not isinstance(flows, list) or not 0 < len(flows) <= FLOWS_MAX:
        raise _Wrong(f"flowInfos: 1 to {FLOWS_MAX} filters, or an appId, are wanted")
    read = [_filter(flow) for flow in flows]
    filters = dict.fromkeys(each for each, _ in read)
    protocols, sources, destinations, dscps = (tuple(dict.fromkeys(column)) for column in zip(*filters, strict=True))
    if len({ports for _, ports in read}) > 1 or set(product(protocols, sources, destinations, dscps)) != set(filters):
        raise _Wrong("flowInfos: they are not every combination of their parts; make them rules of their own")
    return TrafficDescriptor(
        sources=_given(sources),
        destinations=_given(destinations),
        destination_ports=read[0][1],
        protocols=_given(protocols),
        dscps=_given(dscps),
    )


def _given(values: Iterable[Any]) -> tuple[Any, ...]:
    found = tuple(values)
    if None in found and len(found) > 1:
        raise _Wrong("flowInfos: one filter is for any, another one for some")
    return () if None in found else found


def _filter(flow: object) -> tuple[Filter, Ranges]:
    """Read one FlowInformation."""
    described = flow.get("flowDescription") if isinstance(flow, dict) else None
    found = _FILTER.fullmatch(described) if isinstance(described, str) else None
    if not isinstance(flow, dict) or found is None:
        raise _Wrong(f'{described!r} is not a filter such as "permit out 6 from 203.0.113.0/24 443 to any"')
    _only(flow, {"flowDescription", "flowDirection", "tosTrafficClass"})
    if flow.get("flowDirection", "BIDIRECTIONAL") != "BIDIRECTIONAL":
        raise _Wrong("flowDirection: BIDIRECTIONAL is all that hagw can do")
    tos = flow.get("tosTrafficClass")
    marked = None if tos is None else _TOS.fullmatch(str(tos))
    if tos is not None and (marked is None or int(marked[1], 16) & 3):
        raise _Wrong("tosTrafficClass: a DSCP with the mask fc is wanted")
    protocol, destination, ports, source = found.groups()
    dscp = None if marked is None else int(marked[1], 16) >> 2
    return (_protocol(protocol), _prefix(source), _prefix(destination), dscp), _ports(ports)


def _protocol(text: str) -> int | None:
    if text == "ip":
        return None
    if text in PROTOCOLS and len(PROTOCOLS[text]) == 1:
        return PROTOCOLS[text][0]
    if not text.isdecimal() or int(text) > 255:
        raise _Wrong(f"{text!r} is not a protocol's number")
    return int(text)


def _prefix(text: str) -> IPNetwork | None:
    if text in ("any", "assigned"):
        return None
    try:
        return ip_network(text)
    except ValueError:
        raise _Wrong(f"{text!r} is not a prefix") from None


def _ports(text: str | None) -> Ranges:
    found = []
    for part in (text or "").split(","):
        low, _, high = part.partition("-")
        if not part:
            continue
        if not low.isdecimal() or not (high or low).isdecimal() or not 0 < int(low) <= int(high or low) < 65536:
            raise _Wrong(f"{part!r} is not a port or a range of ports")
        found.append((int(low), int(high or low)))
    return tuple(found)
