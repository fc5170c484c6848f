"""The uplinks as a connection looks them up: by slot, with the address it may use of each."""

from hagw.model.snapshot import UplinkView


class UplinkTable:
    """The uplinks of the newest snapshot, as connections look them up."""

    def __init__(self, uplinks: tuple[UplinkView, ...] = ()) -> None:
        self.by_slot = {uplink.slot: uplink for uplink in uplinks}
        self.slot_by_name = {uplink.name: uplink.slot for uplink in uplinks}

    def name(self, slot: int) -> str:
        """Return the uplink's name, or its slot while no uplink has it."""
        uplink = self.by_slot.get(slot)
        return uplink.name if uplink is not None else str(slot)

    def unwell(self, slot: int) -> str:
        """Return what is the matter with an uplink."""
        uplink = self.by_slot.get(slot)
        if uplink is None:
            return "the uplink is gone"
        if uplink.state != "up":
            return f"{uplink.state}: {uplink.reason}" if uplink.reason else uplink.state
        return "its address or interface changed"

    def address(self, slot: int, ipv6: bool) -> str | None:
        """Return the uplink's local address of a family while its subflows may exist, else None."""
        uplink = self.by_slot.get(slot)
        if uplink is None or uplink.state != "up":
            return None
        return uplink.address6 if ipv6 else uplink.address4

    def spared(self) -> dict[int, str]:
        """Return the lines that a data cap leaves for overflow only, each with its reason."""
        return {slot: uplink.reason for slot, uplink in self.by_slot.items() if uplink.cap != "normal"}

    def cost(self, name: str) -> dict[str, int | bool]:
        """Return what the configuration says of an uplink's costs."""
        uplink = self.by_slot.get(self.slot_by_name.get(name, 0))
        return {"cost": 0 if uplink is None else uplink.cost, "metered": uplink is not None and uplink.metered}

    def is_metered(self, slot: int) -> bool:
        """Say whether bytes over the uplink cost money."""
        uplink = self.by_slot.get(slot)
        return uplink is not None and uplink.metered
