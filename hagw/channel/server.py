"""The gateway's end of control channels: enrols, logs in, tells each CPE what concerns it.

Who may do what is the registry's business (`Desk`); here are sockets, TLS, the messages' order and bounds on strangers.
"""

import asyncio
import re
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hagw.channel import proof, wire
from hagw.channel.strangers import Quota, Strangers
from hagw.channel.wire import BadMessage, Message
from hagw.convert import cookie
from hagw.errors import HagwError
from hagw.log import log_of
from hagw.model.intent import CustomerIntent

BACKLOG: Final = 256
ACCEPT_PAUSE_S: Final = 0.05
CHANNELS_A_CUSTOMER: Final = 4  # a CPE has one; a line that died without a word leaves another for a while
CODES_A_SECOND: Final = 5.0  # each is a question to the database
LOGGED_A_SECOND: Final = 1.0
USAGE_EVERY_S: Final = 15.0
BURST: Final = 10.0
COUNT_MAX: Final = 1 << 44  # bytes of a line since the message before
_STREAM: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_LINE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
LOGIN_S: Final = 10.0
SILENT_MAX_S: Final = 600.0  # a CPE asks at least each five minutes whether we are there
SEND_MAX_BYTES: Final = 256 * 1024  # one who reads nothing is dropped beyond this
RETRY_S: Final = 5.0

