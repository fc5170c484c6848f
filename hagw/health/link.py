"""What the kernel and the owner say of a line: whether it can work at all, whatever comes back over it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel says about the line's interface; `enabled` is the owner's word."""

    enabled: bool = True
    present: bool = True
    admin_up: bool = True
    carrier: bool = True
    address: bool = True
    absence: str = ""  # why the interface is not present, where that is known

    def obstacle(self) -> str | None:
        """Return why the line cannot work now, None = nothing is in the way."""
        if not self.present:
            return self.absence or "the interface does not exist"
        if not self.admin_up:
            return "the interface is switched off"
        if not self.carrier:
            return "no carrier"
        return None if self.address else "no address"
