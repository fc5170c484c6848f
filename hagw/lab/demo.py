"""`lab demo`: the main job shown and measured. A LAN host's curl moves real files, without hagw and with it.

Each line alone first, then all of them bonded, then a silent blackhole of one line in mid-transfer and its return.
The computing is in `demo_measure`, the judging in `demo_report`.
"""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console

from hagw.errors import HagwError
from hagw.lab import demo_state, services
from hagw.lab.demo_measure import carries_again_s, steady_rate_bps
from hagw.lab.demo_report import DIRECTIONS, Bonded, Direction, FileMoved, Line, Outage, Results, reasons
from hagw.lab.demo_transfer import (
    SERVER,
    SERVER_ADDRESS,
    SERVER_PORT,
    DemoFile,
    Fetching,
    Moved,
    Sending,
    Transfer,
    make_file,
)
from hagw.lab.demo_watch import Counters, Watch
from hagw.lab.interrupts import ending_on_signals, ignore_signals
from hagw.lab.lab import Lab, LabError
from hagw.lab.link import tcp_payload_share
from hagw.lab.topology import LinkEnds
from hagw.lab.traffic import preferring

GATEWAY: Final = "cpe"
ALONE_S: Final = 5.5
BONDED_S: Final = 14.0
ALONE_RAMP_S: Final = 1.5
BONDED_RAMP_S: Final = 4.0  # three lines find their rates, and the no-harm guard its verdict
TAIL_S: Final = 0.3
BLACKHOLE_AFTER_S: Final = 3.0
BLACKHOLE_FOR_S: Final = 5.0
UNLIMITED_BPS: Final = 100e6  # what a line without a rate is taken to carry when a file's size is chosen
_PATIENCE: Final = 2.5  # times the time a transfer should take
_FLOW_TIMEOUT_S: Final = 3.0
_LOOK_AT: Final = 0.7  # of a transfer's expected time
_FILES: Final = "demo-"
_START: Final[Mapping[Direction, Callable[[Lab, DemoFile], Transfer]]] = {"down": Fetching, "up": Sending}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a demo found, and the file that holds both ends' state if it failed."""

    results: Results
    state_file: str | None


@dataclass(slots=True)
class _Findings:
    """What has been found so far, so that a step that fails loses nothing."""

    lines: list[Line] = field(default_factory=list)
    bonded: dict[Direction, Bonded] = field(default_factory=dict)
    outage: Outage | None = None
    files: list[FileMoved] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    connections: str = ""


def show(lab: Lab, preset: str | None, console: Console) -> Shown:
    """Run the demo in a lab, which is left as it was found; progress goes to `console`.

    Raise HagwError if the lab cannot be brought up; a step that fails later is among the results' failures.
    """
    with ending_on_signals(), _lab_ready(lab, preset, console) as used_preset:
        links = _lines(lab)
        files = _make_files(lab, links)
        began = time.monotonic()
        found = _Findings()
        try:
            with Watch(lab, [link.name for link in links], console) as watch:
                _Demo(lab, links, files, watch, found).run()
        except (HagwError, subprocess.TimeoutExpired) as why:
            found.failures.append(str(why))
        duration_s = time.monotonic() - began
        results = Results(used_preset, found.lines, found.bonded, found.outage, found.files, duration_s, found.failures)
        bad = reasons(results)
        return Shown(results, _keep_state(lab, bad, found.connections) if bad else None)


