"""What hagw does on Linux 6.1, the oldest kernel it is written for, under an emulated machine: no KVM is needed.

    python -m tests.soak.old_kernel --directory /var/tmp/hagw-6.1

Takes three minutes, and longer on a busy machine, so it is no part of `./lab test`. Debian's kernel and QEMU are
fetched by `apt-get download` into the directory and unpacked there, nothing is installed. The guest sees this machine's
files read-only (9p) below a layer of its own. It runs `hagw doctor --json`, then a download and an upload in a lab,
each with a line that dies in mid-transfer. Exit code 1 if a feature that hagw needs is missing, or not all was
converted.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("qemu-system-x86", "linux-image-amd64", "busybox-static", "kmod")
# To see the files; and what nobody asks the kernel for where no udev is.
MODULES: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "tun")
QEMU: Final = "qemu-system-x86_64"
ROOT: Final = Path(__file__).resolve().parents[2]
MEMORY_MB: Final = 3072
INIT: Final = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /below /above /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko || echo "no module $module"; done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose files /below
/bin/busybox mount -t tmpfs tmpfs /above
/bin/busybox mkdir /above/files /above/work
/bin/busybox mount -t overlay -o lowerdir=/below,upperdir=/above/files,workdir=/above/work overlay /root
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sysfs /root/sys
/bin/busybox mount --move /dev /root/dev
/bin/busybox mkdir -p /root/dev/pts /root/dev/shm
for place in run tmp dev/shm; do /bin/busybox mount -t tmpfs tmpfs /root/$place; done
/bin/busybox mount -t devpts devpts /root/dev/pts
/bin/busybox mkdir -p /root/usr/lib/modules/{release}
/bin/busybox mount -o bind /root{unpacked}/lib/modules/{release} /root/usr/lib/modules/{release}
/bin/busybox ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH={root}
/bin/busybox chroot /root /bin/sh -c 'cd {root} && {commands}'
/bin/busybox poweroff -f
"""
# What the kernel calls for a module that is asked for.
MODPROBE: Final = """#!/bin/busybox sh
exec /bin/busybox chroot /root {unpacked}/sbin/modprobe "$@"
"""
COMMANDS: Final = (
    "uname -r > /dev/ttyS1",
    "echo DOCTOR > /dev/ttyS1; {python} -m hagw doctor --json --config config/cpe.yaml > /dev/ttyS1",
    "echo CONVERT > /dev/ttyS1; {python} -m tests.soak.old_kernel_guest > /dev/ttyS1 2>&1",
    "echo END > /dev/ttyS1",
)


def main() -> int:
    """Fetch, boot, judge; return the exit code."""
    return judge(told_by_guest(str(__doc__)))


