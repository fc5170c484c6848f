"""A lab as an object: bring it up, act in its nodes, change its links, take it down without a trace.

Used by the `lab` verbs, the demo and the tests alike. All state is below `/run/hagw-lab/NAME`.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from hagw.errors import HagwError, UnsupportedEnvironment
from hagw.lab import build, gateway, netns, services
from hagw.lab.link import LinkState, changed
from hagw.lab.processes import Process, ProcessTable, end, started_ticks
from hagw.lab.topology import LinkEnds, Node, Topology, load_topology, topology_file

ROOT: Final = Path("/run/hagw-lab")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LINK_FIELDS: Final = tuple(LinkState.__dataclass_fields__)


class LabError(HagwError):
    """The lab cannot do this now; the message says why."""


class UnknownName(HagwError):
    """A lab, node or link of that name does not exist."""

    exit_code = 2


class Lab:
    """One lab by its name; several may be up side by side."""

    def __init__(self, name: str = "lab") -> None:
        if not _NAME.fullmatch(name):
            raise UnknownName(f"{name!r} is no name for a lab: small letters, digits and '-', 32 at most")
        self.name = name
        self.directory = ROOT / name
        self.processes = ProcessTable(self.directory / "processes")
        self._topology: Topology | None = None

    # -- the whole lab

    def up(
        self,
        *,
        topology: Path | None = None,
        preset: str = "demo",
        configs: Mapping[str, Path] | None = None,
        hagw: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> bool:
        """Bring the lab up; return False if it was up already. `configs` are hagw YAML files by node.

        A lab left half-built by a crash is cleared away first. With `hagw` wait until the CPE says bonded.
        """
        if os.geteuid() != 0:
            raise UnsupportedEnvironment("the lab makes network namespaces and must be run as root")
        wanted = load_topology(topology, preset)
        texts = gateway.config_texts(wanted, configs or {})
        with self._locked():
            if self.is_up():
                return False
            self._clear()
            nodes = list(wanted.nodes)
            self._write_state(nodes, preset, "building")
            shutil.copyfile(topology_file(topology, preset), self.directory / "topology.yaml")
            say(f"building {len(nodes)} nodes and {len(wanted.links)} links")
            build.build(self.name, wanted, self.processes, self.directory)
            gateway.write_commands(self.directory)
            for name, text in texts.items():
                gateway.write_config(self.directory, name, text)
            for node in wanted.nodes.values():
                services.start(self.directory, node, self._spawn)
            for node in wanted.nodes.values():
                services.wait_listening(build.namespace(self.name, node.name), node, self.processes)
            self._write_state(nodes, preset, "starting")
            if hagw:
                say("starting hagw")
                self._start_all_hagw(wanted)
            self._write_state(nodes, preset, "up")
        return True

    def down(self) -> None:
        """Take the lab down and leave nothing of it; of a lab that is not there, do nothing."""
        if self.directory.exists():
            with self._locked():
                self._clear()
                shutil.rmtree(self.directory)
            with contextlib.suppress(OSError):  # another lab is there
                ROOT.rmdir()

    def is_up(self) -> bool:
        """Say whether the lab was brought up to the end and its links are being carried."""
        return self._read_state().get("phase") == "up" and bool(self.processes.running(role=build.EMULATOR))

    def status(self) -> dict[str, Any]:
        """Return the contract's `status --json` document."""
        document: dict[str, Any] = {"schema": 1, "name": self.name, "state": "down", "nodes": {}, "links": {}}
        if not self.is_up():
            return document
        try:
            document["links"] = self._ask_emulator({"op": "status"})
        except LabError:  # it ended just now
            return document
        document["state"] = "up"
        document["preset"] = self._read_state()["preset"]
        document["nodes"] = {
            node.name: {"addresses": [str(address.ip) for address in node.addresses]}
            for node in self.topology.visible()
        }
        return document

    @property
    def topology(self) -> Topology:
        """The topology this lab was brought up with."""
        if self._topology is None:
            self._require_up()
            self._topology = load_topology(self.directory / "topology.yaml", self._read_state()["preset"])
        return self._topology

    # -- in a node

    def namespace(self, node: str) -> str:
        """Return the name of a node's network namespace. Raise UnknownName or LabError."""
        self._require_up()
        nodes = self._read_state()["nodes"]
        if node not in nodes:
            raise UnknownName(f"there is no node {node!r} in lab {self.name!r}; there are {', '.join(nodes)}")
        return build.namespace(self.name, node)

    def node_env(self, node: str) -> dict[str, str]:
        """Return the environment of a command in a node: `hagw` is on PATH and bound to the node's daemon."""
        return {**os.environ, **gateway.environment(self.directory, node)}

    def run(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command in a node to its end; `options` are those of subprocess.run."""
        options.setdefault("env", self.node_env(node))
        options.setdefault("check", False)
        return subprocess.run([*netns.inside(self.namespace(node)), *argv], **options)

    def popen(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in a node; its pid is the command's own. `options` are those of subprocess.Popen."""
        options.setdefault("env", self.node_env(node))
        return subprocess.Popen([*netns.inside(self.namespace(node)), *argv], **options)

    def replace_by(self, node: str, argv: Sequence[str]) -> None:
        """Become a command in a node: this process is replaced by it. Raise LabError if it does not exist."""
        env = self.node_env(node)
        netns.enter(self.namespace(node))
        try:
            os.execvpe(argv[0], list(argv), env)
        except OSError as error:
            raise LabError(f"{argv[0]}: {error.strerror}") from error

    @contextlib.contextmanager
    def in_namespace(self, node: str) -> Iterator[None]:
        """Hold the calling thread in a node; sockets opened meanwhile stay there afterwards."""
        with netns.entered(self.namespace(node)):
            yield

    # -- links

    def link(self, name: str, **settings: object) -> dict[str, Any]:
        """Change a link while it runs and return its state; settings as for `hagw.lab.link.changed`."""
        ends = self._link_ends(name)
        if not settings:
            report: dict[str, Any] = self._ask_emulator({"op": "status"})[ends.name]
            return report
        before = self._ask_emulator({"op": "status"})[ends.name]
        state = changed(LinkState(**{field: before[field] for field in _LINK_FIELDS}), settings)
        return self._ask_emulator({"op": "set", "link": ends.name, "state": asdict(state)})

    @contextlib.contextmanager
    def links_restored(self) -> Iterator[None]:
        """Put every link back at the end as it was at the beginning."""
        before = self._ask_emulator({"op": "status"})
        try:
            yield
        finally:
            for name, report in before.items():
                state = {field: report[field] for field in _LINK_FIELDS}
                self._ask_emulator({"op": "set", "link": name, "state": state})

    # -- hagw in a node

    def config(self, node: str) -> str:
        """Return the hagw configuration in use on a node."""
        return gateway.read_config(self.directory, self._hagw_node(node).name)

    def apply(self, node: str, file: Path) -> None:
        """Give a node another hagw configuration, by `hagw apply`.

        Raise ConfigError or Refused, and change nothing, if hagw refuses it or takes it back.
        """
        name = self._hagw_node(node).name
        gateway.check_config(file)
        gateway.apply(self, name, file, offline=not self.pids(name, "daemon"))

    def hagw_stop(self, node: str) -> None:
        """Stop a node's hagw and have it put the node back as it was before hagw."""
        gateway.stop(self, self._hagw_node(node).name)

    def hagw_start(self, node: str, timeout_s: float = gateway.READY_TIMEOUT_S) -> None:
        """Start a node's hagw, if it does not run, and wait until it works. Raise HagwNotReady."""
        name = self._hagw_node(node).name
        if not self.pids(name, "daemon"):
            gateway.start_daemon(self, name)
        gateway.wait_ready(self, name, timeout_s)

    def pids(self, node: str, role: str | None = None) -> list[int]:
        """Return the pids of a node: of hagw's `daemon`, `worker` or `web` processes, or of all that run there."""
        return gateway.pids(netns.pids(self.namespace(node)), role)

    def spawn(self, node: str, role: str, argv: Sequence[str]) -> Process:
        """Start a process in a node that ends with the lab; its output goes to the node's directory."""
        return self._spawn(node, role, argv)

    # -- inside

    def _spawn(self, node: str, role: str, argv: Sequence[str]) -> Process:
        directory = gateway.node_directory(self.directory, node)
        directory.mkdir(parents=True, exist_ok=True)
        command = [*netns.inside(build.namespace(self.name, node)), *argv]
        env = {**build.python_environment(), **gateway.environment(self.directory, node)}
        return self.processes.start(node, role, command, log=directory / f"{role}.log", env=env)

    def _start_all_hagw(self, topology: Topology) -> None:
        """Start the gateways in the network first, so that a CPE finds one when it looks."""
        roles = {node.name: node.hagw.get("role") for node in topology.nodes.values() if node.hagw is not None}
        for node in sorted(roles, key=lambda name: roles[name] != "hag"):
            gateway.start_daemon(self, node)
            gateway.wait_ready(self, node)

    def _hagw_node(self, node: str) -> Node:
        found = self.topology.nodes.get(node)
        if found is None or found.hagw is None:
            able = ", ".join(name for name, body in self.topology.nodes.items() if body.hagw is not None)
            raise UnknownName(f"node {node!r} runs no hagw; these do: {able}")
        return found

    def _link_ends(self, name: str) -> LinkEnds:
        try:
            return self.topology.links[name]
        except KeyError:
            raise UnknownName(f"there is no link {name!r}; there are {', '.join(self.topology.links)}") from None

    def _ask_emulator(self, request: dict[str, Any]) -> dict[str, Any]:
        self._require_up()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5.0)
            try:
                client.connect(str(build.emulator_socket(self.directory)))
                client.sendall(json.dumps(request).encode() + b"\n")
                with client.makefile("rb") as answers:
                    answer: dict[str, Any] = json.loads(answers.readline())
            except (OSError, ValueError) as error:
                raise LabError(f"the links of lab {self.name!r} are not being carried: {error}") from error
        return answer

    def _require_up(self) -> None:
        """A lab whose hagw is being started, or failed to start, can be worked in; one still being built cannot."""
        if self._read_state().get("phase") not in ("starting", "up"):
            raise LabError(f"lab {self.name!r} is not up; `lab up` brings it up")

    def _clear(self) -> None:
        """End every process and remove every namespace of this lab, whatever state it is in."""
        nodes = tuple(self._read_state().get("nodes", ()))
        end(self.processes.running())
        for node in nodes:
            inhabitants = [pid for pid in netns.pids(build.namespace(self.name, node)) if pid != os.getpid()]
            end(Process(node, "", pid, started_ticks(pid) or 0) for pid in inhabitants)
        build.remove(self.name, nodes)
        for entry in self.directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()
        self._topology = None

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.directory / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def _write_state(self, nodes: list[str], preset: str, phase: Literal["building", "starting", "up"]) -> None:
        fresh = self.directory / "state.json.new"
        fresh.write_text(json.dumps({"nodes": nodes, "preset": preset, "phase": phase}), encoding="utf-8")
        fresh.rename(self.directory / "state.json")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lab against other programs. `down` removes the lock's directory, so look again once held."""
        path = self.directory / "lock"
        while True:
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                lock = path.open("w", encoding="ascii")
            except FileNotFoundError:
                continue
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    yield
                    return
