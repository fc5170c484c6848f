"""Debian hosts in the lab: nodes of its topology that boot a real system instead of borrowing the machine's."""

import contextlib
import hashlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from network import files
from nspawn import REBOOT, Container, completed, remove_groups
from rootfs import Suite, mount_overlay, rootfs, unmount

from hagw.lab import build, netns
from hagw.lab.lab import Lab
from hagw.lab.topology import Node

WORK: Final = Path("/var/tmp/hagw-hosts")
TOPOLOGY: Final = Path(__file__).with_name("site.yaml")
OPERATOR: Final = "lan2"  # the node from which the hosts are administered: it stays a bare namespace
SERVER: Final = "inet"
FILES: Final = {"1M.bin": 1_000_000, "20M.bin": 20_000_000, "100M.bin": 100_000_000, "1G.bin": 1_000_000_000}
BOOT_TIMEOUT_S: Final = 60.0
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
_UP: Final = ("running", "degraded")


class HostFailed(AssertionError):
    """A command on a host, or the host itself, did not do what it should; the message carries what it said."""


class Host:
    """A node of the lab as a Debian system of its own."""

    def __init__(self, lab: Lab, node: Node, suite: Suite, home: Path, authorized: str) -> None:
        self.name = node.name
        self.suite = suite
        self.address = str(next(address.ip for address in node.addresses if address.version == 4))
        self._lab = lab
        self._node = node
        self._home = home
        self._container: Container | None = None
        self._machine = f"hagw-{lab.name}-{node.name}"
        remove_groups(self._machine)
        unmount(home)
        self.root = mount_overlay(rootfs(suite), home)
        self._furnish(authorized)

    # -- power

    def boot(self, timeout_s: float = BOOT_TIMEOUT_S) -> float:
        """Switch it on, in a network that remembers nothing, and wait until it is up; return how long that took."""
        began = time.monotonic()
        self._renew_network()
        namespace = build.namespace(self._lab.name, self.name)
        self._container = Container(self._machine, self.root, namespace, self._home / "console")
        self.wait_for(self._is_up, "is up", timeout_s)
        return time.monotonic() - began

    def reboot(self) -> float:
        """Have it shut down in good order and start again; return how long both took."""
        began = time.monotonic()
        self._off("reboot", REBOOT)
        self.boot()
        return time.monotonic() - began

    def poweroff(self) -> None:
        """Have it shut down in good order."""
        self._off("poweroff", 0)

    def cut_power(self) -> None:
        """End it at once, as a blackout does; `boot` starts it again with what is on its disk."""
        if self._container is not None:
            self._container.cut_power()
            self._container = None

    def remove(self) -> None:
        """Switch it off and leave nothing of it."""
        self.cut_power()
        remove_groups(self._machine)
        unmount(self._home)

    # -- acting on it

    def run(
        self, *argv: str, check: bool = True, timeout_s: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root to its end; one word with blanks is a shell's. Raise HostFailed if it fails."""
        command = ("sh", "-c", argv[0]) if len(argv) == 1 and " " in argv[0] else argv
        assert self._container is not None, f"{self.name} is off"
        done = completed(self._container, command, timeout=timeout_s, input=stdin, env=_ENVIRONMENT)
        if check and done.returncode != 0:
            raise HostFailed(f"{self.name}: {shlex.join(command)} ({done.returncode}): {done.stdout}{done.stderr}")
        return done

    def output(self, *argv: str, timeout_s: float = 60) -> str:
        """Return what a command says. Raise HostFailed if it fails."""
        return self.run(*argv, timeout_s=timeout_s).stdout.strip()

    def popen(self, *argv: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command as root."""
        assert self._container is not None, f"{self.name} is off"
        return subprocess.Popen(self._container.inside(argv), text=True, env=_ENVIRONMENT, **options)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, on or off."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def copy(self, source: Path, path: str) -> None:
        """Copy a file or directory of this machine to it."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)

    def pids(self, unit: str) -> set[int]:
        """Return the processes of a unit, as the host numbers them."""
        group = self.output("systemctl", "show", "--property=ControlGroup", "--value", unit)
        return {int(pid) for pid in self.run(f"cat /sys/fs/cgroup{group}/cgroup.procs", check=False).stdout.split()}

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.output("systemctl", "show", f"--property={name}", "--value", unit)

    def wait_for(self, condition: Callable[[], bool], words: str, timeout_s: float = 30, pause_s: float = 0.1) -> float:
        """Wait until a condition holds; return how long that took. Raise HostFailed."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout_s:
                raise HostFailed(f"{self.name}: not after {timeout_s:g} s: {words}\n{self.journal(check=False)}")
            time.sleep(pause_s)
        return time.monotonic() - began

    def journal(self, *options: str, check: bool = True) -> str:
        """Return the newest lines of its journal."""
        try:
            return self.run("journalctl", "--no-pager", "--lines=60", *options, check=check).stdout
        except (LookupError, AssertionError) as why:
            return str(why)

    # -- inside

    def _off(self, verb: str, expected: int) -> None:
        assert self._container is not None, f"{self.name} is off already"
        self.run("systemctl", "--no-block", verb)
        code = self._container.ended()
        self._container = None
        if code != expected:
            raise HostFailed(f"{self.name}: {verb} ended with {code}")

    def _is_up(self) -> bool:
        assert self._container is not None
        if not self._container.is_running():
            raise HostFailed(f"{self.name} went off: {(self._home / 'console').read_text(errors='replace')}")
        try:
            return self.run("systemctl", "is-system-running", check=False).stdout.strip() in _UP
        except LookupError:
            return False

    def _renew_network(self) -> None:
        """Give the node a fresh namespace with the same ends of cables: nothing of an earlier boot is left."""
        name = build.namespace(self._lab.name, self.name)
        ports = self._ports()
        holder = f"{name}-off"
        netns.create(holder)
        try:
            netns.ip_batch(name, [f"link set {port} netns {holder}" for port in ports])
            netns.remove(name)
            netns.create(name)
            build.set_sysctls(name, {"net.ipv6.conf.default.accept_ra": "0", "net.ipv6.conf.all.accept_ra": "0"})
            netns.ip_batch(holder, [f"link set {port} netns {name}" for port in ports])
        finally:
            netns.remove(holder)

    def _ports(self) -> list[str]:
        topology = self._lab.topology
        ends = [port for wire in topology.wires for port in wire]
        ends += [port for link in topology.links.values() for port in (link.near, link.far)]
        return [interface for node, interface in ends if node == self.name]

    def _furnish(self, authorized: str) -> None:
        self.write("etc/hostname", f"{self.name}\n")
        self.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        self.write("etc/machine-id", f"{hashlib.md5(self._machine.encode()).hexdigest()}\n")
        self.write("etc/resolv.conf", "")
        self.write("root/.ssh/authorized_keys", authorized, 0o600)
        (self.root / "root/.ssh").chmod(0o700)
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        netns.run_tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(key)])
        for path, text in files(self._node).items():
            self.write(f"etc/{path}", text)
        units = ["systemd-networkd.service", *(["nftables.service"] if self._node.nft else [])]
        if self.name == SERVER:
            units.append("nginx.service")
            for file, size in FILES.items():
                with (self.root / "var/www/html" / file).open("wb") as served:
                    served.truncate(size)
        netns.run_tool(["systemctl", f"--root={self.root}", "--quiet", "enable", *units])
        netns.run_tool(["systemctl", f"--root={self.root}", "add-wants", "multi-user.target", "network-online.target"])


class Site:
    """A lab some nodes of which are Debian hosts, and a place among them from which they are administered."""

    def __init__(
        self, name: str, suites: Mapping[str, Suite], *, preset: str = "demo", topology: Path = TOPOLOGY
    ) -> None:
        self.lab = Lab(name)
        self.home = WORK / name
        self.hosts: dict[str, Host] = {}
        self.close()
        self.lab.up(topology=topology, preset=preset, hagw=False)
        self.home.mkdir(parents=True)
        self.key = self.home / "id"
        netns.run_tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", str(self.key)])
        public = self.key.with_suffix(".pub").read_text()
        for node, suite in suites.items():
            self.hosts[node] = Host(self.lab, self.lab.topology.nodes[node], suite, self.home / node, public)
        self.ssh_config().write_text(self._ssh_config(), encoding="utf-8")

    def boot(self) -> None:
        """Boot all hosts, one after the other."""
        for host in self.hosts.values():
            host.boot()

    def close(self) -> None:
        """Leave nothing."""
        for host in self.hosts.values():
            host.remove()
        self.hosts.clear()
        if self.home.exists():
            for home in self.home.iterdir():
                if home.is_dir():  # of a run that was killed
                    remove_groups(f"hagw-{self.lab.name}-{home.name}")
                    unmount(home)
            shutil.rmtree(self.home)
            with contextlib.suppress(OSError):
                WORK.rmdir()
        self.lab.down()

    def ssh_config(self) -> Path:
        """Return the file for `ssh -F`: every host by its name, reached from the operator's place."""
        return self.home / "ssh_config"

    def ssh(self, host: str, *argv: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on a host over SSH, from the operator's place."""
        return self.operate("ssh", "-F", str(self.ssh_config()), host, shlex.join(argv), timeout_s=timeout_s)

    def operate(self, *argv: str, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine in the operator's place in the network."""
        done: subprocess.CompletedProcess[str] = self.lab.run(
            OPERATOR, list(argv), capture_output=True, text=True, timeout=timeout_s, **options
        )
        return done

    def _ssh_config(self) -> str:
        common = [
            *("User root", f"IdentityFile {self.key}", "IdentitiesOnly yes", "BatchMode yes", "LogLevel ERROR"),
            *("ConnectTimeout 5", f"UserKnownHostsFile {self.home / 'known_hosts'}", "StrictHostKeyChecking yes"),
        ]
        known = []
        lines: list[str] = []
        for name, host in self.hosts.items():
            lines += [f"Host {name}", f"  HostName {host.address}", f"  HostKeyAlias {name}"]
            kind, key = (host.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
            known.append(f"{name} {kind} {key}\n")
        (self.home / "known_hosts").write_text("".join(known), encoding="utf-8")
        return "\n".join([*lines, "Host *", *(f"  {line}" for line in common), ""])


def speed(done: subprocess.CompletedProcess[str]) -> float:
    """Return the bit/s of a `curl --write-out %{speed_download}`."""
    return float(done.stdout) * 8


def download(url: str, *, limit_s: float = 60) -> Sequence[str]:
    """Return the command that fetches a file, throws it away and says how fast that was."""
    return ("curl", "-sS", "--fail", "-o", "/dev/null", "-m", f"{limit_s:g}", "-w", "%{speed_download}", url)
