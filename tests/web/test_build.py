"""The page that is committed is what its sources make, and they are sound by the type checker and their own tests."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Not `npm ci`: the lock file leaves out what other kinds of machines would need, and ci wants to see it.
INSTALL = ("install", "--no-save", "--no-audit", "--no-fund")
BUILT = ROOT / "hagw" / "web" / "static"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with what they need, installed by the lock file."""
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(ROOT / "web", root / "web", ignore=shutil.ignore_patterns("node_modules"))
    (root / "docs" / "api").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "api" / "openapi.json", root / "docs" / "api")
    (root / "hagw" / "web").mkdir(parents=True)
    npm(root, *INSTALL)
    return root


def npm(root: Path, *arguments: str) -> None:
    done = subprocess.run(["npm", *arguments], cwd=root / "web", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)}: {(done.stdout + done.stderr)[-3000:]}"


def hashes(directory: Path) -> dict[str, str]:
    """Return what is in a directory but what is compressed, which depends on the compressor."""
    files = [each for each in directory.rglob("*") if each.is_file() and each.suffix != ".gz"]
    return {each.relative_to(directory).as_posix(): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sources_are_sound_and_make_the_committed_page(copy: Path) -> None:
    types = copy / "web" / "src" / "lib" / "openapi.d.ts"
    committed = types.read_text()
    npm(copy, "run", "types")  # the page must fit the API as it is described now
    npm(copy, "run", "check")
    types.write_text(committed)
    npm(copy, "test")
    npm(copy, "run", "build")
    assert hashes(copy / "hagw" / "web" / "static") == hashes(BUILT), "cd web && npm install --no-save && npm run build"
