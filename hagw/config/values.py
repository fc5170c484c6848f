"""Scalars of the configuration file, each parsed once from its text: rates, durations, prefixes, ports, names.

Every parser raises ValueError whose message says what is allowed; secrets are never quoted back.
"""

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema

from hagw.model.intent import IPAddress, IPInterface, IPNetwork

_RATE_UNITS: Final = {"bit/s": 1, "kbit/s": 10**3, "mbit/s": 10**6, "gbit/s": 10**9}
_RATE_MIN_BPS: Final = 1_000
_RATE_MAX_BPS: Final = 10**12
_SIZE_UNITS: Final = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION_MAX_S: Final = 30 * 86_400.0
_VOLUME_UNITS: Final[dict[str, int]] = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_VOLUME_MIN: Final = 10**6
_VOLUME_MAX: Final = 10**15
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d)?)\s*%", re.ASCII)
_NEVER: Final = "never"
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z/]*)", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_INTERFACE: Final = re.compile(r"[^\s/:\0]{1,15}")
_GLOB: Final = re.compile(r"[^\s/:\0]{1,32}")
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}", re.ASCII)
_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_PORTS: Final = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", re.ASCII)
_REGISTRY_URL: Final = re.compile(r"(?:sqlite(?:\+aiosqlite)?:///|postgres(?:ql)?(?:\+asyncpg|\+psycopg)?://)\S{1,500}")
_WEBHOOK_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}(/[!-~]{0,2000})?")
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse_rate(text: str) -> int:
    """Return bit/s from "16 Mbit/s" or a plain number of bit/s."""
    wanted = 'a rate such as "16 Mbit/s", "512 kbit/s", or a number of bit/s'
    rate = round(_quantity(text, wanted, _RATE_UNITS, "bit/s"))
    if not _RATE_MIN_BPS <= rate <= _RATE_MAX_BPS:
        raise ValueError("a rate is between 1 kbit/s and 1000 Gbit/s")
    return rate


def parse_size(text: str) -> int:
    """Return bytes from "500 GB" or a plain number of bytes."""
    wanted = 'a size such as "500 GB", "2 TB", or a number of bytes'
    return round(_quantity(text, wanted, _SIZE_UNITS, "b"))


def parse_count(text: str) -> int:
    """Return a number of things, at least 1."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:10]) <= 10_000_000:
        raise ValueError(f"{text!r} is not a whole number from 1 to 10,000,000")
    return int(text)


def parse_duration(text: str) -> float:
    """Return seconds from "900 s", "15 min" or a plain number of seconds."""
    wanted = 'a duration such as "900 s", "500 ms", "15 min" or "2 h"'
    seconds = _quantity(text, wanted, _DURATION_UNITS, "s", fold=str)
    if not 0.001 <= seconds <= _DURATION_MAX_S:
        raise ValueError("a duration is between 1 ms and 30 d")
    return seconds


def parse_volume(text: str) -> int:
    """Return bytes from "50 GB", "512 MiB" or a plain number of bytes."""
    size = parse_bytes(text)
    if not _VOLUME_MIN <= size <= _VOLUME_MAX:
        raise ValueError("a volume is between 1 MB and 1000 TB")
    return size


def parse_bytes(text: str) -> int:
    """Return any number of bytes, written like a volume."""
    wanted = 'a volume such as "50 GB", "500 MB", "2 TiB", or a number of bytes'
    return round(_quantity(text, wanted, _VOLUME_UNITS, "b"))


def parse_share(text: str) -> float:
    """Return 0.75 from "75 %"."""
    match = _SHARE.fullmatch(text.strip())
    if match is None or not 1 <= float(match[1]) <= 200:
        raise ValueError(f'{text!r} is not a share such as "75 %", between 1 % and 200 %')
    return float(match[1]) / 100


def parse_rung(text: str) -> float:
    """Return the share that a rung of the ladder begins at; infinite for "never"."""
    if text.strip().lower() == _NEVER:
        return math.inf
    try:
        return parse_share(text)
    except ValueError as why:
        raise ValueError(f'{why}, or "never"') from None


def parse_prefix(text: str) -> IPNetwork:
    """Return a prefix, or the single address written without a length."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        nearest = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a prefix such as 192.168.1.0/24 or 2001:db8::/32") from None
    raise ValueError(f"{text} has address bits behind its length; did you mean {nearest}?")


def parse_address(text: str) -> IPAddress:
    """Return a unicast address without a zone."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address; host names are not resolved") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("write the address without %zone")
    return address


def parse_address4(text: str) -> IPv4Address:
    """Return an IPv4 address."""
    address = parse_address(text)
    if not isinstance(address, IPv4Address):
        raise ValueError(f"{text} is not an IPv4 address")
    return address


def parse_address6(text: str) -> IPv6Address:
    """Return an IPv6 address."""
    address = parse_address(text)
    if not isinstance(address, IPv6Address):
        raise ValueError(f"{text} is not an IPv6 address")
    return address


def parse_prefix6(text: str) -> IPv6Network:
    """Return an IPv6 prefix that a provider can delegate: at least a network's, and leading to us."""
    network = parse_prefix(text)
    if not isinstance(network, IPv6Network) or not 16 <= network.prefixlen <= 64:
        raise ValueError(f"{text!r} is not an IPv6 prefix of 16 to 64 bits, such as 2001:db8:1200::/56")
    if network.is_multicast or network.is_link_local or network.is_loopback:
        raise ValueError(f"{network} cannot be delegated")
    return network


