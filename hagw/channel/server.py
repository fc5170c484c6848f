"""The gateway's end of control channels: enrols, logs in, tells each CPE what concerns it.

Who may do what is the registry's business (`Desk`); here are sockets, TLS, the messages' order and bounds on strangers.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import structlog

from hagw.channel import proof, wire
from hagw.channel.wire import BadMessage, Message
from hagw.convert import cookie
from hagw.errors import HagwError
from hagw.model.intent import CustomerIntent

STRANGERS_MAX: Final = 256
LOGIN_S: Final = 10.0
SILENT_MAX_S: Final = 600.0  # a CPE asks at least each five minutes whether we are there
SEND_MAX_BYTES: Final = 256 * 1024  # one who reads nothing is dropped beyond this
RETRY_S: Final = 5.0

log = structlog.get_logger("hagw.channel")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the channel asks of the registry; the coroutines raise HagwError."""

    customers: Callable[[], Mapping[str, CustomerIntent]]
    device_keys: Callable[[], Mapping[str, bytes]]
    redeem: Callable[[bytes, bytes], Awaitable[tuple[str, bytes]]]
    taken_over: Callable[[str, bytes], Awaitable[None]]
    used: Callable[[str, Mapping[str, tuple[int, int]]], None]
    probe: Callable[[], Mapping[str, Any]]


@dataclass(slots=True)
class _Line:
    """One CPE that has logged in."""

    customer: CustomerIntent
    device_key: bytes
    writer: asyncio.StreamWriter
    source: str
    version: str
    since: float = field(default_factory=time.time)


class ChannelServer:
    """Serves control channels on the addresses it is given."""

    def __init__(self, desk: Desk, version: str, fingerprint: bytes, context: ssl.SSLContext) -> None:
        self._desk = desk
        self._version = version
        self._fingerprint = fingerprint
        self._context = context
        self._strangers = 0
        self._lines: dict[int, _Line] = {}
        self._numbers = iter(range(1, 1 << 62))

    async def run(self, addresses: Iterable[str], port: int) -> None:
        """Serve for ever; addresses or ports that cannot be had are tried again."""
        told = ""
        while True:
            servers: list[asyncio.Server] = []
            try:
                for address in addresses:
                    servers.append(
                        await asyncio.start_server(
                            self._greet,
                            address,
                            port,
                            limit=wire.LINE_MAX,
                            ssl=self._context,
                            ssl_handshake_timeout=LOGIN_S,
                            ssl_shutdown_timeout=1.0,
                        )
                    )
                await asyncio.get_running_loop().create_future()
            except OSError as why:
                if str(why) != told:
                    log.warning("control channel cannot be served", reason=str(why), port=port)
                told = str(why)
            finally:
                for server in servers:
                    server.close()
            await asyncio.sleep(RETRY_S)

    def roll_changed(self) -> None:
        """Tell each CPE what is now true of it; one that is no customer any more is told so and dropped."""
        customers, devices = self._desk.customers(), self._desk.device_keys()
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

    def document(self) -> list[dict[str, Any]]:
        """Return who is connected: customer, source address, version, since when."""
        return [
            {"customer": x.customer.name, "source": x.source, "version": x.version, "since": round(x.since)}
            for x in self._lines.values()
        ]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str((writer.get_extra_info("peername") or ("unknown",))[0])
        line: _Line | None = None
        number = next(self._numbers)
        try:
            if self._strangers >= STRANGERS_MAX:
                return
            self._strangers += 1
            try:
                async with asyncio.timeout(LOGIN_S):
                    line = await self._meet(reader, writer, source)
            finally:
                self._strangers -= 1
            if line is not None:
                self._lines[number] = line
                await self._serve(reader, line)
        except BadMessage as why:
            log.info("control channel refused", source=source, reason=str(why))
            _send(writer, "refused", reason=str(why))
        except HagwError as why:
            log.info("control channel refused", source=source, reason=str(why))
            _send(writer, "refused", reason=str(why))
        except (TimeoutError, OSError, EOFError, ValueError):  # ValueError: a line longer than LINE_MAX
            pass
        finally:
            self._lines.pop(number, None)
            with suppress(OSError):
                writer.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> _Line | None:
        nonce = secrets.token_bytes(wire.NONCE_SIZE)
        _send(writer, "hello", protocol=wire.PROTOCOL, version=self._version, nonce=nonce.hex())
        message = await _read(reader)
        wire.protocol_of(message)
        version = wire.text_of(message, "version", 64)
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
        name, key = await self._desk.redeem(secret, device_key)
        log.info("customer enrolled", customer=name, source=source)
        _send(writer, "enrolled", customer=name, key=key.hex())
        await writer.drain()

    def _login(self, message: Message, nonce: bytes, writer: asyncio.StreamWriter, source: str, version: str) -> _Line:
        name = wire.text_of(message, "customer", 32)
        cpe_nonce = wire.bytes_of(message, "nonce", wire.NONCE_SIZE)
        signature = wire.bytes_of(message, "signature", proof.SIGNATURE_SIZE)
        customer, device_key = self._desk.customers().get(name), self._desk.device_keys().get(name)
        about = proof.transcript(nonce, cpe_nonce, self._fingerprint, name)
        if customer is None or device_key is None or not proof.is_signed(device_key, signature, about):
            raise BadMessage("this CPE is not a customer")
        proofs = [proof.gateway_proof(key, about).hex() for key in (customer.key, customer.old_key) if key is not None]
        _send(writer, "welcome", proofs=proofs, time=time.time())
        line = _Line(customer, device_key, writer, source, version)
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
                case "taken-over":
                    if message.get("key_id") == proof.key_id(line.customer.key):
                        await self._desk.taken_over(line.customer.name, line.customer.key)
                case "usage":
                    self._desk.used(line.customer.name, _usage(message))
                case "pong" | "unsupported":
                    pass
                case kind:
                    _send(line.writer, "unsupported", what=kind[:64])


def _usage(message: Message) -> dict[str, tuple[int, int]]:
    """Return bytes down and up by uplink. Raise BadMessage."""
    uplinks = message.get("uplinks")
    if not isinstance(uplinks, dict) or len(uplinks) > 64:
        raise BadMessage("usage has no uplinks")
    found = {}
    for name, way in uplinks.items():
        down, up = (way.get("down"), way.get("up")) if isinstance(way, dict) else (None, None)
        if not _is_count(down) or not _is_count(up) or len(name) > 32:
            raise BadMessage("usage has bad numbers")
        found[name] = (int(down or 0), int(up or 0))
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


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
