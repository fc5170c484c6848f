"""The CPE's end of a control channel: enrols once, then keeps in touch over whichever line is usable.

A line that dies under a channel costs it nothing but a new connection over the next one: there is no state in it.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hagw import __version__
from hagw.channel import proof, settings, wire
from hagw.channel.code import MARK_SIZE, Code
from hagw.channel.credentials import KEY_SIZE, Credentials
from hagw.channel.identity import client_context, peer_fingerprint
from hagw.channel.reports import Report, Reports
from hagw.channel.wire import BadMessage, Message
from hagw.errors import HagwError, Refused
from hagw.log import log_of
from hagw.model.told import Told

CONNECT_S: Final = 3.0
ANSWER_S: Final = 5.0
PING_EVERY_S: Final = 120.0
USAGE_EVERY_S: Final = 60.0
TAKE_OVER_S: Final = 1.0  # for our workers and echoes to use a new key before the old one is void
RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)

log = log_of("hagw.channel")


@dataclass(frozen=True, slots=True)
class Way:
    """A line to a gateway: own and foreign address as text. `uplink` "" = as the system routes it."""

    uplink: str
    source: str | None
    address: str
    port: int


@dataclass(slots=True)
class Standing:
    """How a channel is doing, for the status document."""

    state: str = "connecting"  # connecting, connected, refused
    reason: str = ""
    uplink: str = ""
    version: str = ""  # of the gateway
    connects: int = 0
    told: Told = field(default_factory=Told)


class _Pinned(HagwError):
    """The gateway is not the one we know."""


@dataclass(slots=True)
class _Conversation:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    fingerprint: bytes
    hello: Message

    def send(self, kind: str, **values: Any) -> None:
        self.writer.write(wire.encode(kind, **values))

    def tell(self, kind: str, key_id: str) -> None:
        """Send something about a key, if we are still connected."""
        if not self.writer.is_closing():
            self.send(kind, key_id=key_id)

    async def read(self) -> Message:
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return wire.decode(line)


def _nothing() -> None:
    """Stand in where nobody wants to know."""


async def enrol(ways: Sequence[Way], code: Code) -> Credentials:
    """Show a code to the gateway that made it, return what it gives. Raise Refused, or HagwError if it is away."""
    device_key = proof.new_device_key()
    trouble = "it has no address"
    for way in ways:
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                talk = await _open(way)
                try:
                    return await _enrol(talk, code, device_key)
                finally:
                    talk.writer.close()
        except (OSError, EOFError, TimeoutError, BadMessage) as why:
            trouble = f"{way.address} port {way.port}: {_words(why)}"
    raise HagwError(f"The gateway's control channel is not reached ({trouble}).")


async def _enrol(talk: _Conversation, code: Code, device_key: bytes) -> Credentials:
    if talk.fingerprint[:MARK_SIZE] != code.mark:
        raise Refused(
            "This is not the gateway that made the code: it shows another certificate. Nothing was told to it."
        )
    talk.send(
        "enrol",
        protocol=wire.PROTOCOL,
        version=__version__,
        secret=code.secret.hex(),
        device_key=proof.public_key(device_key).hex(),
    )
    answer = await talk.read()
    if answer["type"] != "enrolled":
        raise Refused(f"The gateway refuses: {answer.get('reason', 'it does not say why')}")
    key = wire.bytes_of(answer, "key", KEY_SIZE)
    return Credentials(wire.text_of(answer, "customer", 32), key, device_key, talk.fingerprint)


class ChannelClient:
    """Keeps a channel to one gateway.

    `ways` gives the usable lines, best first; `keep` has credentials on the disk; `carried` tells each line's IP bytes
    down and up, nothing where another gateway is told; `on_told` is called when `standing.told` has changed.
    """

    def __init__(
        self,
        gateway: str,
        credentials: Credentials,
        ways: Callable[[], Sequence[Way]],
        keep: Callable[[Credentials], None],
        carried: Callable[[], Mapping[str, tuple[int, int]]] = dict,
        usage_every_s: float = USAGE_EVERY_S,
        on_told: Callable[[], None] = _nothing,
        take_over_s: float = TAKE_OVER_S,
        reports: Reports | None = None,
    ) -> None:
        self.gateway = gateway
        self.standing = Standing()
        self.credentials = credentials
        self._ways = ways
        self._keep = keep
        self._carried = carried
        self._usage_every_s = usage_every_s
        self._on_told = on_told
        self._take_over_s = take_over_s
        self._reports = reports or Reports()
        self._acknowledges = False
        self._news = asyncio.Event()
        self._ponged = asyncio.Event()
        self._failures = 0

    def lines_changed(self) -> None:
        """Some line is judged otherwise: have a look whether ours is still one of the usable ones."""
        self._news.set()

    async def run(self) -> None:
        """Keep in touch for ever."""
        while True:
            tried = tuple(self._ways())
            for way in tried:
                await self._stay(way)
                if tuple(self._ways()) != tried:
                    break
            else:
                self._failures += 1
            self._news.clear()
            patience_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            if self._failures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await self._news.wait()

    async def show(self, way: Way) -> None:
        """Log in over this way only for the gateway to see from which address our TCP comes."""
        talk: _Conversation | None = None
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                talk = await _open(way)
                await self._login(talk, shows=True)
        except (OSError, EOFError, TimeoutError, BadMessage, HagwError) as why:
            log.info("address not shown", gateway=self.gateway, uplink=way.uplink, reason=_words(why))
        else:
            log.info("address shown", gateway=self.gateway, uplink=way.uplink)
        finally:
            if talk is not None:
                talk.writer.close()
                with suppress(OSError, TimeoutError):
                    await talk.writer.wait_closed()  # a second at most: both ends say in TLS that it is over

    async def _stay(self, way: Way) -> None:
        """Be connected over this way for as long as it works."""
        standing = self.standing
        talk: _Conversation | None = None
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                talk = await _open(way)
                await self._login(talk)
            standing.state, standing.reason, standing.uplink = "connected", "", way.uplink
            standing.version = wire.version_of(talk.hello)
            standing.connects += 1
            self._failures = 0
            log.info("gateway connected", gateway=self.gateway, uplink=way.uplink, version=standing.version)
            await self._converse(talk, way)
        except (OSError, EOFError, TimeoutError, BadMessage) as why:
            self._lost(way, "connecting", _words(why))
        except HagwError as why:
            self._lost(way, "refused", str(why))
            self._failures = max(self._failures, len(RETRY_S) - 2)
        finally:
            if talk is not None:
                talk.writer.close()

    def _lost(self, way: Way, state: str, reason: str) -> None:
        if (self.standing.state, self.standing.reason) != (state, reason):
            log.info("gateway not connected", gateway=self.gateway, uplink=way.uplink, reason=reason)
        self.standing.state, self.standing.reason, self.standing.uplink = state, reason, ""
        self._take(replace(self.standing.told, blocked=""))  # it may be over, and nobody would say so

    def _take(self, told: Told) -> None:
        if told != self.standing.told:
            self.standing.told = told
            self._on_told()

    async def _login(self, talk: _Conversation, **more: bool) -> None:
        mine, nonce = self.credentials, secrets.token_bytes(wire.NONCE_SIZE)
        about = proof.transcript(
            wire.bytes_of(talk.hello, "nonce", wire.NONCE_SIZE), nonce, talk.fingerprint, mine.customer
        )
        talk.send(
            "login",
            protocol=wire.PROTOCOL,
            version=__version__,
            customer=mine.customer,
            nonce=nonce.hex(),
            signature=proof.sign(mine.device_key, about).hex(),
            renews=True,
            **more,
        )
        answer = await talk.read()
        if answer["type"] != "welcome":
            raise Refused(f"the gateway refuses: {answer.get('reason', 'it does not say why')}")
        self._acknowledges = "usage" in _list(answer.get("acknowledges"))
        proofs = answer.get("proofs")
        known = isinstance(proofs, list) and any(_proves(mine.key, each, about) for each in proofs[:4])
        if talk.fingerprint != mine.fingerprint and not known:
            raise _Pinned("it is not our gateway: another certificate, and it does not know our key")

    async def _converse(self, talk: _Conversation, way: Way) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._listen(talk))
                group.create_task(self._ping(talk))
                group.create_task(self._tell_usage(talk))
                group.create_task(self._leave_with(way, reading))
        except ExceptionGroup as several:  # the first is why, the others are its consequences
            raise several.exceptions[0] from None

    async def _listen(self, talk: _Conversation) -> None:
        while True:
            message = await talk.read()
            match message["type"]:
                case "settings":
                    self._settle(talk, message)
                case "revoked" | "refused":
                    raise Refused(str(message.get("reason", "the gateway does not say why"))[:256])
                case "usage-kept":
                    self._reports.arrived(str(message.get("stream")), _number(message.get("number")))
                case "ping":
                    talk.send("pong")
                case "pong":
                    self._ponged.set()
                case "unsupported":
                    pass
                case kind:
                    talk.send("unsupported", what=kind[:64])

    def _settle(self, talk: _Conversation, message: Message) -> None:
        """Live by the gateway's settings. A connection lost before it hears that we have the key: it tells it anew."""
        key = wire.bytes_of(message, "key", KEY_SIZE)
        if key != self.credentials.key:
            renewed = replace(self.credentials, key=key)
            self._keep(renewed)
            self.credentials = renewed
            log.info("key renewed", gateway=self.gateway)
        if message.get("rotating"):
            asyncio.get_running_loop().call_later(self._take_over_s, talk.tell, "taken-over", proof.key_id(key))
        self._take(settings.read(message))

    async def _ping(self, talk: _Conversation) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            self._ponged.clear()
            talk.send("ping")
            async with asyncio.timeout(ANSWER_S):
                await self._ponged.wait()

    async def _tell_usage(self, talk: _Conversation) -> None:
        """Say what each line carried since the last time, if that is worth a packet."""
        while True:
            try:
                if counts := self._carried():
                    await self._reports.begin(counts)
                await asyncio.sleep(self._usage_every_s)
                if (counts := self._carried()) and (report := await self._reports.due(counts)) is not None:
                    self._report(talk, report)
            except OSError as why:
                log.warning("usage not kept on disk", reason=str(why))
                await asyncio.sleep(self._usage_every_s)

    def _report(self, talk: _Conversation, report: Report) -> None:
        uplinks = {line: {"down": down, "up": up} for line, (down, up) in report.uplinks.items()}
        talk.send("usage", uplinks=uplinks, stream=report.stream, number=report.number)
        if not self._acknowledges:
            self._reports.sent(report)

    async def _leave_with(self, way: Way, reading: "asyncio.Task[None]") -> None:
        """End the conversation once its line is usable no more."""
        while way in self._ways():
            self._news.clear()
            await self._news.wait()
        raise EOFError(f"{way.uplink} cannot be used any more")


async def _open(way: Way) -> _Conversation:
    """Connect, and read what the gateway says first. Raise OSError, EOFError, TimeoutError or BadMessage."""
    local = None if way.source is None else (way.source, 0)
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(
            way.address,
            way.port,
            limit=wire.LINE_MAX,
            ssl=client_context(),
            server_hostname="",
            local_addr=local,
            ssl_shutdown_timeout=1.0,
        )
    talk = _Conversation(reader, writer, peer_fingerprint(writer.get_extra_info("ssl_object")), {})
    try:
        async with asyncio.timeout(ANSWER_S):
            talk.hello = await talk.read()
        if talk.hello["type"] != "hello":
            raise BadMessage(f"it begins with {talk.hello['type']}")
        wire.protocol_of(talk.hello)
    except BaseException:
        writer.close()
        raise
    return talk


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _proves(key: bytes, given: object, about: bytes) -> bool:
    try:
        return isinstance(given, str) and proof.is_proven(key, bytes.fromhex(given), about)
    except ValueError:
        return False


def _words(why: BaseException) -> str:
    if isinstance(why, TimeoutError):
        return "no answer"
    if isinstance(why, OSError) and why.strerror:
        return why.strerror
    return str(why) or "it broke off"
