"""The daemon: puts the parts together for either role and runs them until it is told to end.

It may end at any time: the workers go on with their last snapshot, the kernel keeps what it holds, and the next
daemon takes both over. `hagw clear` is what undoes them.
"""

import asyncio
import gc
import signal
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

from hagw import __version__
from hagw.access.desk import Desk
from hagw.alerts.sender import Alerts
from hagw.control.capped import CappedHealth, true_time
from hagw.control.clear import close_gate, restore
from hagw.control.data_caps import DataCaps
from hagw.control.door import answers
from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.inforce import Archive, InForce, take_up
from hagw.control.inforce import adopt as put_in_force
from hagw.control.instance import only_instance
from hagw.control.lan_trial import try_the_lans_way
from hagw.control.names import ServerNames
from hagw.control.notify import keep_watchdog_calm, notify
from hagw.control.places import runtime_dir, state_dir
from hagw.control.reconcile import Reconciler
from hagw.control.rivals import RivalWatch
from hagw.control.speedtest import Speedtests
from hagw.control.status_documents import StatusDocument, UplinkStatus
from hagw.control.store import Store, namespace_identity
from hagw.control.table_guard import TableGuard
from hagw.control.transaction import Transactions
from hagw.control.upgrade import renew_outdated
from hagw.control.usage_file import UsageFile
from hagw.control.volume import VolumeFile, keep_volume
from hagw.control.web_front import keep_web_told
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import Role, retire_surplus, seat_plan, stop_all, worker_count
from hagw.customers import CustomerDesk
from hagw.doctor.apart import examine_apart
from hagw.doctor.check_rivals import interferences
from hagw.doctor.look_rivals import RivalLooker
from hagw.enrolments import CpeSide
from hagw.errors import HagwError
from hagw.history.keeper import Keeper, Tap
from hagw.history.series import TOTAL, Sample
from hagw.kernel import preflight
from hagw.kernel.machine import Machine
from hagw.log import log_of, set_up
from hagw.metrics.listener import MetricsListener
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, Intent
from hagw.model.web import WEB_SOCKET
from hagw.parts import uvicorns_server_only
from hagw.probe.advertisement import Advertiser
from hagw.probe.dns_tap import DnsTap
from hagw.probe.mib import mptcp_counters
from hagw.probe.monitor import Monitor
from hagw.probe.prober import Prober
from hagw.probe.speed import move
from hagw.probe.volumes import Volumes
from hagw.subscription import HagSide

API_SOCKET = "hagw.sock"

log = log_of("hagw.daemon")


def run(config: Path) -> None:
    """Run the daemon until it is told to end: the generation in force; at the very first start, this configuration.

    Raise HagwError when it cannot.
    """
    tap = Tap()
    set_up(tap)
    with only_instance(runtime_dir()):
        archive = Archive(state_dir(), config)
        in_force = take_up(archive)
        preflight.check(in_force.intent)
        run_to_its_end(_main(archive, in_force, Keeper(state_dir(), tap)))


def run_to_its_end(daemon: Coroutine[Any, Any, None]) -> None:
    """Run a daemon until it is told to end. Raise HagwError where it cannot, or crashed."""
    try:
        asyncio.run(daemon)
    except ExceptionGroup as crash:
        log.error("daemon crashed", exc_info=crash)
        raise HagwError("The daemon crashed; its log says where.") from crash


def clear() -> tuple[str, ...]:
    """Take hagw out of this machine; return what was left alone, and why. Raise Refused while a daemon runs."""
    with only_instance(runtime_dir()):
        machine = Machine(Store(state_dir(), namespace_identity()))
        try:
            close_gate(machine)
            ended = asyncio.run(stop_all(runtime_dir()))
            return restore(machine, workers=ended)
        finally:
            machine.close()


def _role(intent: Intent) -> Role:
    return "cpe" if isinstance(intent, CpeIntent) else "hag"


def adopt(config: Path, file: Path, by: str) -> int:
    """Have the next daemon run this file; return its generation. Raise ConfigError, or Refused while a daemon runs."""
    with only_instance(runtime_dir()):
        return put_in_force(Archive(state_dir(), config), file, by)


def _seats(intent: Intent) -> tuple[SeatPlan, ...]:
    return tuple(seat_plan(_role(intent), index, runtime_dir()) for index in range(worker_count(intent.workers)))