class _Demo:
    """The steps of one demo."""

    def __init__(
        self, lab: Lab, links: Sequence[LinkEnds], files: Mapping[str, DemoFile], watch: Watch, found: _Findings
    ) -> None:
        self._lab, self._links, self._files, self._watch, self._found = lab, links, files, watch, found

    def run(self) -> None:
        """Take every step."""
        for node in demo_state.hagw_nodes(self._lab):
            if _runs_hagw(self._lab, node):
                self._watch.say(f"stopping hagw on {node}")
                self._lab.hagw_stop(node)
        for link in self._links:
            self._found.lines.append(self._alone(link))
        self._watch.say("starting hagw")
        for node in reversed(demo_state.hagw_nodes(self._lab)):  # the gateway in the network before the one at home
            self._lab.hagw_start(node)
        for direction in DIRECTIONS:
            self._found.bonded[direction] = self._bonded(direction)
        self._found.outage = self._outage(self._links[0])

    def _alone(self, link: LinkEnds) -> Line:
        rates = {}
        with preferring(self._lab, link.name, GATEWAY):
            for direction in DIRECTIONS:
                self._watch.say(f"{link.name} alone, {_word(direction)}")
                with _moving(self._lab, self._files[f"{link.name}-{direction}"], direction) as transfer:
                    moved = self._ended(transfer, ALONE_S)
                rates[direction] = steady_rate_bps(moved.meter.bins, ALONE_RAMP_S, TAIL_S)
        limits = {way: _rate_bps(self._lab, link, way) for way in DIRECTIONS}
        return Line(link.name, limits, {way: possible_bps(rates[way], limits[way]) for way in DIRECTIONS})

    def _bonded(self, direction: Direction) -> Bonded:
        self._watch.say(f"bonded {_word(direction)}")
        before = self._watch.counted()
        with _moving(self._lab, self._files[f"bonded-{direction}"], direction) as transfer:
            time.sleep(_LOOK_AT * BONDED_S)
            self._found.connections = demo_state.connections(self._lab)
            moved = self._ended(transfer, BONDED_S)
        after = self._watch.counted()
        flow = self._flow(moved)
        return Bonded(
            direction=direction,
            rate_bps=steady_rate_bps(moved.meter.bins, BONDED_RAMP_S, TAIL_S),
            path=flow.get("path", ""),
            by_uplink={name: carried[direction] for name, carried in flow.get("by_uplink", {}).items()},
            by_interface=_difference(before, after, direction),
            withheld=withheld(flow),
        )

    def _outage(self, link: LinkEnds) -> Outage:
        self._watch.say(f"bonded download, with a silent blackhole of {link.name}")
        with _moving(self._lab, self._files["bonded-down"], "down") as transfer:
            time.sleep(BLACKHOLE_AFTER_S)
            self._lab.link(link.name, blackhole="both")
            self._watch.say(f"{link.name} is a black hole")
            time.sleep(BLACKHOLE_FOR_S)
            self._lab.link(link.name, blackhole="none")
            healed = time.monotonic()
            self._watch.say(f"{link.name} is healed")
            moved = self._ended(transfer, BONDED_S)
        alone_bps = next(line.alone_bps["down"] for line in self._found.lines if line.name == link.name)
        back_s = carries_again_s(self._watch.samples(link.name, "down", healed), healed, alone_bps)
        return Outage(link.name, 1000 * moved.meter.longest_gap_s(), None if back_s is None else 1000 * back_s)

    def _ended(self, transfer: Transfer, expected_s: float) -> Moved:
        moved = transfer.wait(_PATIENCE * expected_s)
        self._found.files.append(moved.file)
        return moved

    def _flow(self, moved: Moved) -> dict[str, Any]:
        """Return hagw's record of a finished transfer, empty if it has none."""
        deadline = time.monotonic() + _FLOW_TIMEOUT_S
        while True:
            flow = _find_flow(_flows(self._lab), moved.client_port)
            if flow.get("state") == "closed" or time.monotonic() > deadline:
                return flow
            time.sleep(0.2)


def possible_bps(measured_bps: float, line_rate_bps: float | None) -> float:
    """Return a plain TCP rate, at most what a line of that rate can carry.

    On a busy machine the receiver may be held up as the measured interval begins, and what had waited is counted.
    """
    return measured_bps if line_rate_bps is None else min(measured_bps, line_rate_bps * tcp_payload_share())


def withheld(flow: Mapping[str, Any]) -> dict[str, str]:
    """Return the lines the no-harm guard withheld from a flow of `hagw flows --json`, each with its reason."""
    parts = str(flow.get("why", "")).split("; ")
    found = {}
    for subflow in flow.get("subflows", ()):
        if subflow["state"] == "withheld":
            name = subflow["uplink"]
            said = next((part for part in parts if part.startswith(f"{name} withheld: ")), "")
            found[name] = said.partition(": ")[2] or "hagw does not say why"
    return found


def _lines(lab: Lab) -> list[LinkEnds]:
    lines = [link for link in lab.topology.links.values() if link.near[0] == GATEWAY]
    if not lines:
        raise LabError(f"no link of lab {lab.name!r} begins at {GATEWAY}: there is nothing to bond")
    return lines


