"""The remote session that somebody configures the gateway through, and what must not become of it."""

from dataclasses import dataclass

from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent, Intent, IPAddress, UplinkIntent
from hagw.model.resources import Address, KernelState
from hagw.plan.firewall import admits
from hagw.plan.ways import own_way


@dataclass(frozen=True, slots=True)
class Caller:
    """A TCP session: their address, and ours and the port that they are connected to."""

    client: IPAddress
    server: IPAddress
    port: int = 22


def cut_off(
    caller: Caller, present: Intent, wanted: Intent, facts: Facts, actual: KernelState, desired: KernelState
) -> tuple[str, ...]:
    """Return why the caller would lose the session, or could not come back; empty when nothing of that is to fear."""
    if any(_is_server(each, caller) for key, each in actual.items() if key not in desired):
        return (f"it would cut your own session: you are connected to {caller.server}, which would be taken away",)
    now, then = (own_way(state, caller.server, caller.client, facts) for state in (actual, desired))
    if now != then:
        return (
            f"it would cut your own session: answers to {caller.client} leave by {now} now and would leave by {then};"
            " come in by another way, or do it from the console",
        )
    return _shut_out(caller, present, wanted, facts)


def _shut_out(caller: Caller, present: Intent, wanted: Intent, facts: Facts) -> tuple[str, ...]:
    """A session that lives is not refused by the firewall, but the next one would be."""
    if not isinstance(present, CpeIntent) or not isinstance(wanted, CpeIntent):
        return ()
    uplink = next((each for each in wanted.uplinks if _arrives(each, caller, facts)), None)
    if uplink is None or admits(wanted.firewall, uplink.name, "tcp", caller.port, caller.client):
        return ()
    before = next((each for each in present.uplinks if _is_same_line(each, uplink)), None)
    if before is not None and not admits(present.firewall, before.name, "tcp", caller.port, caller.client):
        return ()  # it is so already
    return (
        f"you could not come back: the firewall would refuse {caller.client} on TCP port {caller.port} of uplink"
        f" {uplink.name}; allow it in `firewall.allow`, or do it from the console",
    )


def _arrives(uplink: UplinkIntent, caller: Caller, facts: Facts) -> bool:
    found = facts.uplinks.get(uplink.name)
    return found is not None and caller.server in (found.address4, found.address6)


def _is_same_line(one: UplinkIntent, other: UplinkIntent) -> bool:
    return (one.interface, one.match) == (other.interface, other.match)


def _is_server(resource: object, caller: Caller) -> bool:
    return isinstance(resource, Address) and resource.address.ip == caller.server
