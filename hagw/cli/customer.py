"""`hagw customer …`: who may use this gateway. Works on the registry itself, whether a daemon runs or not."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hagw.cli.output import print_document, print_table, rate, size
from hagw.cli.session import user
from hagw.control.places import config_file, state_dir
from hagw.errors import Refused

if TYPE_CHECKING:
    from hagw.channel.code import Code
    from hagw.registry.customers import Customer, Registry, Wanted

HOUR_S = 3600
SCHEMA = 1
T = TypeVar("T")

customer = typer.Typer(no_args_is_help=True, help="Who may use this gateway: add, change, revoke its customers.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The customer's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Hours = Annotated[float, typer.Option("--valid-hours", min=0.01, max=8760, help="How long the code can be used.")]
Source = Annotated[list[str] | None, typer.Option("--source", help="A prefix its lines come from; repeat for more.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="A prefix it may reach although it is not public.")]
Deny = Annotated[list[str] | None, typer.Option("--deny", help="A prefix it may not reach.")]
Note = Annotated[str | None, typer.Option("--note", help="A word for operators.")]
Connections = Annotated[str | None, typer.Option("--connections", help="Connections at a time, or `none`.")]
Connects = Annotated[str | None, typer.Option("--connects-per-s", help="New connections a second, or `none`.")]
Pending = Annotated[str | None, typer.Option("--pending", help="Connections to servers being opened, or `none`.")]
RateDown = Annotated[str | None, typer.Option("--rate-down", help="Rate towards it: `50 Mbit/s`, or `none`.")]
RateUp = Annotated[str | None, typer.Option("--rate-up", help="Rate from it, or `none`.")]
Month = Annotated[str | None, typer.Option("--month-bytes", help="Bytes in a calendar month: `500 GB`, or `none`.")]


@customer.command()
def add(
    name: Name,
    source: Source = None,
    allow: Allow = None,
    deny: Deny = None,
    note: Note = None,
    connections: Connections = None,
    connects_per_s: Connects = None,
    pending: Pending = None,
    rate_down: RateDown = None,
    rate_up: RateUp = None,
    month_bytes: Month = None,
    valid_hours: Hours = 24.0,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="No code: print a key to write into the CPE's configuration.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a customer and print the code that its CPE enrols with, once."""
    from hagw.config.values import parse_name

    wanted = _wanted(source, allow, deny, note, connections, connects_per_s, pending, rate_down, rate_up, month_bytes)
    name = _parsed(parse_name, name)
    if with_key:
        key = _ask(lambda registry: registry.add_with_key(name, wanted, user()))
        _tell(as_json, {"customer": name, "key": key.hex()}, f"key: {key.hex()}")
        return
    code = _new_code()
    _ask(lambda registry: registry.add(name, wanted, user(), secret=code.secret, valid_s=valid_hours * HOUR_S))
    _tell_code(as_json, name, str(code), valid_hours)


@customer.command()
def invite(name: Name, valid_hours: Hours = 24.0, as_json: AsJson = False) -> None:
    """Print a new code for a customer: for another CPE, or after the first one expired."""
    code = _new_code()
    _ask(lambda registry: registry.invite(name, user(), secret=code.secret, valid_s=valid_hours * HOUR_S))
    _tell_code(as_json, name, str(code), valid_hours)


@customer.command("set")
def set_(
    name: Name,
    source: Source = None,
    allow: Allow = None,
    deny: Deny = None,
    note: Note = None,
    connections: Connections = None,
    connects_per_s: Connects = None,
    pending: Pending = None,
    rate_down: RateDown = None,
    rate_up: RateUp = None,
    month_bytes: Month = None,
) -> None:
    """Change what a customer may do; what is not given stays, `none` takes a limit or a list away."""
    wanted = _wanted(source, allow, deny, note, connections, connects_per_s, pending, rate_down, rate_up, month_bytes)
    _ask(lambda registry: registry.change(name, wanted, user()))


@customer.command()
def revoke(name: Name) -> None:
    """Let a customer use no gateway any more: its connections end within seconds, new ones are refused."""
    _ask(lambda registry: registry.revoke(name, user()))


@customer.command()
def rotate(name: Name) -> None:
    """Give a customer a new key; its CPE takes it over when it is next in touch, the old one is valid until then."""
    _ask(lambda registry: registry.rotate(name, user()))


@customer.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the registry's customers; those of the configuration file are not among them."""
    found = _ask(lambda registry: registry.everyone())
    if as_json:
        print_document({"schema": SCHEMA, "customers": [_document(each) for each in found]})
        return
    print_table(
        ("CUSTOMER", "STATE", "SINCE", "LIMITS", "NOTE"),
        [(each.name, _state(each), _time(each.created_at), _limits(each) or "-", each.note or "-") for each in found],
    )


