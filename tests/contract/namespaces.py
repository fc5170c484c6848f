"""Throw-away network namespaces for tests: make, link, run in, remove."""

import contextlib
import ctypes
import itertools
import os
import subprocess
import time
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


class Namespace:
    """A named network namespace with `lo` up, whose interfaces use their addresses at once."""

    def __init__(self, label: str) -> None:
        self.name = f"kernel-{os.getpid()}-{next(_numbers)}-{label}"
        run("ip", "netns", "add", self.name)
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")
        self.ip("link set lo up")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside and return what it printed."""
        return run("ip", "netns", "exec", self.name, *command, check=check)

    def ip(self, *lines: str) -> None:
        """Run commands of ip(8) inside, all by one process."""
        done = subprocess.run(
            ("ip", "-n", self.name, "-batch", "-"),
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr.strip()}")

    def wait_for_link_local(self) -> None:
        """Wait until every interface has the address that the kernel gives it some time after it is up."""
        deadline = time.monotonic() + 20
        links = len(self.run("ip", "-o", "link").splitlines()) - 1  # all but lo
        while self.run("ip", "-6", "-o", "address", "show", "scope", "link").count("inet6") < links:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def sysctl(self, name: str, value: str) -> None:
        """Write one of the namespace's sysctls."""
        with self.entered(), open(f"/proc/sys/{name}", "w") as file:
            file.write(value)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run the block with the calling thread inside: sockets and /proc/sys/net are the namespace's."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as inside:
            _setns(inside.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def remove(self) -> None:
        """Remove the namespace and the links in it."""
        run("ip", "netns", "del", self.name)


def run(*command: str, check: bool = True) -> str:
    """Run a command and return what it printed; its error text is in the exception."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def link(one: Namespace, name_one: str, other: Namespace, name_other: str) -> None:
    """Join two namespaces by a veth pair, both ends up."""
    run("ip", "link", "add", name_one, "netns", one.name, "type", "veth", "peer", name_other, "netns", other.name)
    one.ip(f"link set {name_one} up")
    other.ip(f"link set {name_other} up")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
