"""A CPE's enrolments: a control channel to each gateway that it has enrolled at. Part of the daemon.

The channel's libraries are loaded in a thread, and only where they are needed: a CPE whose keys are in its
configuration does without.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hagw import __version__
from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.status_documents import ChannelStatus
from hagw.control.store import namespace_identity
from hagw.errors import HagwError
from hagw.log import log_of
from hagw.model.intent import CpeIntent, GatewayIntent
from hagw.model.snapshot import CpeSnapshot, UplinkView

if TYPE_CHECKING:
    from hagw.channel.client import ChannelClient, Way
    from hagw.channel.credentials import Credentials
    from hagw.channel.reports import Reports
    from hagw.channel.strangers import Quota

REPORTS_FILE: Final = "usage-told.json"
LOOK_EVERY_S: Final = 1.0
SHOWS_BURST: Final = 16.0  # of one line to one gateway, each a TLS handshake
SHOWS_A_SECOND: Final = 0.2

log = log_of("hagw.channel")


@dataclass(slots=True)
class _Kept:
    """A gateway's client, the task that runs it, and which file it was made from."""

    client: "ChannelClient"
    task: "asyncio.Task[None]"
    seen: object
    connects: int = 0  # of which its gateway has been shown our addresses


class CpeSide:
    """A CPE's enrolments, and a control channel to each gateway that it has enrolled at."""

    def __init__(self, gateway: Gateway, state_dir: Path) -> None:
        self._gateway = gateway
        self._state_dir = state_dir
        self._kept: dict[str, _Kept] = {}
        self._reports: Reports | None = None  # of all gateways
        self._group: asyncio.TaskGroup | None = None  # as long as we run
        self._shows: dict[tuple[str, str, bool], Quota] = {}  # by gateway, line and whether it is IPv6
        gateway.channels = self._standings
        gateway.on_unproven = self._unproven

    def _unproven(self, gateway: str, uplink: str, address: str) -> None:
        """A gateway does not know where our TCP comes from over a line; echoes may come from elsewhere."""
        kept, snapshot = self._kept.get(gateway), self._gateway.published
        intent = next((each for each in self._gateways() if each.name == gateway), None)
        if kept is None or intent is None or self._group is None or not isinstance(snapshot, CpeSnapshot):
            return
        for line in snapshot.uplinks:
            way = _way(line, intent, address) if line.name == uplink else None
            if way is not None and self._may_show(gateway, way):
                self._group.create_task(kept.client.show(way))

    def _may_show(self, gateway: str, way: "Way") -> bool:
        from hagw.channel.strangers import Quota

        quota = self._shows.setdefault((gateway, way.uplink, ":" in way.address), Quota(SHOWS_BURST, SHOWS_A_SECOND))
        return quota.take(asyncio.get_running_loop().time())

    def _prove_addresses(self) -> None:
        """Have gateways that we have just come to know our other lines, too: cookies from elsewhere are refused."""
        for name, kept in self._kept.items():
            if kept.connects != kept.client.standing.connects:
                kept.connects = kept.client.standing.connects
                self._gateway.prove_addresses(name)

    async def begin(self) -> None:
        """Know our names and keys before any gateway is asked."""
        if any(not each.key for each in self._gateways()):
            known = await asyncio.to_thread(self._read)
            self._gateway.enrolment_changed({name: (x.customer, x.key) for name, (x, _) in known.items()})

    def lines_changed(self) -> None:
        """Some line is judged otherwise."""
        for kept in self._kept.values():
            kept.client.lines_changed()

    async def run(self) -> None:
        """Keep in touch with the gateways we have enrolled at, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                if self._kept or any(not each.key for each in self._gateways()):
                    self._follow(group, await asyncio.to_thread(self._read))
                    self._gateway.workers.share_gateways()
                    self._prove_addresses()
                await asyncio.sleep(LOOK_EVERY_S)

    def _follow(self, group: asyncio.TaskGroup, known: "Mapping[str, tuple[Credentials, object]]") -> None:
        """Have a client for each gateway with credentials, made anew when `hagw enrol` wrote other ones."""
        from hagw.channel.client import ChannelClient

        if self._reports is None and known:
            self._reports = _reports(self._state_dir / REPORTS_FILE)
        for name, kept in list(self._kept.items()):
            if name not in known or kept.seen != known[name][1]:
                kept.task.cancel()
                del self._kept[name]
        changed = False
        for name, (credentials, seen) in known.items():
            if name not in self._kept:
                client = ChannelClient(
                    name,
                    credentials,
                    self._ways(name),
                    self._keeper(name),
                    self._carried(name),
                    on_told=self._tell_told,
                    reports=self._reports,
                )
                self._kept[name] = _Kept(client, group.create_task(client.run()), seen)
                changed = True
        if changed:
            self._tell()
            self._tell_told()

    def _tell(self) -> None:
        enrolled = {name: kept.client.credentials for name, kept in self._kept.items()}
        self._gateway.enrolment_changed({name: (x.customer, x.key) for name, x in enrolled.items()})

    def _tell_told(self) -> None:
        self._gateway.told_changed({name: kept.client.standing.told for name, kept in self._kept.items()})

    def _read(self) -> "dict[str, tuple[Credentials, object]]":
        """Return the credentials by gateway, and what tells that a file is another one.

        A gateway that was not enrolled at is taken for one of the same registry as the first that was.
        """
        from hagw.channel.credentials import credentials_file, load_credentials

        found: dict[str, tuple[Credentials, object]] = {}
        for gateway in self._gateways():
            credentials = None if gateway.key else load_credentials(self._state_dir, gateway.name)
            if credentials is not None:
                found[gateway.name] = credentials, credentials.device_key
        first = next(iter(found.values()), None)
        for gateway in self._gateways():
            own = credentials_file(self._state_dir, gateway.name).exists()
            if first is not None and not gateway.key and not own:
                found[gateway.name] = first
        return found

    def _gateways(self) -> tuple[GatewayIntent, ...]:
        intent = self._gateway.intent
        return intent.gateways if isinstance(intent, CpeIntent) else ()

    def _ways(self, name: str) -> "Callable[[], Sequence[Way]]":
        def ways() -> "Sequence[Way]":
            gateway = next((each for each in self._gateways() if each.name == name), None)
            snapshot = self._gateway.published
            if gateway is None or not isinstance(snapshot, CpeSnapshot):
                return ()
            usable = [line for line in snapshot.uplinks if line.state == "up"]
            return [way for line in sorted(usable, key=_preference) if (way := _way(line, gateway)) is not None]

        return ways

    def _keeper(self, name: str) -> "Callable[[Credentials], None]":
        from hagw.channel.credentials import credentials_file, encode_credentials

        def keep(credentials: "Credentials") -> None:
            try:
                Disk().replace(credentials_file(self._state_dir, name), encode_credentials(credentials))
            except OSError as why:
                raise HagwError(f"The new key cannot be kept on disk: {why}.") from why
            asyncio.get_running_loop().call_soon(self._tell)

        return keep

    def _carried(self, name: str) -> "Callable[[], Mapping[str, tuple[int, int]]]":
        """Return what tells IP bytes down and up by line; gateways of one registry need it once, from the first."""

        def carried() -> Mapping[str, tuple[int, int]]:
            if name != next(iter(self._kept), None):
                return {}
            lines = self._gateway.status()["uplinks"]
            return {line["name"]: (line["bytes_down"] or 0, line["bytes_up"] or 0) for line in lines}

        return carried

    def _standings(self) -> dict[str, ChannelStatus]:
        enrolling = [each.name for each in self._gateways() if not each.key]
        return {name: self._standing(name) for name in enrolling}

    def _standing(self, name: str) -> ChannelStatus:
        kept = self._kept.get(name)
        if kept is None:
            reason = f"not enrolled: `hagw enrol {name} CODE`"
            return ChannelStatus(
                state="not enrolled", reason=reason, uplink=None, version=None, version_differs=False, limits={}
            )
        found = kept.client.standing
        reason = found.reason or found.told.blocked
        limits = {key: value for key, value in asdict(found.told.limits).items() if value is not None}
        return ChannelStatus(
            state=found.state,
            reason=reason,
            uplink=found.uplink or None,
            version=found.version or None,
            version_differs=found.version not in ("", __version__),
            limits=limits,
        )


def _reports(file: Path) -> "Reports":
    """Return what goes on with the reports of the daemon before, as its file has them."""
    from hagw.channel.reports import Reports

    def keep(text: str) -> Awaitable[None]:
        return asyncio.to_thread(Disk().replace, file, text)

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    return Reports(text, namespace_identity(), keep)


def _preference(line: UplinkView) -> tuple[Any, ...]:
    return line.metered, line.cost, line.slot


def _way(line: UplinkView, gateway: GatewayIntent, only: str = "") -> "Way | None":
    """Return how a line reaches a gateway, by its first address (or `only` that) that the line has a family for."""
    from hagw.channel.client import Way

    for address in gateway.addresses:
        if only not in ("", str(address)):
            continue
        source = line.address4 if address.version == 4 else line.address6
        if source is not None:
            return Way(line.name, source, str(address), gateway.control_port)
    return None
