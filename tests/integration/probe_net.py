"""Three access lines between a CPE and a HAG, in namespaces of their own: cpe - isp (router) - hag.

The isp forwards; a silent blackhole is a drop rule there, so that neither end learns of it.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.intent import GatewayIntent, UplinkIntent, UplinkKind

KEY = bytes(range(32))
HAG4 = "10.97.100.1"
HAG6 = "fd97:100::1"
PORT = 5124
NAMES = ("dsl", "lte", "wifi")
KINDS: dict[str, UplinkKind] = {"dsl": "dsl", "lte": "wwan", "wifi": "wifi"}
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class ProbeNet:
    """The namespaces; `cpe`, `isp` and `hag` are their names."""

    def __init__(self) -> None:
        tag = f"probe{os.getpid()}"
        self.cpe, self.isp, self.hag = f"{tag}-cpe", f"{tag}-isp", f"{tag}-hag"
        self._children: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        for netns in (self.cpe, self.isp, self.hag):
            ip("netns", "add", netns)
            self.run(netns, "ip", "link", "set", "lo", "up")
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.run(self.isp, "sysctl", "-qw", *forwarding)
        self._wire(self.hag, "core", self.isp, "core", 200)
        self.run(self.hag, "ip", "addr", "add", f"{HAG4}/32", "dev", "lo")
        self.run(self.hag, "ip", "addr", "add", f"{HAG6}/128", "dev", "lo", "nodad")
        self.run(self.hag, "ip", "route", "add", "default", "via", "10.97.200.1")
        self.run(self.hag, "ip", "-6", "route", "add", "default", "via", "fd97:200::1")
        self.run(self.isp, "ip", "route", "add", f"{HAG4}/32", "via", "10.97.200.2")
        self.run(self.isp, "ip", "-6", "route", "add", f"{HAG6}/128", "via", "fd97:200::2")
        for number, name in enumerate(NAMES, 1):
            self._wire(self.cpe, name, self.isp, name, number)
            self.route(name)
        self.run(self.isp, "nft", "add table inet line; add chain inet line f { type filter hook forward priority 0; }")

    def route(self, name: str) -> None:
        """Give the line its source routing, as hagw's kernel part does."""
        number = NAMES.index(name) + 1
        for family, address, gateway in (
            ("-4", f"10.97.{number}.2", f"10.97.{number}.1"),
            ("-6", f"fd97:{number}::2", f"fd97:{number}::1"),
        ):
            table = str(100 + number)
            self.run(self.cpe, "ip", family, "route", "replace", "default", "via", gateway, "dev", name, "table", table)
            self.run(self.cpe, "ip", family, "rule", "add", "from", address, "lookup", table)

    def remove(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        for netns in (self.cpe, self.isp, self.hag):
            subprocess.run(["ip", "netns", "del", netns], check=False, capture_output=True)

    def run(self, netns: str, *argv: str) -> None:
        subprocess.run(["ip", "netns", "exec", netns, *argv], check=True, capture_output=True)

    def start(self, netns: str, *argv: str) -> subprocess.Popen[bytes]:
        command = ["ip", "netns", "exec", netns, *argv]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._children.append(child)
        return child

    def blackhole(self, name: str, *, up: bool = True, down: bool = True) -> None:
        rules = [f'add rule inet line f iifname "{name}" drop'] if up else []
        rules += [f'add rule inet line f oifname "{name}" drop'] if down else []
        self.run(self.isp, "nft", "; ".join(rules))

    def heal(self) -> None:
        self.run(self.isp, "nft", "flush chain inet line f")

    def carrier(self, name: str, state: str) -> None:
        """Take the far end down: the near end loses its carrier."""
        self.run(self.isp, "ip", "link", "set", name, state)

    def facts(self, **changed: UplinkFacts) -> Facts:
        found: dict[str, UplinkFacts] = {}
        for number, name in enumerate(NAMES, 1):
            with entered(self.cpe):
                ifindex = _if_nametoindex(name)
            found[name] = UplinkFacts(
                name,
                ifindex,
                admin_up=True,
                carrier=True,
                address4=IPv4Address(f"10.97.{number}.2"),
                address6=IPv6Address(f"fd97:{number}::2"),
            )
        return Facts(found | changed)

    def _wire(self, near: str, near_if: str, far: str, far_if: str, number: int) -> None:
        ip("link", "add", near_if, "netns", near, "type", "veth", "peer", "name", far_if, "netns", far)
        for netns, interface, host in ((near, near_if, 2), (far, far_if, 1)):
            self.run(netns, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0")
            self.run(netns, "ip", "addr", "add", f"10.97.{number}.{host}/24", "dev", interface)
            self.run(netns, "ip", "addr", "add", f"fd97:{number}::{host}/64", "dev", interface, "nodad")
            self.run(netns, "ip", "link", "set", interface, "up")


def uplinks() -> tuple[UplinkIntent, ...]:
    return tuple(UplinkIntent(name, KINDS[name], name, slot) for slot, name in enumerate(NAMES, 1))


def gateway(address: str = HAG4, name: str = "hag") -> GatewayIntent:
    parsed = IPv6Address(address) if ":" in address else IPv4Address(address)
    return GatewayIntent(name, (parsed,), PORT, PORT, "home", KEY)


@contextmanager
def entered(netns: str) -> Iterator[None]:
    """Put the calling thread into a namespace for a while."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target)
        yield
    finally:
        _setns(home)
        os.close(target)
        os.close(home)


def thread_in(netns: str, work: Callable[[], None]) -> threading.Thread:
    """Run `work` in a thread that lives in a namespace."""

    def body() -> None:
        with entered(netns):
            work()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)


def _setns(handle: int) -> None:
    if _LIBC.setns(handle, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _if_nametoindex(name: str) -> int:
    import socket

    return socket.if_nametoindex(name)