@customer.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show what is known of a customer."""
    found = _ask(lambda registry: registry.get(name))
    if as_json:
        print_document({"schema": SCHEMA, **_document(found)})
        return
    for key, value in _document(found).items():
        shown = ", ".join(map(str, value)) or "-" if isinstance(value, list) else value
        print(f"{key}: {_limits(found) or '-' if key == 'limits' else shown}")


@customer.command()
def audit(
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="How many entries.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, oldest first."""
    found = _ask(lambda registry: registry.audit(last))
    if as_json:
        print_document({"schema": SCHEMA, "audit": [asdict(each) for each in found]})
        return
    print_table(
        ("WHEN", "BY", "WHAT", "CUSTOMER", "DETAIL"),
        [(_time(each.at), each.by, each.action, each.customer, each.detail) for each in found],
    )


@customer.command()
def usage(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One customer; all if left out.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DAY", help="From this day on, 2026-11-01; this month if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what customers carried, by day (UTC): payload as gateways counted it, IP bytes by uplink as CPEs tell."""
    first = since or datetime.now(UTC).strftime("%Y-%m-01")
    found = _ask(lambda registry: registry.usage(first, name))
    if as_json:
        print_document({"schema": SCHEMA, "usage": [asdict(each) for each in found]})
        return
    print_table(
        ("CUSTOMER", "DAY", "UPLINK", "DOWN", "UP", "FLOWS"),
        [
            (
                x.customer,
                x.day,
                x.uplink or "all",
                size(x.bytes_down),
                size(x.bytes_up),
                str(x.flows) if not x.uplink else "-",
            )
            for x in found
        ],
    )


def _ask(question: "Callable[[Registry], Awaitable[T]]") -> T:
    """Return what the registry answers. Raise ConfigError, Refused or RegistryUnavailable."""
    import asyncio  # as all of these: other verbs do without

    from hagw.config.load import load_file
    from hagw.model.intent import HagIntent
    from hagw.registry.customers import Registry

    intent = load_file(config_file())
    if not isinstance(intent, HagIntent):
        raise Refused("Customers are a gateway's; this machine's configuration says role: cpe.")

    async def run() -> T:
        registry = Registry.at(intent.registry_url, state_dir())
        try:
            return await question(registry)
        finally:
            await registry.close()

    return asyncio.run(run())


def _wanted(
    source: list[str] | None,
    allow: list[str] | None,
    deny: list[str] | None,
    note: str | None,
    connections: str | None,
    connects_per_s: str | None,
    pending: str | None,
    rate_down: str | None,
    rate_up: str | None,
    month_bytes: str | None,
) -> "Wanted":
    from hagw.config.values import parse_count, parse_rate, parse_size
    from hagw.registry.customers import Wanted

    said: dict[str, tuple[str | None, Callable[[str], float]]] = {
        "connections_max": (connections, parse_count),
        "connects_per_s": (connects_per_s, parse_count),
        "pending_max": (pending, parse_count),
        "rate_down_bps": (rate_down, parse_rate),
        "rate_up_bps": (rate_up, parse_rate),
        "month_bytes": (month_bytes, parse_size),
    }
    limits = {
        key: None if text == "none" else _parsed(parse, text) for key, (text, parse) in said.items() if text is not None
    }
    return Wanted(_prefixes(source), _prefixes(allow), _prefixes(deny), limits or None, note)


def _prefixes(texts: list[str] | None) -> tuple[Any, ...] | None:
    from hagw.config.values import parse_prefix

    if texts is None:
        return None
    return () if texts == ["none"] else tuple(_parsed(parse_prefix, text) for text in texts)


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as why:
        raise typer.BadParameter(str(why)) from None


def _new_code() -> "Code":
    from hagw.channel.code import new_code
    from hagw.channel.identity import fingerprint_of

    return new_code(fingerprint_of(state_dir()))


def _tell_code(as_json: bool, name: str, code: str, valid_hours: float) -> None:
    words = f"{code}\nOn the CPE, within {valid_hours:g} h: hagw enrol GATEWAY {code}"
    _tell(as_json, {"customer": name, "code": code, "valid_hours": valid_hours}, words)


def _tell(as_json: bool, document: dict[str, Any], words: str) -> None:
    if as_json:
        print_document({"schema": SCHEMA, **document})
    else:
        print(words)


def _document(found: "Customer") -> dict[str, Any]:
    prefixes = {key: [str(p) for p in getattr(found, key)] for key in ("sources", "allow", "deny")}
    return {**asdict(found), **prefixes}


def _state(found: "Customer") -> str:
    return f"{found.state}, rotating" if found.rotating else found.state


def _limits(found: "Customer") -> str:
    limits = found.limits
    said = (
        (limits.connections_max, "{} connections"),
        (limits.connects_per_s, "{:g} new/s"),
        (limits.pending_max, "{} pending"),
        (None if limits.rate_down_bps is None else rate(limits.rate_down_bps), "{} down"),
        (None if limits.rate_up_bps is None else rate(limits.rate_up_bps), "{} up"),
        (None if limits.month_bytes is None else size(limits.month_bytes), "{} a month"),
    )
    return ", ".join(words.format(value) for value, words in said if value is not None)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
