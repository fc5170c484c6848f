"""hagw's Debian packages of this very source tree, built once and kept by what went into them."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from rootfs import Suite, key_of, made_once

TREE: Final = Path(__file__).parents[2]
BUILD: Final = TREE / ".ci/package/build.py"
SOURCES: Final = ("hagw", ".ci/package", "config", "pyproject.toml", "docs/cli.md")


def package(suite: Suite, version: str | None = None) -> Path:
    """Return the package for a release, of this tree's version or as if it were another one."""
    name = f"{suite}.{version or 'own'}"
    return next(made_once("packages", name, _key(), lambda fresh: _build(suite, version, fresh)).glob("*.deb"))


def _build(suite: Suite, version: str | None, fresh: Path) -> None:
    wanted = ["--version", version] if version else []
    command = [sys.executable, str(BUILD), suite, "--output", str(fresh), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def _key() -> str:
    parts = []
    for source in SOURCES:
        path = TREE / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                parts += [str(file.relative_to(TREE)), key_of(file.read_bytes().hex())]
    return key_of(*parts)
