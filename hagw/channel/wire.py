"""The control channel's messages: one JSON object a line, its `type` first. Sans-IO.

Both ends say their `protocol` (the highest they know) and `version` (of hagw) when they meet; the lower protocol is
spoken. Keys nobody knows are ignored, types nobody knows are answered with `unsupported`, so that older and newer ends
work together. `caps` and `port-forwards` are reserved: nobody sends them yet.

    gateway  hello      protocol, version, nonce                      first, to everybody
    CPE      enrol      protocol, version, secret, device_key         a code's secret, the device's new public key
    gateway  enrolled   customer, key                                 and the end
    CPE      login      protocol, version, customer, nonce, signature, renews, shows
                        renews: it logs in over each line whose address is not known; shows: that is all it wants
    gateway  welcome    proofs, time, acknowledges                    a proof for each key that is valid; ["usage"]
    gateway  settings   key, rotating, cookie, cookie_until, limits, blocked, probe    at first and when they change
    CPE      taken-over key_id                                        the key of the last settings is on the disk
    CPE      usage      uplinks: {name: {down, up}}, stream, number   bytes since the last one
    gateway  usage-kept stream, number                                that one is on the disk; else it comes again
    gateway  revoked    reason                                        and the end
    gateway  refused    reason                                        and the end
    both     ping, pong                                               a question whether the other is there
"""

import json
from typing import Any, Final

PROTOCOL: Final = 1
LINE_MAX: Final = 64 * 1024
NONCE_SIZE: Final = 16
RESERVED: Final = ("caps", "port-forwards")

Message = dict[str, Any]


class BadMessage(ValueError):
    """What came is no message of the control channel."""


def encode(kind: str, **values: Any) -> bytes:
    """Return a message's line."""
    return json.dumps({"type": kind, **values}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return a line's message. Raise BadMessage."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise BadMessage("it is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise BadMessage("it is not a message: an object with its type")
    return message


def text_of(message: Message, key: str, longest: int = 256) -> str:
    """Return a text that the message must have. Raise BadMessage."""
    value = message.get(key)
    if not isinstance(value, str) or len(value) > longest:
        raise BadMessage(f"{message['type']} has no {key}")
    return value


def bytes_of(message: Message, key: str, size: int) -> bytes:
    """Return bytes that the message must have in hex, `size` of them. Raise BadMessage."""
    try:
        value = bytes.fromhex(text_of(message, key, 2 * size))
    except ValueError:
        raise BadMessage(f"{message['type']} has a bad {key}") from None
    if len(value) != size:
        raise BadMessage(f"{message['type']} has a bad {key}")
    return value


def version_of(message: Message) -> str:
    """Return the version that the other end says it has; "unknown" for what nobody can be shown."""
    value = message.get("version")
    is_shown = isinstance(value, str) and 0 < len(value) <= 64 and value.isascii() and value.isprintable()
    return str(value) if is_shown else "unknown"


def protocol_of(message: Message) -> int:
    """Return the protocol that both ends know. Raise BadMessage where there is none."""
    value = message.get("protocol")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadMessage(f"{message['type']} names no protocol")
    return min(value, PROTOCOL)