log = log_of("hagw.channel")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the channel asks of the registry; the coroutines raise HagwError."""

    customers: Callable[[], Mapping[str, CustomerIntent]]
    device_keys: Callable[[], Mapping[str, bytes]]
    redeem: Callable[[bytes, bytes], Awaitable[tuple[str, bytes]]]
    taken_over: Callable[[str, bytes], Awaitable[None]]
    used: Callable[[str, Mapping[str, tuple[int, int]], str], bool]  # by a report's name; True = on the disk already
    probe: Callable[[], Mapping[str, Any]]
    met: Callable[[str, str, bool], None]  # a customer is at this address; whether it renews that for other ones


@dataclass(slots=True)
class _Line:
    """One CPE that has logged in."""

    customer: CustomerIntent
    device_key: bytes
    writer: asyncio.StreamWriter
    source: str
    version: str
    renews: bool
    since: float = field(default_factory=time.time)


class ChannelServer:
    """Serves control channels on the addresses it is given."""

    def __init__(self, desk: Desk, version: str, fingerprint: bytes, context: ssl.SSLContext) -> None:
        self._desk = desk
        self._version = version
        self._fingerprint = fingerprint
        self._context = context
        self.strangers = Strangers()
        self.peers = 0  # connections, strangers included, until they are closed
        self._unmet: dict[socket.socket, str] = {}  # accepted, and their tasks have not begun
        self._codes = Quota(BURST, CODES_A_SECOND)
        self._logged = Quota(BURST, LOGGED_A_SECOND)
        self._unlogged = 0
        self._met = Quota(10 * BURST, LOGGED_A_SECOND)
        self._usage: dict[str, Quota] = {}
        self._lines: dict[int, _Line] = {}
        self._numbers = iter(range(1, 1 << 62))

    async def run(self, addresses: Iterable[str], port: int) -> None:
        """Serve for ever; addresses or ports that cannot be had are tried again."""
        told = ""
        while True:
            listeners: list[socket.socket] = []
            try:
                for address in addresses:
                    listeners.append(_listening(address, port))
                async with asyncio.TaskGroup() as group:
                    for listener in listeners:
                        group.create_task(self._accept(listener, group))
            except OSError as why:
                if str(why) != told:
                    log.warning("control channel cannot be served", reason=str(why), port=port)
                told = str(why)
            finally:
                for sock in (*listeners, *self._unmet):
                    sock.close()
                for source in self._unmet.values():
                    self.strangers.leave(source)
                self._unmet.clear()
            await asyncio.sleep(RETRY_S)

    def roll_changed(self) -> None:
        """Tell each CPE what is now true of it; one that is no customer any more is told so and dropped."""
        customers, devices = self._desk.customers(), self._desk.device_keys()
        self._usage = {name: quota for name, quota in self._usage.items() if name in customers}
        for number, line in list(self._lines.items()):
            now = customers.get(line.customer.name)
            if now is None or devices.get(now.name) != line.device_key:
                log.info("customer dropped", customer=line.customer.name, source=line.source)
                _send(line.writer, "revoked", reason="this CPE is not a customer any more")
                line.writer.close()
                self._lines.pop(number, None)
            elif now != line.customer:
                line.customer = now
                self._settle(line)

    def probe_changed(self) -> None:
        """Tell each CPE how it is to ask from now on."""
        for line in self._lines.values():
            self._settle(line)

    def document(self) -> list[dict[str, Any]]:
        """Return who is connected: customer, source address, version and whether it is another one, since when."""
        return [
            {
                "customer": line.customer.name,
                "source": line.source,
                "version": line.version,
                "version_differs": line.version != self._version,
                "since": round(line.since),
            }
            for line in self._lines.values()
        ]

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or gone before we came
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            source = str(peer[0])
            if self.strangers.enter(source):
                self._unmet[sock] = source
                group.create_task(self._greet(sock, source))
            else:
                sock.close()
                self._log_refused(source, "too many at once have not logged in")

    async def _greet(self, sock: socket.socket, source: str) -> None:
        """Be there for one peer until it goes. `source` counts as a stranger until it has logged in."""
        del self._unmet[sock]
        self.peers += 1
        writer: asyncio.StreamWriter | None = None
        number = next(self._numbers)
        try:
            try:
                async with asyncio.timeout(LOGIN_S):
                    reader, writer = await self._secure(sock)
                    line = await self._meet(reader, writer, source)
            finally:
                self.strangers.leave(source)
            if line is not None:
                self._make_room(line.customer.name)
                self._lines[number] = line
                await self._serve(reader, line)
        except (BadMessage, HagwError) as why:
            self._log_refused(source, str(why))
            if writer is not None:
                _send(writer, "refused", reason=str(why))
        except (TimeoutError, OSError, EOFError, ValueError):  # ValueError: a line longer than LINE_MAX
            pass
        finally:
            self._lines.pop(number, None)
            if writer is None:
                sock.close()
            else:
                writer.close()
                with suppress(OSError, TimeoutError):
                    await writer.wait_closed()  # a second at most: both ends say in TLS that it is over
            self.peers -= 1

    async def _secure(self, sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Speak TLS with who was accepted. Raise OSError, also for who does not."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=wire.LINE_MAX, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=self._context, ssl_handshake_timeout=LOGIN_S, ssl_shutdown_timeout=1.0
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _make_room(self, name: str) -> None:
        """Hang up on a customer's oldest channels where it has too many."""
        own = [number for number, line in self._lines.items() if line.customer.name == name]
        for number in own[: max(0, len(own) + 1 - CHANNELS_A_CUSTOMER)]:
            self._lines.pop(number).writer.close()

    def _log_refused(self, source: str, reason: str) -> None:
        if self._logged.take(time.monotonic()):
            log.info("control channel refused", source=source, reason=reason, unlogged=self._unlogged)
            self._unlogged = 0
        else:
            self._unlogged += 1

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> _Line | None:
        nonce = secrets.token_bytes(wire.NONCE_SIZE)
        _send(writer, "hello", protocol=wire.PROTOCOL, version=self._version, nonce=nonce.hex())
        message = await _read(reader)
        wire.protocol_of(message)
        version = wire.version_of(message)
        match message["type"]:
            case "enrol":
                await self._enrol(message, writer, source)
                return None
            case "login":
                return self._login(message, nonce, writer, source, version)
            case kind:
                raise BadMessage(f"{kind} is not for strangers")

    async def _enrol(self, message: Message, writer: asyncio.StreamWriter, source: str) -> None:
        secret = wire.bytes_of(message, "secret", 10)
        device_key = wire.bytes_of(message, "device_key", proof.DEVICE_KEY_SIZE)
        if not self._codes.take(time.monotonic()):
            raise BadMessage("too many enrolment codes are tried here, again in a few seconds")
        name, key = await self._desk.redeem(secret, device_key)
        log.info("customer enrolled", customer=name, source=source)
        _send(writer, "enrolled", customer=name, key=key.hex())
        await writer.drain()

    def _login(
        self, message: Message, nonce: bytes, writer: asyncio.StreamWriter, source: str, version: str
    ) -> _Line | None:
        name = wire.text_of(message, "customer", 32)
        cpe_nonce = wire.bytes_of(message, "nonce", wire.NONCE_SIZE)
        signature = wire.bytes_of(message, "signature", proof.SIGNATURE_SIZE)
        customer, device_key = self._desk.customers().get(name), self._desk.device_keys().get(name)
        about = proof.transcript(nonce, cpe_nonce, self._fingerprint, name)
        if customer is None or device_key is None or not proof.is_signed(device_key, signature, about):
            raise BadMessage("this CPE is not a customer")
        proofs = [proof.gateway_proof(key, about).hex() for key in (customer.key, customer.old_key) if key is not None]
        _send(writer, "welcome", proofs=proofs, time=time.time(), acknowledges=["usage"])
        line = _Line(customer, device_key, writer, source, version, message.get("renews") is True)
        self._desk.met(name, source, line.renews)
        if message.get("shows") is True:
            return None
        if self._met.take(time.monotonic()):
            log.info("customer connected", customer=name, source=source, version=version)
        self._settle(line)
        return line

    def _settle(self, line: _Line) -> None:
        customer = line.customer
        now = time.time()
        _send(
            line.writer,
            "settings",
            key=customer.key.hex(),
            rotating=customer.old_key is not None,
            cookie=cookie.mint(customer.key, customer.name, now).hex(),
            cookie_until=(now // cookie.PERIOD_S + 2) * cookie.PERIOD_S,
            limits=asdict(customer.limits),
            blocked=customer.blocked,
            probe=dict(self._desk.probe()),
        )

    async def _serve(self, reader: asyncio.StreamReader, line: _Line) -> None:
        while True:
            async with asyncio.timeout(SILENT_MAX_S):
                message = await _read(reader)
            match message["type"]:
                case "ping":
                    _send(line.writer, "pong", time=time.time())
                    self._desk.met(line.customer.name, line.source, line.renews)
                case "taken-over":
                    if message.get("key_id") == proof.key_id(line.customer.key):
                        await self._desk.taken_over(line.customer.name, line.customer.key)
                case "usage":
                    report = _report(message)
                    if self._used(line.customer.name, _usage(message), report):
                        _tell_kept(line.writer, report)
                case "pong" | "unsupported":
                    pass
                case kind:
                    _send(line.writer, "unsupported", what=kind[:64])

    def usage_kept(self, reports: Mapping[str, str]) -> None:
        """These customers' reports are on the disk: their CPEs need not say them again."""
        for line in self._lines.values():
            report = reports.get(line.customer.name)
            if report is not None:
                _tell_kept(line.writer, report)

    def _used(self, name: str, uplinks: Mapping[str, tuple[int, int]], report: str) -> bool:
        """Pass on what a CPE says of its lines, which is a file and rows in the database. Raise BadMessage."""
        quota = self._usage.setdefault(name, Quota(BURST, 1.0 / USAGE_EVERY_S))
        if not quota.take(time.monotonic()):
            raise BadMessage("usage comes too often")
        return self._desk.used(name, uplinks, report)


def _listening(address: str, port: int) -> socket.socket:
    """Return a socket that CPEs connect to. Raise OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _usage(message: Message) -> dict[str, tuple[int, int]]:
    """Return bytes down and up by uplink. Raise BadMessage."""
    uplinks = message.get("uplinks")
    if not isinstance(uplinks, dict) or len(uplinks) > 64:
        raise BadMessage("usage has no uplinks")
    found = {}
    for name, way in uplinks.items():
        down, up = (way.get("down"), way.get("up")) if isinstance(way, dict) else (None, None)
        if not _is_count(down) or not _is_count(up) or not _LINE_NAME.fullmatch(name):
            raise BadMessage("usage has bad numbers")
        found[name] = (int(down or 0), int(up or 0))
    return found


def _report(message: Message) -> str:
    """Return a report's name, STREAM-NUMBER; "" = it has none, as an older CPE's."""
    stream, number = message.get("stream"), message.get("number")
    is_named = isinstance(stream, str) and _STREAM.fullmatch(stream) and _is_count(number)
    return f"{stream}-{number}" if is_named else ""


def _tell_kept(writer: asyncio.StreamWriter, report: str) -> None:
    stream, _, number = report.rpartition("-")
    _send(writer, "usage-kept", stream=stream, number=int(number))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX


async def _read(reader: asyncio.StreamReader) -> Message:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return wire.decode(line)


def _send(writer: asyncio.StreamWriter, kind: str, **values: Any) -> None:
    """Queue a message; a peer that reads nothing is dropped."""
    if writer.is_closing():
        return
    writer.write(wire.encode(kind, **values))
    if writer.transport.get_write_buffer_size() > SEND_MAX_BYTES:
        writer.transport.abort()
