"""`hagw daemon --fake-kernel`: the daemon itself, over a machine, lines and workers that are only pretended.

Configuration, transactions, API, data caps and histories are the real ones; what is changed is kept in the state
directory like everywhere. Nothing of this machine is touched, and no rights are needed.
"""

import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from hagw import __version__
from hagw.access.desk import Desk
from hagw.control.capped import CappedHealth, true_time
from hagw.control.data_caps import DataCaps
from hagw.control.door import answers
from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.inforce import Archive, InForce, take_up
from hagw.control.instance import only_instance
from hagw.control.places import runtime_dir, state_dir
from hagw.control.reconcile import Reconciler
from hagw.control.speedtest import Speedtests
from hagw.control.status_documents import ChannelStatus
from hagw.control.transaction import Transactions
from hagw.control.usage_file import UsageFile
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import WORKERS_MIN, stop_all
from hagw.customers import CustomerDesk
from hagw.daemon import API_SOCKET, run_to_its_end, serve
from hagw.enrolments import CpeSide
from hagw.errors import ConfigError, ConfigIssue
from hagw.history.keeper import Keeper, Tap
from hagw.log import log_of, set_up
from hagw.model.finding import Finding
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, Intent
from hagw.pretend.machine import PretendMachine
from hagw.pretend.moving import move
from hagw.pretend.observer import Observer, Volumes
from hagw.subscription import HagSide

FLOWS: Final = 60
OLDER: Final = "0.0.1"
_PLACES: Final = ("HAGW_RUNTIME_DIR", "HAGW_STATE_DIR")

log = log_of("hagw.pretend")


@dataclass(frozen=True, slots=True)
class Pretence:
    """How much is pretended: flows at a time, whether lines are lost now and then, and where joins are stripped."""

    flows: int = FLOWS
    outages: bool = True
    stripped: tuple[str, ...] = ()


def run(config: Path | None, pretence: Pretence) -> None:
    """Run until told to end. Without a configuration there is an example, kept in the state directory.

    Raise HagwError when it cannot.
    """
    tap = Tap()
    set_up(tap)
    if missing := [name for name in _PLACES if not os.environ.get(name)]:
        words = "say where a pretended gateway keeps its files: that of a real one is not to be mixed with it"
        raise ConfigError(tuple(ConfigIssue("environment", None, name, words) for name in missing))
    with only_instance(runtime_dir()):
        archive = Archive(state_dir(), config or _example())
        in_force = take_up(archive)
        run_to_its_end(_main(archive, in_force, pretence, Keeper(state_dir(), tap)))


async def _main(archive: Archive, in_force: InForce, pretence: Pretence, keeper: Keeper) -> None:
    intent = in_force.intent
    await stop_all(runtime_dir(), drain_s=0.0)  # what an earlier one left: its kernel went with it
    kernel = Reconciler(intent, PretendMachine)
    observer = Observer(
        on_uplink_change=lambda name, health: uplink_changed(name, health),
        on_gateway_change=lambda name, health: gateway.gateway_changed(name, health),
        told=lambda: [report.stats for report in gateway.workers.reports()],
        outages=pretence.outages,
    )
    caps = DataCaps(
        Volumes(observer.rates),
        UsageFile(state_dir(), Disk()),
        intent=lambda: gateway.intent,
        clock=lambda: true_time(observer.gateways()),
    )
    gateway = Gateway(intent, __version__, kernel, CappedHealth(observer, caps), lambda i: _seats(i, pretence))
    caps.on_change = gateway.caps_changed
    if isinstance(intent, CpeIntent):
        gateway.caps = caps

    def uplink_changed(name: str, health: UplinkHealth) -> None:
        gateway.uplink_changed(name, health)
        subscription.lines_changed()

    transactions = Transactions(gateway, archive, in_force, lambda: answers(runtime_dir() / API_SOCKET))
    gateway.standing = transactions.standing
    subscription = CpeSide(gateway, state_dir()) if isinstance(intent, CpeIntent) else HagSide(gateway, state_dir())
    gateway.examine = _examine
    gateway.channels = lambda: _channels(gateway.intent)
    speedtests = Speedtests(lambda: gateway.intent, lambda: gateway.published, caps.documents, move)
    if isinstance(subscription, HagSide):
        gateway.customers = CustomerDesk(subscription, state_dir())
    else:
        gateway.speedtests = speedtests
    await subscription.begin()
    await gateway.prepare()
    observers = [subscription.run(), observer.run()]
    if isinstance(intent, CpeIntent):
        observers += [caps.run(), speedtests.run()]
    try:
        await serve(gateway, transactions, Desk(state_dir(), Disk()), keeper, observers, runtime_dir())
    finally:
        await stop_all(runtime_dir(), drain_s=0.0)


def _channels(intent: Intent) -> dict[str, ChannelStatus]:
    """Return the control channels to gateways that we would have enrolled at; nobody brought those up to date."""
    gateways = intent.gateways if isinstance(intent, CpeIntent) else ()
    over = next((each.name for each in intent.uplinks if each.enabled), None) if isinstance(intent, CpeIntent) else None
    found = ChannelStatus(
        state="connected", reason="", uplink=over, version=OLDER, version_differs=__version__ != OLDER, limits={}
    )
    return {gateway.name: found for gateway in gateways if not gateway.key}


async def _examine() -> tuple[Finding, ...]:
    """Return what a doctor might find on a machine that is not there."""
    return (
        Finding("machine.pretended", "note", "The machine is pretended: there is nothing to examine."),
        Finding("box.clock", "ok", "The clock is that of this machine."),
    )


def _seats(intent: Intent, pretence: Pretence) -> tuple[SeatPlan, ...]:
    count = max(WORKERS_MIN, intent.workers)
    role = "cpe" if isinstance(intent, CpeIntent) else "hag"
    isolated = ("-P",) if sys.flags.safe_path else ()
    return tuple(
        SeatPlan(
            index=index,
            socket=(socket := runtime_dir() / f"worker-{index}.sock"),
            command=(
                *(sys.executable, *isolated, "-m", "hagw.pretend.worker"),
                *("--role", role, "--index", str(index), "--socket", str(socket)),
                *("--workers", str(count), "--flows", str(pretence.flows)),
                *(f"--stripped={name}" for name in pretence.stripped),
            ),
            log=runtime_dir() / f"worker-{index}.log",
        )
        for index in range(count)
    )


def _example() -> Path:
    """Return the example's own copy in the state directory, which may be edited."""
    path = state_dir() / "pretend.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files("hagw.pretend").joinpath("cpe.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path
