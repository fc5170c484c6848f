"""Slots over time: a line keeps its slot for as long as it is configured, whatever comes and goes beside it.

Marks, routing tables, rules and MPTCP address ids are made of slots: connections that live depend on them.
"""

from collections.abc import Mapping
from dataclasses import replace

from hagw.model.ids import MAX_UPLINKS
from hagw.model.intent import CpeIntent, Intent


def keep_slots(intent: Intent, known: Mapping[str, int]) -> Intent:
    """Return the intent with the `known` slots for uplinks of these names, and free ones for the others.

    A new line gets the lowest slot that no line had last, so that flows of one that just left do not become its.
    """
    if not isinstance(intent, CpeIntent):
        return intent
    names = [uplink.name for uplink in intent.uplinks]
    slots = {name: known[name] for name in names if name in known}
    fresh = [slot for slot in range(1, MAX_UPLINKS + 1) if slot not in known.values()]
    left = [slot for slot in known.values() if slot not in slots.values()]
    for name in names:
        if name not in slots:
            slots[name] = (fresh or left).pop(0)
    return replace(intent, uplinks=tuple(replace(uplink, slot=slots[uplink.name]) for uplink in intent.uplinks))


def inherit_slots(intent: Intent, present: Intent) -> Intent:
    """Return the intent with the slots that lines have now, also those that only got another name."""
    if not isinstance(intent, CpeIntent) or not isinstance(present, CpeIntent):
        return intent
    names = {uplink.name for uplink in intent.uplinks}
    known = slots_of(present)
    gone = {(uplink.interface, uplink.match): uplink.name for uplink in present.uplinks if uplink.name not in names}
    for uplink in intent.uplinks:
        if uplink.name not in known and (uplink.interface, uplink.match) in gone:
            known[uplink.name] = known.pop(gone.pop((uplink.interface, uplink.match)))
    return keep_slots(intent, known)


def slots_of(intent: Intent) -> dict[str, int]:
    """Return the uplinks' slots by name."""
    return {uplink.name: uplink.slot for uplink in intent.uplinks} if isinstance(intent, CpeIntent) else {}