def parse_own_address(text: str) -> IPInterface:
    """Return an address that an interface can have, with the length of its network's prefix."""
    wanted = f"{text!r} is not an address with the length of its prefix, such as 192.0.2.10/24 or 2001:db8::10/64"
    if "/" not in text:
        raise ValueError(wanted)
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError(wanted) from None
    network, ip = found.network, found.ip
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local:
        raise ValueError(f"{ip} cannot be the address of an uplink")
    if network.num_addresses > 2 and (
        ip == network.network_address or (ip.version == 4 and ip == network.broadcast_address)
    ):
        raise ValueError(f"{ip} stands for the whole network {network}, it is not a machine's address")
    return found


def parse_mac(text: str) -> str:
    """Return a MAC address in lower case with colons."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:5e:10:00:01")
    return text.lower().replace("-", ":")


def parse_interface_glob(text: str) -> str:
    """Return a pattern for names of interfaces, with * ? and [..]."""
    if not _GLOB.fullmatch(text):
        raise ValueError(f"{text!r} is not a pattern for an interface's name, such as wwan*")
    return text


def parse_ports(text: str) -> tuple[int, int]:
    """Return an inclusive port range from "443" or "8000-8100"."""
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a port such as "443" or a range such as "8000-8100"')
    low = int(match[1])
    high = int(match[2] or match[1])
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"{text!r}: ports are between 1 and 65535, the lower one first")
    return low, high


def parse_name(text: str) -> str:
    """Return a name."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name has 1 to 32 letters, digits, '_', '.' or '-', and begins with a letter or digit")
    return text


def parse_interface(text: str) -> str:
    """Return a network interface's name."""
    if not _INTERFACE.fullmatch(text) or text in {".", "..", "lo"}:
        raise ValueError(f"{text!r} is not the name of a network interface (1 to 15 characters, not lo)")
    return text


def parse_key(text: str) -> bytes:
    """Return a 32-byte key. The message does not repeat it."""
    if not _KEY.fullmatch(text):
        raise ValueError(
            f"a key is 64 hexadecimal digits ({len(text)} characters found); `openssl rand -hex 32` makes one"
        )
    if len(set(text)) < 6:
        raise ValueError("this key is not random; `openssl rand -hex 32` makes one")
    return bytes.fromhex(text)


def parse_registry_url(text: str) -> str:
    """Return a database's URL. The message does not repeat it: it may have a password in it."""
    if not _REGISTRY_URL.fullmatch(text):
        raise ValueError(
            "a registry is sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; PostgreSQL's driver is asyncpg,"
            " or psycopg with postgresql+psycopg://"
        )
    return text


def parse_webhook_url(text: str) -> str:
    """Return a webhook's URL. The message does not repeat it: whoever knows it can send."""
    if not _WEBHOOK_URL.fullmatch(text):
        raise ValueError("a webhook is https://HOST/… (or http://), without spaces")
    return text


def parse_truth(text: str) -> bool:
    """Return true or false."""
    value = _TRUTH.get(text.lower())
    if value is None:
        raise ValueError(f"true or false is wanted, not {text!r}")
    return value


def parse_truth_or_auto(text: str) -> Literal["auto"] | bool:
    """Return true, false, or auto for what the program decides."""
    value = _TRUTH.get(text.lower())
    if value is None and text != "auto":
        raise ValueError(f"true, false or auto is wanted, not {text!r}")
    return "auto" if value is None else value


def _quantity(
    text: str, wanted: str, units: Mapping[str, float], usual: str, *, fold: Callable[[str], str] = str.lower
) -> float:
    """Return a number times its unit, `usual` where there is none; units are looked for as `fold` makes them."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {wanted}")
    factor = units.get(fold(match[2]) or usual)
    if factor is None:
        raise ValueError(f"unit {match[2]!r} is not known; {wanted}")
    return float(match[1]) * factor


def scalar(parse: Any, pattern: str | None = None, *, number: bool = False) -> tuple[Any, ...]:
    """Validate text only: a mapping or a list gets pydantic's own message. `number` = editors accept one as well."""
    schema: dict[str, Any] = {"type": ["string", "number"] if number else "string"}
    if pattern is not None:
        schema["pattern"] = f"^(?:{pattern})$"
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value), WithJsonSchema(schema)


Rate = Annotated[int, *scalar(parse_rate, number=True)]
Duration = Annotated[float, *scalar(parse_duration, number=True)]
Volume = Annotated[int, *scalar(parse_volume, number=True)]
Share = Annotated[float, *scalar(parse_share)]
Rung = Annotated[float, *scalar(parse_rung)]
Prefix = Annotated[IPv4Network | IPv6Network, *scalar(parse_prefix)]
Address = Annotated[IPv4Address | IPv6Address, *scalar(parse_address)]
Address4 = Annotated[IPv4Address, *scalar(parse_address4)]
Prefix6 = Annotated[IPv6Network, *scalar(parse_prefix6)]
Address6 = Annotated[IPv6Address, *scalar(parse_address6)]
OwnAddress = Annotated[IPv4Interface | IPv6Interface, *scalar(parse_own_address)]
Ports = Annotated[tuple[int, int], *scalar(parse_ports, number=True)]
Name = Annotated[str, *scalar(parse_name, _NAME.pattern, number=True)]
Interface = Annotated[str, *scalar(parse_interface)]
InterfaceGlob = Annotated[str, *scalar(parse_interface_glob)]
Mac = Annotated[str, *scalar(parse_mac, _MAC.pattern)]
Key = Annotated[bytes, *scalar(parse_key, _KEY.pattern, number=True)]
RegistryUrl = Annotated[str, *scalar(parse_registry_url)]
WebhookUrl = Annotated[str, *scalar(parse_webhook_url)]
TruthOrAuto = Annotated[
    Literal["auto"] | bool,
    BeforeValidator(lambda value: parse_truth_or_auto(value) if isinstance(value, str) else value),
]
Truth = Annotated[bool, BeforeValidator(lambda value: parse_truth(value) if isinstance(value, str) else value)]
