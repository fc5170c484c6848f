"""A desk with clocks of its own, on a disk that can refuse."""

from pathlib import Path

from hagw.access.desk import Desk
from hagw.control.durable import Disk

PASSWORD = "correct horse battery"


class FullDisk(Disk):
    """A disk that takes nothing while it is full."""

    full = False

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().replace(path, text, mode)


class Rig:
    """A machine's desk; `restarted` is what a new daemon finds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = FullDisk()
        self.wall = 1_800_000_000.0
        self.clock = 1000.0
        self.desk = self.restarted()

    def restarted(self) -> Desk:
        desk = Desk(self.directory, self.disk, lambda: self.wall, lambda: self.clock)
        desk.begin()
        return desk

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.clock += seconds

    def first_password(self) -> str:
        return (self.directory / "web-password").read_text().split()[1]
