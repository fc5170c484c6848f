"""Where the kernel port keeps what it must know after a crash; `hagw.control.store` is one on disk."""

from typing import Protocol

from hagw.model.remembered import Remembered


class Memory(Protocol):
    """Keeps one value. A loss of power leaves either the old one or the new one."""

    def load(self) -> Remembered:
        """Return what was saved last for this network namespace, empty when it is a new one."""

    def save(self, remembered: Remembered, *, durable: bool) -> None:
        """Replace it. Durable = it survives a loss of power from here on; raises OSError when it cannot be kept."""
