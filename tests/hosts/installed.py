"""hagw as installed from its package on a host: the example configuration, its state, its processes."""

import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from host import Host, HostFailed
from packages import TREE, package

CONFIG: Final = "etc/hagw/hagw.yaml"
URL: Final = "http://203.0.113.10"
INSTALL_TIMEOUT_S: Final = 120.0
BONDED_TIMEOUT_S: Final = 30.0


def configure(host: Host) -> None:
    """Write the example configuration of the host's role, which is named like it."""
    host.write(CONFIG, (TREE / "config" / f"{host.name}.yaml").read_text(encoding="utf-8"), 0o640)


def install(host: Host, version: str | None = None) -> None:
    """Install the package of this tree, of its own version or as if it were another one, whatever is there."""
    file = f"/root/hagw-{version or 'own'}.deb"
    host.copy(package(host.suite, version), file)
    host.run("apt-get", "install", "-y", "--allow-downgrades", file, timeout_s=INSTALL_TIMEOUT_S)


def prepare_packages(*wanted: tuple[Host, str | None]) -> None:
    """Build what will be installed, so that nothing waits for it later."""
    for host, version in wanted:
        package(host.suite, version)


def status(host: Host) -> dict[str, Any]:
    """Return the document of `hagw status --json`, empty while nobody answers."""
    done = host.run("hagw", "status", "--json", check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def wait_bonded(host: Host) -> None:
    """Wait until the gateway says that it works."""
    host.wait_for(lambda: status(host).get("state") == "bonded", "is bonded", BONDED_TIMEOUT_S)


def wait_carried(cpe: Host, size_bytes: int) -> None:
    """Wait until connections that live now have brought a LAN client so much together."""

    def is_so() -> bool:
        done = cpe.run("hagw", "flows", "--json", check=False)
        flows = json.loads(done.stdout)["flows"] if done.returncode == 0 else []
        return sum(int(flow["bytes_down"]) for flow in flows if flow["state"] != "closed") >= size_bytes

    cpe.wait_for(is_so, f"has carried {size_bytes} bytes", pause_s=0.02)


def wait_workers(host: Host, version: str) -> None:
    """Wait until all workers listen and run a version."""

    def is_so() -> bool:
        workers = status(host).get("workers", [])
        return bool(workers) and all(each["stats"].get("version") == version and each["listening"] for each in workers)

    host.wait_for(is_so, f"workers run {version}", BONDED_TIMEOUT_S)


def pid_of(host: Host, unit: str = "hagw.service") -> int:
    """Return the main process of a unit, 0 = none."""
    return int(host.show(unit, "MainPID"))


def worker_pids(host: Host) -> set[int]:
    """Return the main processes of the workers' units."""
    units = host.output("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "hagw-worker@*").split(
        "\n"
    )
    return {pid_of(host, line.split()[0]) for line in units if line}


def has_table(host: Host) -> bool:
    """Say whether hagw's table is in the kernel."""
    return "table inet hagw\n" in host.run("nft", "list", "tables").stdout


class Download:
    """A LAN client's download under way."""

    def __init__(self, client: Host, file: str, *, rate: str = "") -> None:
        slowly = ["--limit-rate", rate] if rate else []
        self._command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-m", "100", *slowly]
        self._command += ["-w", "%{speed_download} %{size_download}", f"{URL}/{file}"]
        self._process = client.popen(*self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._client = client

    def is_running(self) -> bool:
        """Say whether it has not ended yet."""
        return self._process.poll() is None

    def finish(self) -> float:
        """Wait for its end; return the rate in bit/s. Raise HostFailed if it did not get everything."""
        output, errors = self._process.communicate(timeout=110)
        if self._process.returncode != 0:
            raise HostFailed(f"{self._client.name}: {shlex.join(self._command)}: {output} {errors}")
        return float(output.split()[0]) * 8


def fetch(client: Host, file: str) -> float:
    """Download a file; return the rate in bit/s."""
    return Download(client, file).finish()


def memory_bytes(host: Host, pids: set[int]) -> tuple[int, int]:
    """Return the memory that processes hold resident together: shared pages counted for each of them, and once."""
    resident = proportional = 0
    for pid in sorted(pids):
        lines = host.output("cat", f"/proc/{pid}/smaps_rollup").splitlines()
        shares = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        print(host.output("cat", f"/proc/{pid}/comm"), {name: shares[name] // 1000 for name in ("Rss", "Pss")})
        resident += shares["Rss"]
        proportional += shares["Pss"]
    return resident, proportional


def since_online_s(host: Host) -> float:
    """Return how long ago the host's network was online."""
    online = int(host.show("network-online.target", "ActiveEnterTimestampMonotonic"))
    return time.clock_gettime(time.CLOCK_MONOTONIC) - online / 1e6


def files_of(host: Host, *roots: str) -> int:
    """Return the bytes that files below these directories take on a host's disk."""
    return sum(file.lstat().st_size for root in roots for file in _files(host.root / root))


def _files(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file() and not file.is_symlink()]
