"""Configurations of a CPE with all sorts of things in them, for walks through many."""

import random
from collections.abc import Sequence

ABOUT = ("metered: true", "rate_down: 16 Mbit/s", "gateway4: 192.0.9.1", "probe: gentle", "prefix6: '2001:db8:7::/56'")
SECTIONS = (
    "bypass: [192.0.2.0/24]",
    "firewall: {enabled: false}",
    "firewall: {allow: [{name: ssh, protocol: tcp, destination_port: ['22'], source: [192.0.2.0/24]}]}",
    "pool: {size_min: 5, idle: 600 s}",
    "limits: {flows_max: 500}",
    "portal_check: {url: 'http://192.0.2.1/', body: ok}",
    "history: {enabled: false}",
    "data_caps: [{name: plan, uplinks: [FIRST], volume: 50 GB, overflow_only: 70 %}]",
    "data_caps: [{name: plan, uplinks: [FIRST], volume_down: 9 GB, cut: never}]",
)
STEERING = (
    "{mode: direct}",
    "{mode: block}",
    "{mode: load-balancing, sending: {mode: smallest-delay, uplinks: [FIRST]}}",
    "{mode: active-standby, standby: cold}",  # this and the next want two lines
    "{mode: priority-based, quic: reject}",
)
TRAFFIC = (
    "{}",
    "{source: [192.168.1.7]}",
    "{protocol: [udp], dscp: [ef]}",
    "{domain: [example.org]}",
    "{time: ['22:00-06:00']}",
)


def about(dice: random.Random, names: Sequence[str]) -> dict[str, str]:
    """Return what is said of each line, as YAML to append; the first one stays enabled."""
    found = {name: f", cost: {dice.randint(0, 2)}" for name in names}
    found[names[-1]] += ", enabled: false" if len(names) > 1 and dice.random() < 0.3 else ""
    found[names[0]] += "".join(f", {key}" for key in dice.sample(ABOUT, dice.randint(0, 2)))
    return found


def sections(dice: random.Random, names: Sequence[str], more: Sequence[str] = ()) -> str:
    """Return sections that are valid over these lines, as lines of YAML."""
    found = {section.split(":")[0]: section for section in dice.sample((*SECTIONS, *more), dice.randint(0, 3))}
    modes = STEERING if len(names) > 1 else STEERING[:3]
    rules = [
        f"{{name: r{number}, precedence: {number}, traffic: {dice.choice(TRAFFIC)}, steering: {dice.choice(modes)}}}"
        for number in range(dice.randint(0, 2))
    ]
    return "\n".join([*found.values(), f"rules: [{', '.join(rules)}]"]).replace("FIRST", names[0])
