"""Workers as units of systemd's, each in a control group of its own: what becomes of a daemon does not touch them.

The daemon's unit names the template in HAGW_WORKER_UNIT (`hagw-worker@`); without it workers are the daemon's own
children, detached. A seat keeps its unit: what replaces a worker runs there too and declares itself its main process.
"""

import asyncio
import os
from pathlib import Path

from hagw.control.worker_process import WorkerProcess

VARIABLE = "HAGW_WORKER_UNIT"
_SYSTEMCTL_TIMEOUT_S = 10.0


class UnitFailed(OSError):
    """systemd did not start a unit; `strerror` says why."""


def unit_of(role: str, index: int) -> str | None:
    """Return the unit of a worker, None where systemd does not run them."""
    template = os.environ.get(VARIABLE)
    return f"{template}{role}-{index}.service" if template else None


async def start_unit(unit: str) -> WorkerProcess:
    """Start a unit, if it does not run, and return its main process. Raise UnitFailed or another OSError."""
    await _systemctl("start", unit)
    number = await _systemctl("show", "--property=MainPID", "--value", unit)
    if not number.isdecimal() or int(number) == 0:
        raise UnitFailed(0, f"{unit} ended while starting")
    return WorkerProcess.existing(int(number))


async def start(command: tuple[str, ...], log: Path | None, unit: str | None) -> WorkerProcess:
    """Start a worker the way this machine does it. Raise OSError."""
    return WorkerProcess.spawn(command, log) if unit is None else await start_unit(unit)


async def _systemctl(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "systemctl", *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_SYSTEMCTL_TIMEOUT_S):
            output, errors = await process.communicate()
    except TimeoutError as why:
        process.kill()
        await process.wait()
        raise UnitFailed(0, f"systemctl {words[0]} does not end") from why
    if process.returncode != 0:
        raise UnitFailed(0, errors.decode(errors="replace").strip() or f"systemctl {words[0]} failed")
    return output.decode().strip()
