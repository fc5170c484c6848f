"""The ordered steps from one kernel state to another.

The order is the table `STAGES`. Three things hold for every pair of states, tested as properties:
executing the plan gives the desired state; the nft table, which is the gate that lets traffic depend on
everything else, goes first when it goes and comes last when it comes; and a plan abandoned anywhere can be
taken back by the plan from there to the checkpoint. A default route is replaced in one step, and rules are
added before their predecessors are removed: an uplink is never without its route.
"""

from typing import Final, assert_never

from hagw.model.resources import (
    Address,
    Drop,
    KernelState,
    Key,
    LinkSetting,
    MptcpLimits,
    NftTable,
    Plan,
    Put,
    Resource,
    Route,
    Rule,
    Step,
    Sysctl,
)

# Switching forwarding on makes the kernel forget what it learnt from router advertisements, except on interfaces
# whose accept_ra is 2 by then; switching it off comes before accept_ra goes back.
_AFTER_OTHER_SYSCTLS: Final = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
STAGES: Final = ("sysctl", "forwarding", "limits", "link", "address", "route", "rule", "nft")


def diff(actual: KernelState, desired: KernelState) -> Plan:
    """Return the steps that turn `actual` into `desired`; empty when they are equal."""
    puts = [Put(wanted) for key, wanted in desired.items() if actual.get(key) != wanted]
    drops = [Drop(found) for key, found in actual.items() if key not in desired]
    puts.sort(key=lambda step: _order(step.resource))
    drops.sort(key=lambda step: _order(step.resource), reverse=True)
    gate = [step for step in puts if isinstance(step.resource, NftTable)]
    ground = [step for step in puts if not isinstance(step.resource, NftTable)]
    closing = [step for step in drops if isinstance(step.resource, NftTable)]
    clearing = [step for step in drops if not isinstance(step.resource, NftTable)]
    if NftTable("").key in actual:
        return (*closing, *ground, *gate, *clearing)
    return (*ground, *clearing, *gate)


def apply_step(state: KernelState, step: Step) -> dict[Key, Resource]:
    """Return the state after one step."""
    after = dict(state)
    match step:
        case Put(resource):
            after[resource.key] = resource
        case Drop(resource):
            after.pop(resource.key, None)
        case _:
            assert_never(step)
    return after


def execute(state: KernelState, plan: Plan) -> dict[Key, Resource]:
    """Return the state after all steps."""
    after = dict(state)
    for step in plan:
        after = apply_step(after, step)
    return after


def describe(step: Step) -> str:
    """Say a step in one line, as `plan` and the log show it."""
    match step:
        case Put(resource):
            return f"put {_describe(resource)}"
        case Drop(resource):
            return f"drop {_describe(resource)}"
        case _:
            assert_never(step)


def _order(resource: Resource) -> tuple[int, str]:
    return STAGES.index(_stage(resource)), str(resource.key)


def _stage(resource: Resource) -> str:
    match resource:
        case Sysctl(name):
            return "forwarding" if name in _AFTER_OTHER_SYSCTLS else "sysctl"
        case MptcpLimits():
            return "limits"
        case LinkSetting():
            return "link"
        case Address():
            return "address"
        case Route():
            return "route"
        case Rule():
            return "rule"
        case NftTable():
            return "nft"
        case _:
            assert_never(resource)


def _describe(resource: Resource) -> str:
    match resource:
        case Sysctl(name, value):
            return f"sysctl {name}={value}"
        case MptcpLimits(subflows, accepted):
            return f"mptcp limits subflows={subflows} add_addr_accepted={accepted}"
        case LinkSetting(device, name, value):
            return f"link {device} {name}={value}"
        case Address(device, address):
            return f"address {address} dev {device}"
        case Route():
            via = f" via {resource.via}" if resource.via else ""
            return f"route{resource.family} {resource.kind} default{via} dev {resource.device} table {resource.table}"
        case Rule():
            return _describe_rule(resource)
        case NftTable():
            return "nft table inet hagw"
        case _:
            assert_never(resource)


def _describe_rule(rule: Rule) -> str:
    parts = [f"rule{rule.family} {rule.priority}:"]
    parts += [] if rule.source is None else [f"from {rule.source}"]
    parts += [] if rule.mark is None else [f"fwmark {rule.mark:#x}"]
    parts += [] if rule.incoming is None else [f"iif {rule.incoming}"]
    parts.append(f"lookup {rule.table}")
    parts += ["suppress_prefixlength 0"] if rule.suppress_default else []
    return " ".join(parts)