def told_by_guest(
    description: str,
    packages: Sequence[str] = PACKAGES,
    modules: Sequence[str] = MODULES,
    commands: Sequence[str] = COMMANDS,
) -> str:
    """Run a guest as the command line says; print and return what it told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    chosen = parser.parse_args()
    place: Path = chosen.directory.resolve()
    told = boot(place, fetch(place, packages), 60.0 * chosen.minutes, modules, commands)
    print(told)
    return told


def fetch(place: Path, wanted: Sequence[str]) -> Path:
    """Return the directory that the packages and what they need are unpacked in."""
    packages, unpacked = place / "packages", place / "unpacked"
    if unpacked.exists():
        return unpacked
    (packages / "partial").mkdir(parents=True)
    nothing_cached = f"Dir::Cache::Archives={packages}"
    listed = subprocess.run(
        ["apt-get", "-o", nothing_cached, "install", "--print-uris", "--yes", "--no-install-recommends", *wanted],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = {file.partition("_")[0] for file in re.findall(r"^'\S+' (\S+)", listed, re.MULTILINE)}
    subprocess.run(["apt-get", "download", *sorted({*names, *wanted})], check=True, cwd=packages)
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    for name in ("depmod", "modprobe"):  # absolute links, to what is not there
        (unpacked / "sbin" / name).unlink(missing_ok=True)
        (unpacked / "sbin" / name).symlink_to("../bin/kmod")
    return unpacked


def boot(place: Path, unpacked: Path, seconds: float, modules_wanted: Sequence[str], commands: Sequence[str]) -> str:
    """Run the guest until it ends; return what it wrote to its second serial line."""
    kernel = next((unpacked / "boot").glob("vmlinuz-*"))
    release = kernel.name.removeprefix("vmlinuz-")
    modules = unpacked / "lib" / "modules" / release
    loader = {"LD_LIBRARY_PATH": f"{unpacked}/usr/lib/x86_64-linux-gnu:{unpacked}/lib/x86_64-linux-gnu"}
    subprocess.run([unpacked / "sbin" / "depmod", "-b", unpacked, release], check=True, env=loader)
    needed = in_order(modules, modules_wanted)
    init = INIT.format(
        modules=" ".join(Path(module).stem for module in needed),
        release=release,
        unpacked=unpacked,
        root=ROOT,
        commands="; ".join(commands).format(unpacked=unpacked, python=sys.executable),
    )
    files: list[tuple[str, bytes, int]] = [
        ("init", init.encode(), 0o755),
        ("sbin/modprobe", MODPROBE.format(unpacked=unpacked).encode(), 0o755),
        ("bin/busybox", (unpacked / "bin" / "busybox").read_bytes(), 0o755),
    ]
    files += [(f"modules/{Path(module).name}", (modules / module).read_bytes(), 0o644) for module in needed]
    (place / "initramfs").write_bytes(archive(files))
    serial = place / "told"
    serial.unlink(missing_ok=True)
    machine = [*emulator(unpacked), "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB)]
    machine += ["-display", "none", "-vga", "none", "-nic", "none", "-no-reboot"]
    machine += ["-serial", f"file:{place / 'console'}", "-serial", f"file:{serial}"]
    machine += ["-kernel", str(kernel), "-initrd", str(place / "initramfs"), "-append", "console=ttyS0 panic=-1"]
    machine += ["-virtfs", "local,path=/,mount_tag=files,security_model=none,readonly=on,multidevs=remap"]
    try:
        subprocess.run(machine, check=True, env=None if shutil.which(QEMU) else loader, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"not at its end after {seconds:.0f} s; its console is in {place / 'console'}", file=sys.stderr)
    return serial.read_text(encoding="utf-8", errors="replace")


def emulator(unpacked: Path) -> list[str]:
    """Return the beginning of QEMU's command: this machine's, whose packages were not fetched, or the one unpacked."""
    if shutil.which(QEMU):
        return [QEMU]
    firmware = (unpacked / "usr/share" / name for name in ("qemu", "seabios"))
    return [str(unpacked / "usr/bin" / QEMU), *(word for place in firmware for word in ("-L", str(place)))]


def in_order(modules: Path, names: Sequence[str]) -> list[str]:
    """Return the files of modules and of what they need, in the order to load them."""
    lines = (line.partition(":") for line in (modules / "modules.dep").read_text(encoding="utf-8").splitlines())
    needs = {file: needed.split() for file, _, needed in lines}
    wanted = [file for name in names for file in needs if Path(file).stem == name]
    # depmod lists what a module needs with the deepest last.
    return list(dict.fromkeys(each for file in wanted for each in [*reversed(needs[file]), file]))


def archive(files: list[tuple[str, bytes, int]]) -> bytes:
    """Return files and their directories as a cpio archive (format newc)."""
    made = bytearray()
    directories = {str(Path(name).parent): b"" for name, _, _ in files if "/" in name}
    entries = [(name, data, 0o040755) for name, data in directories.items()]
    entries += [(name, data, 0o100000 | mode) for name, data, mode in files]
    for number, (name, data, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        made += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        made += bytes(-len(made) % 4) + data
        made += bytes(-len(made) % 4)
    return bytes(made)


def judge(told: str) -> int:
    """Print what matters of what the guest wrote; return the exit code."""
    parts = re.split(r"^(DOCTOR|CONVERT|END)\r?$", told, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    try:
        document: dict[str, Any] = json.loads(found.get("DOCTOR", ""))
    except ValueError:
        print("hagw doctor said nothing that can be read")
        return 1
    grave = [f for f in document["findings"] if f["id"].startswith("kernel.") and f["severity"] == "problem"]
    for finding in grave:
        print(f"{finding['id']}: {finding['found']}")
    converted = "all of it converted" in found.get("CONVERT", "")
    print(f"Linux {parts[0].strip()}: {len(grave)} problems of the kernel, {'' if converted else 'not '}converted")
    return 0 if converted and not grave else 1


if __name__ == "__main__":
    sys.exit(main())