async def _main(archive: Archive, in_force: InForce, keeper: Keeper) -> None:
    intent = in_force.intent
    role = _role(intent)
    count = worker_count(intent.workers)
    if retired := await retire_surplus(runtime_dir(), count):
        log.info("surplus workers retired", pids=retired)
    kernel = Reconciler(intent, lambda: Machine(Store(state_dir(), namespace_identity())))
    prober = Prober(
        on_uplink_change=lambda name, health: uplink_changed(name, health),
        on_gateway_change=lambda name, health: gateway.gateway_changed(name, health),
        on_heard=lambda name, at: gateway.heard(name, at),
        portal_check=intent.portal_check if isinstance(intent, CpeIntent) else None,
    )
    caps = DataCaps(
        Volumes(namespace_identity()),
        UsageFile(state_dir(), Disk()),
        intent=lambda: gateway.intent,
        clock=lambda: true_time(prober.gateways()),
    )
    gateway = Gateway(intent, __version__, kernel, CappedHealth(prober, caps), _seats)
    caps.look()  # what is used up by the ledger is not used for a moment either
    caps.on_change = gateway.caps_changed
    if role == "cpe":
        gateway.caps = caps

    def uplink_changed(name: str, health: UplinkHealth) -> None:
        gateway.uplink_changed(name, health)
        subscription.lines_changed()

    transactions = Transactions(gateway, archive, in_force, lambda: answers(runtime_dir() / API_SOCKET))
    gateway.standing = transactions.standing
    subscription = HagSide(gateway, state_dir()) if role == "hag" else CpeSide(gateway, state_dir())
    await subscription.begin()
    gateway.lan_trial = try_the_lans_way
    speedtests = Speedtests(lambda: gateway.intent, lambda: gateway.published, caps.documents, move)
    if isinstance(subscription, HagSide):
        gateway.customers = CustomerDesk(subscription, state_dir())
    else:
        gateway.speedtests = speedtests
    gateway.examine = lambda: examine_apart(archive.file)
    names = ServerNames(kernel, lambda: gateway.intent, gateway.workers.named, DnsTap)
    if role == "cpe":
        gateway.names_of, gateway.on_pass = names.of, names.refill
    guard = TableGuard(kernel, gateway.look_again)
    # Before the first facts are read.
    monitor = Monitor(prober.link_seen, gateway.look_again, guard.touched, prober.neighbour_seen)
    await gateway.prepare()
    log.info("kernel state prepared", role=role)
    advertiser = Advertiser()
    gateway.on_ipv6 = advertiser.update
    observers = [
        monitor.run(),
        _watch_rivals(gateway),
        subscription.run(),
        renew_outdated(gateway.workers, __version__),
    ]
    if role == "cpe":
        volume = VolumeFile(state_dir(), Disk())
        gateway.lines.resume(volume.load())
        observers += [guard.run(), prober.run(), advertiser.run(), keep_volume(gateway.lines, volume)]
        observers += [speedtests.run(), caps.run(), names.run()]
    await serve(gateway, transactions, Desk(state_dir(), Disk()), keeper, observers, runtime_dir())


async def serve(
    gateway: Gateway,
    transactions: Transactions,
    desk: Desk,
    keeper: Keeper,
    observers: Iterable[Coroutine[Any, Any, None]],
    runtime_dir: Path,
) -> None:
    """Run a prepared gateway and everything around it until SIGTERM or SIGINT."""
    keeper.look = Sampler(gateway).look
    keeper.events_s = lambda: gateway.intent.history.events_s if gateway.intent.history.enabled else 0.0
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in observers]
        tasks.append(group.create_task(gateway.run()))
        tasks.append(group.create_task(transactions.run()))
        tasks.append(group.create_task(keep_watchdog_calm()))
        tasks.append(group.create_task(keep_web_told(lambda: gateway.intent, runtime_dir)))
        tasks.append(group.create_task(_serve_api(gateway, transactions, desk, keeper, runtime_dir)))
        tasks.append(group.create_task(keeper.run()))
        tasks += [group.create_task(part) for part in _told_to_others(gateway)]
        await told_to_end.wait()
        notify("STOPPING=1")
        log.info("daemon ends, workers and kernel state stay")
        for task in tasks:
            task.cancel()


class Sampler:
    """Samples of what lines do, and of all together, for history."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._kept_off: dict[str, int] = {}

    def look(self) -> dict[str, Sample]:
        """Return a sample of each line."""
        status = self._gateway.status()
        keeping = self._gateway.intent.history
        if not keeping.enabled:
            return {}
        return {TOTAL: _total(status), **{line["name"]: self._sample(line) for line in status["uplinks"]}}

    def _sample(self, line: UplinkStatus) -> Sample:
        before = self._kept_off.get(line["name"], line["kept_off_bytes"])
        self._kept_off[line["name"]] = line["kept_off_bytes"]
        kept_off = max(0, line["kept_off_bytes"] - before)
        return Sample(line["down_bps"], line["up_bps"], line["rtt_ms"], line["loss"], line["state"], kept_off)


def _total(status: StatusDocument) -> Sample:
    """Return what all flows carry together."""
    return Sample(status["goodput_down_bps"], status["goodput_up_bps"], None, None, "up")


def _told_to_others(gateway: Gateway) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield what serves metrics and sends alerts, where the configuration in force says."""
    alerts = Alerts(gateway.status, lambda: gateway.intent.alerts)
    gateway.alerts = alerts.document
    yield alerts.run()

    def where() -> tuple[tuple[str, ...], int]:
        metrics = gateway.intent.metrics
        return tuple(str(address) for address in metrics.addresses), metrics.port

    yield MetricsListener(lambda: {**gateway.status(), "mib": mptcp_counters()}, where).run()


async def _watch_rivals(gateway: Gateway) -> None:
    """Look who interferes once the workers listen: that is more urgent."""
    await gateway.workers.settled()
    looker = RivalLooker()
    await RivalWatch(
        lambda: interferences(_role(gateway.intent), looker.look(gateway.intent)), gateway.rivals_seen
    ).run()


async def _serve_api(
    gateway: Gateway, transactions: Transactions, desk: Desk, keeper: Keeper, runtime_dir: Path
) -> None:
    """Serve the API; imported in a thread, as that takes most of a second and failover must not wait for it."""
    await gateway.workers.settled()
    server = await asyncio.to_thread(_import_server)
    await asyncio.to_thread(desk.begin)
    gc.freeze()  # it stays: looking through it took 60 ms of the loop each time, and 0.3 s at the end
    log.info("daemon ready")
    notify("READY=1")
    await server.serve(gateway, transactions, desk, keeper, runtime_dir / API_SOCKET, runtime_dir / WEB_SOCKET)


def _import_server() -> Any:
    uvicorns_server_only()
    from hagw.api import server

    return server
