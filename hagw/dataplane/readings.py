"""A reading of what customers used, as the file that `hagw.registry.usage` takes up: of a worker that ends in order."""

import json
import os
from pathlib import Path

from hagw.dataplane.customers import Reading


def keep(directory: Path, reading: Reading) -> None:
    """Have it on the disk when this returns; one that was read meanwhile has the same name and counts once.

    Raise OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = [
        {"customer": name, "day": reading.day, "uplink": "", "bytes_down": down, "bytes_up": up, "flows": flows}
        for name, down, up, flows in reading.used
    ]
    beside = directory / f".{reading.name}.last"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({"version": 1, "name": reading.name, "used": used}, file)
        file.flush()
        os.fsync(descriptor)
    beside.replace(directory / f"{reading.name}.json")
