"""Rules as an owner would write them, for the file: the way back from what was read."""

from hagw.config.tree import Plain
from hagw.model.intent import RuleIntent, TrafficDescriptor


def plain_rule(rule: RuleIntent) -> Plain:
    """Return a rule without hours as plain values; what is as by default is left out."""
    traffic = _traffic(rule.traffic)
    found: dict[str, Plain] = {"name": rule.name, "precedence": str(rule.precedence)}
    return {**found, **({"traffic": traffic} if traffic else {}), "steering": _steering(rule)}


def _traffic(traffic: TrafficDescriptor) -> dict[str, Plain]:
    ports = [str(low) if low == high else f"{low}-{high}" for low, high in traffic.destination_ports]
    parts: dict[str, list[str]] = {
        "source": [str(prefix) for prefix in traffic.sources],
        "destination": [str(prefix) for prefix in traffic.destinations],
        "destination_port": ports,
        "source_mac": list(traffic.macs),
        "source_interface": list(traffic.interfaces),
        "protocol": [str(number) for number in traffic.protocols],
        "dscp": [str(number) for number in traffic.dscps],
        "domain": list(traffic.domains),
        "application": list(traffic.applications),
    }
    return {key: list[Plain](values) for key, values in parts.items() if values}


def _steering(rule: RuleIntent) -> dict[str, Plain]:
    found: dict[str, Plain] = {"mode": rule.mode}
    if rule.uplinks:
        found["uplinks"] = list[Plain](rule.uplinks)
    if rule.standby != "warm":
        found["standby"] = rule.standby
    if rule.weights:
        found["weights"] = [str(percent) for percent in rule.weights]
    if rule.quic is not None:
        found["quic"] = rule.quic
    if rule.sending is not None:
        uplinks: dict[str, Plain] = {"uplinks": list[Plain](rule.sending.uplinks)} if rule.sending.uplinks else {}
        found["sending"] = {"mode": rule.sending.mode, **uplinks}
    return found
