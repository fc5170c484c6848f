"""Root file systems of Debian releases, made once by mmdebstrap and kept outside the tree, keyed by what they hold."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

Suite = Literal["bookworm", "trixie"]
SUITES: Final[tuple[Suite, ...]] = ("bookworm", "trixie")
DEBIAN: Final = "http://deb.debian.org/debian"

# What a plain server installation has, what Ansible needs of a host it is to manage, and what a test asks with.
PACKAGES: Final = (
    "ca-certificates", "curl", "dbus", "iperf3", "iproute2", "iputils-ping", "kmod", "nftables", "nginx-light",
    "openssh-server", "procps", "python3", "python3-apt", "python3-nftables", "python3-packaging", "python3-venv",
    "systemd", "systemd-sysv",
)  # fmt: skip

# What makes a host this host and not a copy: each gets its own.
_OWN: Final = (
    "etc/hostname",
    "etc/machine-id",
    "etc/ssh/ssh_host_*",
    "etc/resolv.conf",
    "etc/apt/apt.conf.d/99mmdebstrap",
)
_RECIPE: Final = "1"  # another number makes all anew


def rootfs(suite: Suite) -> Path:
    """Return the directory of a release's root file system, made now if there is none yet. Never write to it."""
    return made_once("hosts", suite, key_of(_RECIPE, suite, *PACKAGES, *_OWN), lambda fresh: _make(suite, fresh))


def cache() -> Path:
    """Return where what takes long to make is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hagw"


def made_once(kind: str, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, made now if there is none with this key; it replaces one with another key."""
    home = cache() / kind / f"{name}-{key}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            for older in home.parent.glob(f"{name}-*"):
                shutil.rmtree(older)
            fresh = home.with_name(f"{name}-fresh")
            make(fresh)
            fresh.rename(home)
    return home


def key_of(*parts: str) -> str:
    """Return a name for what is made of these parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def overlay(lower: Path, home: Path) -> Iterator[Path]:
    """Have a writable layer over a root file system, in `home`; gone at the end."""
    root = mount_overlay(lower, home)
    try:
        yield root
    finally:
        unmount(home)


def mount_overlay(lower: Path, home: Path) -> Path:
    """Lay a writable layer in `home` over a root file system; return where both are to be seen as one."""
    upper, work, root = home / "upper", home / "work", home / "root"
    for directory in (upper, work, root):
        directory.mkdir(parents=True)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _say("mount", "-t", "overlay", "overlay", "-o", layers, str(root))
    return root


def unmount(home: Path) -> None:
    """Remove the layer and all that was written to it."""
    while os.path.ismount(home / "root"):
        _say("umount", str(home / "root"))
    if home.exists():
        shutil.rmtree(home)


def mirror() -> str:
    """Return where this machine gets Debian from."""
    listed = _say("apt-get", "indextargets", "--format", "$(REPO_URI)").split()
    return next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), DEBIAN)


def _make(suite: Suite, fresh: Path) -> None:
    """Whatever way this machine has to the archive (proxies, certificates, credentials) serves for making it."""
    settings = fresh.with_suffix(".conf")
    settings.write_text(_say("apt-config", "dump", "Acquire"), encoding="utf-8")
    command = ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=minbase"]
    command += [f"--aptopt={settings}", f"--include={','.join(PACKAGES)}"]
    if Path("/etc/apt/auth.conf.d").is_dir():
        command.append("--setup-hook=copy-in /etc/apt/auth.conf.d /etc/apt")
    command += [f'--customize-hook=rm -rf "$1"/{path}' for path in (*_OWN, "etc/apt/auth.conf.d")]
    command.append('--customize-hook=chroot "$1" systemctl disable --quiet nginx.service')
    try:
        _say(*command, suite, str(fresh), mirror(), timeout_s=600)
    finally:
        settings.unlink()


def _say(*command: str, timeout_s: float = 60) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
