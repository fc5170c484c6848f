"""`hagw status`: what the gateway does now, and why not more."""

from typing import Annotated, Any

import typer

from hagw.cli.client import get
from hagw.cli.output import number, print_document, print_table, rate, size
from hagw.control.places import api_socket


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show state, uplinks and gateways of the running daemon."""
    document = get(api_socket(), "/status")
    if as_json:
        print_document(document)
    else:
        show(document)


def show(document: dict[str, Any]) -> None:
    """Print a status document for people."""
    print(f"hagw {document['version']} ({document['role']}): {document['state']}. {document['reason']}")
    if document["uplinks"]:
        print_table(
            (
                "UPLINK",
                "KIND",
                "INTERFACE",
                "STATE",
                "RTT",
                "JITTER",
                "LOSS UP/DOWN",
                "DOWN",
                "UP",
                "BYTES DOWN",
                "BYTES UP",
                "PROBES",
                "REASON",
            ),
            [_uplink(uplink) for uplink in document["uplinks"]],
        )
    if document["gateways"]:
        print_table(
            ("GATEWAY", "ADDRESS", "STATE", "RTT", "WARM", "CHANNEL", "REASON"),
            [_gateway(gateway) for gateway in document["gateways"]],
        )
    if document["cpe_versions"]:
        print(f"CPEs with a control channel: {', '.join(map(_cpes, document['cpe_versions']))}")
    for cap in document["data_caps"]:
        print(f"{cap['reason']}{_forecast(cap)}")
    if last := document["drift"]["last"]:
        times = document["drift"]["repairs"]
        print(f"kernel state changed by somebody else and repaired: {times}, last {last['at']}: {last['repaired'][0]}")
    if document["firewall"] is not None:
        print(_firewall(document["firewall"]))
    for rival in document["rivals"]:
        print(f"{rival['severity']}: {rival['found']} {rival['act']}")
    if document["bonding_efficiency"] is not None:
        print(f"carried: {_carried(document)}")
    print(f"{document['flows_active']} active flows, {len(document['workers'])} workers")
    _configuration(document)


def _carried(document: dict[str, Any]) -> str:
    """How much of what the lines can carry is carried."""
    share = f"{document['bonding_efficiency'] * 100:.0f} % of what the lines can"
    return f"{rate(document['goodput_down_bps'])} down, {rate(document['goodput_up_bps'])} up; {share}"


def _configuration(document: dict[str, Any]) -> None:
    """Say what the owner should know of the configuration in force."""
    number = document["config_generation"]
    if document["pending_confirm_s"] is not None:
        left = document["pending_confirm_s"]
        print(f"Generation {number} is taken back in {left:.0f} s unless you say `hagw confirm`.")
    if document["config_file_differs"]:
        print(f"The configuration file is not what is in force (generation {number}): see `hagw diff`.")
    if document["config_notice"]:
        print(document["config_notice"])


def _forecast(cap: dict[str, Any]) -> str:
    """How the period will end, where that is known."""
    if cap["reached_at"] is not None:
        return f"; at this pace used up on {cap['reached_at'][:10]}"
    return "" if cap["forecast_percent"] is None else f"; at this pace {cap['forecast_percent']:.0f} % then"


def _firewall(firewall: dict[str, Any]) -> str:
    if not firewall["enabled"]:
        return "firewall: off"
    return (
        f"firewall: {number(firewall['blocked_input'])} packets to the gateway and"
        f" {number(firewall['blocked_forward'])} to the LAN refused, {number(firewall['allowed'])} flows allowed in"
    )


def _uplink(uplink: dict[str, Any]) -> list[str]:
    return [
        uplink["name"],
        uplink["kind"],
        uplink["interface"],
        uplink["state"],
        number(uplink["rtt_ms"], " ms"),
        number(uplink["jitter_ms"], " ms"),
        _loss(uplink),
        rate(uplink["down_bps"]),
        rate(uplink["up_bps"]),
        size(uplink["bytes_down"]),
        size(uplink["bytes_up"]),
        size(uplink["probe_bytes_today"]),
        "; ".join([*_reasons(uplink), *_kept_off(uplink)]),
    ]


def _reasons(uplink: dict[str, Any]) -> list[str]:
    """Everything that speaks against the line, most general first."""
    found = [uplink["reason"], *(broken["reason"] for broken in uplink["broken_families"]), uplink["mptcp"]["reason"]]
    found += [f"bulk {harm['direction']} does without it: {harm['reason']}" for harm in uplink["harmful"]]
    return [reason for reason in found if reason]


def _kept_off(uplink: dict[str, Any]) -> list[str]:
    kept = uplink.get("kept_off_bytes")
    return [f"kept off it: {size(kept)}"] if kept else []


def _loss(uplink: dict[str, Any]) -> str:
    """Loss by direction where it is known, else of the round trip; - where nothing is."""
    up, down = uplink["loss_up"], uplink["loss_down"]
    if up is None or down is None:
        both = uplink["loss"]
        return number(None if both is None else both * 100, " %")
    return f"{number(up * 100)}/{number(down * 100, ' %')}"


def _cpes(found: dict[str, Any]) -> str:
    return f"{found['cpes']} of version {found['version']}{' (not ours)' if found['differs'] else ''}"


def _channel(channel: dict[str, Any] | None) -> str:
    if channel is None:
        return "-"
    if channel["state"] != "connected":
        return str(channel["state"])
    return f"{channel['uplink']}, {channel['version']}{' (not ours)' if channel['version_differs'] else ''}"


def _gateway(gateway: dict[str, Any]) -> list[str]:
    return [
        gateway["name"],
        gateway["address"],
        gateway["state"],
        number(gateway["rtt_ms"], " ms"),
        str(gateway["pool_ready"]),
        _channel(gateway["channel"]),
        gateway["reason"] or ("draining" if gateway["draining"] else "overloaded" if gateway["overloaded"] else ""),
    ]
