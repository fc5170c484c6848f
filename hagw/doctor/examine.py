"""The examination: look at everything, judge it by a list of checks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from hagw.channel.credentials import load_credentials
from hagw.config.load import load_file
from hagw.doctor import check_box, check_kernel
from hagw.doctor.check_lines import check_lines
from hagw.doctor.check_rivals import check_rivals
from hagw.doctor.evidence import Daemon, Evidence, Kernel
from hagw.doctor.look_box import look_box
from hagw.doctor.look_lines import look_lines
from hagw.doctor.look_rivals import RivalLooker
from hagw.errors import ConfigError
from hagw.kernel.facts import FactsReader
from hagw.model.facts import Facts
from hagw.model.finding import Finding
from hagw.model.intent import CpeIntent, GatewayIntent, HagIntent, Intent
from hagw.plan.offered import refusals

_TRIAL_TIMEOUT_S: Final = 30.0

CHECKS: Final = (
    check_box.check_rights,
    check_box.check_configuration,
    check_box.check_daemon,
    check_kernel.check_features,
    check_kernel.check_subflow_info,
    check_kernel.check_offered,
    check_rivals,
    check_lines,
    check_box.check_clock,
    check_box.check_uptime,
    check_box.check_resolvers,
    check_box.check_conntrack,
    check_box.check_space,
    check_box.check_descriptors,
    check_box.check_buffers,
    check_box.check_parameters,
)


def examine(config: Path, daemon: Daemon, state_dir: Path, root: Path = Path("/")) -> tuple[Finding, ...]:
    """Look at the machine and return what is found, in the order of the checks."""
    return judge(look(config, daemon, state_dir, root))


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what the checks find in the evidence, each thing once."""
    return tuple(dict.fromkeys(finding for check in CHECKS for finding in check(evidence)))


def look(config: Path, daemon: Daemon, state_dir: Path, root: Path = Path("/")) -> Evidence:
    """Look at everything; nothing is changed, nothing is left behind."""
    readable = not config.exists() or os.access(config, os.R_OK)
    intent, faults = _intent(config) if readable else (None, ())
    facts = None if intent is None else _facts(intent)
    lines = None
    if isinstance(intent, CpeIntent) and facts is not None:
        lines = look_lines(as_enrolled(intent, state_dir), facts)
    return Evidence(
        role="hag" if isinstance(intent, HagIntent) else "cpe",
        kernel=_kernel(),
        rivals=RivalLooker(root).look(intent),
        box=look_box(state_dir, root),
        daemon=daemon,
        lan_interfaces=intent.lan_interfaces if isinstance(intent, CpeIntent) else (),
        lines=lines,
        config_file=str(config),
        config_faults=faults,
        config_readable=readable,
        wanted=refusals(intent, facts) if intent is not None and facts is not None else (),
    )


def as_enrolled(intent: CpeIntent, state_dir: Path) -> CpeIntent:
    """Return the intent with the names and keys of our enrolments, where it has none of its own."""
    return replace(intent, gateways=tuple(_with_key(gateway, state_dir) for gateway in intent.gateways))


def _with_key(gateway: GatewayIntent, state_dir: Path) -> GatewayIntent:
    known = None if gateway.key else load_credentials(state_dir, gateway.name)
    return gateway if known is None else replace(gateway, customer=known.customer, key=known.key)


def _intent(config: Path) -> tuple[Intent | None, tuple[str, ...]]:
    try:
        return load_file(config), ()
    except ConfigError as why:
        return None, tuple(str(issue) for issue in why.issues)


def _facts(intent: Intent) -> Facts:
    reader = FactsReader()
    try:
        return reader.read(intent)
    finally:
        reader.close()


def _kernel() -> Kernel:
    """Have a process of its own try the kernel's features, and read what it met."""
    release = os.uname().release
    argv = [sys.executable, "-m", "hagw.doctor.trial"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_TRIAL_TIMEOUT_S)
        document = json.loads(done.stdout)
    except subprocess.SubprocessError as why:
        said = why.stderr.strip().splitlines()[-1:] if isinstance(why, subprocess.CalledProcessError) else []
        return Kernel(release, why_not_tried=said[0] if said else str(why))
    return Kernel(
        release=release,
        tried=frozenset(document["lacks"]),
        lacks=tuple(_lacking(document["lacks"])),
        schedulers=tuple(document["schedulers"]),
        path_managers=tuple(document["path_managers"]),
        why_not_tried=document["why_not_tried"],
    )


def _lacking(lacks: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((trial, why) for trial, why in lacks.items() if why)