def _rate_bps(lab: Lab, link: LinkEnds, direction: Direction) -> float | None:
    rate: float | None = lab.link(link.name)[f"rate_{direction}_bps"]
    return rate


def _make_files(lab: Lab, links: Sequence[LinkEnds]) -> dict[str, DemoFile]:
    """Write files that take ALONE_S over each line, and BONDED_S over all of them."""
    sizes: dict[str, float] = {}
    for direction in DIRECTIONS:
        rates = {link.name: _rate_bps(lab, link, direction) or UNLIMITED_BPS for link in links}
        sizes |= {f"{name}-{direction}": rate * ALONE_S / 8 for name, rate in rates.items()}
        sizes[f"bonded-{direction}"] = sum(rates.values()) * BONDED_S / 8
    share = tcp_payload_share()
    return {
        name: make_file(lab, f"{_FILES}{name}.bin", round(size * share), seed)
        for seed, (name, size) in enumerate(sizes.items())
    }


def _find_flow(flows: Sequence[dict[str, Any]], client_port: int | None) -> dict[str, Any]:
    wanted = (client_port, SERVER_ADDRESS, SERVER_PORT)
    for flow in flows:
        if (flow["client_port"], flow["server"], flow["server_port"]) == wanted:
            return flow
    return {}


def _flows(lab: Lab) -> list[dict[str, Any]]:
    done = lab.run(GATEWAY, ["hagw", "flows", "--json"], capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise LabError(f"`hagw flows` failed: {done.stderr.strip()}")
    flows: list[dict[str, Any]] = json.loads(done.stdout)["flows"]
    return flows


def _difference(before: Counters, after: Counters, direction: Direction) -> dict[str, int]:
    return {line: after[line][direction] - before[line][direction] for line in before}


def _word(direction: Direction) -> str:
    return "download" if direction == "down" else "upload"


def _runs_hagw(lab: Lab, node: str) -> bool:
    return bool(lab.pids(node, "daemon") or lab.pids(node, "worker"))


@contextlib.contextmanager
def _moving(lab: Lab, file: DemoFile, direction: Direction) -> Iterator[Transfer]:
    """Start a transfer; end it if whoever watches it cannot go on."""
    transfer = _START[direction](lab, file)
    try:
        yield transfer
    except BaseException:
        transfer.cancel()
        raise


@contextlib.contextmanager
def _lab_ready(lab: Lab, preset: str | None, console: Console) -> Iterator[str]:
    """Hold a lab up, and leave it as it was found: down, or up with the same links, files and hagw."""
    if lab.is_up():
        present = lab.status()["preset"]
        if preset not in (None, present):
            raise LabError(f"lab {lab.name!r} is up with the preset {present!r}; `lab down` first, or another --name")
        running = [node for node in demo_state.hagw_nodes(lab) if _runs_hagw(lab, node)]
        with lab.links_restored(), _hagw_restored(lab, running), _files_removed(lab):
            yield present
        return
    try:
        console.print(f"bringing lab {lab.name!r} up", highlight=False, soft_wrap=True)
        lab.up(preset=preset or "demo", hagw=False)
        yield preset or "demo"
    finally:
        ignore_signals()
        lab.down()


@contextlib.contextmanager
def _hagw_restored(lab: Lab, running: Sequence[str]) -> Iterator[None]:
    try:
        yield
    finally:
        ignore_signals()
        for node in demo_state.hagw_nodes(lab):
            if node not in running and _runs_hagw(lab, node):
                lab.hagw_stop(node)
        for node in reversed(running):
            lab.hagw_start(node)


@contextlib.contextmanager
def _files_removed(lab: Lab) -> Iterator[None]:
    try:
        yield
    finally:
        for path in services.web_root(lab.directory, SERVER).glob(f"{_FILES}*"):
            path.unlink()


def _keep_state(lab: Lab, bad: Sequence[str], connections: str) -> str:
    """Write both ends' state to a file that outlives the lab, and return its name."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix=f"hagw-demo-{lab.name}-", suffix=".txt", delete=False
    ) as file:
        file.write("\n".join(bad))
        file.write(f"\n\n##### during the last bonded transfer\n{connections}")
        file.write(f"\n##### at the end\n{demo_state.ends_state(lab)}")
    return file.name
