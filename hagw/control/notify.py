"""Tell systemd that we are ready and alive (sd_notify(3)); silent where nobody listens."""

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send one notification, such as `READY=1`. Nothing depends on its arrival."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return


def watchdog_interval_s() -> float | None:
    """Return how often systemd wants to hear of us: half of its patience, None = it does not watch."""
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2_000_000


async def keep_watchdog_calm() -> None:
    """Notify systemd's watchdog for as long as the loop turns; return at once where there is none."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)
