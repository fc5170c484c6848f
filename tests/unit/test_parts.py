"""What processes that stay do not import: the most of other people's packages."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hagw.parts import only_parts_of

LOADED = "import sys; print(sorted(name for name in {!r} if name in sys.modules), file=sys.stderr)"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that imports more than anybody wants at its beginning."""
    home = tmp_path / "laden"
    home.mkdir()
    (home / "__init__.py").write_text("from laden.heavy import LOAD\nfrom laden import light\n")
    (home / "heavy.py").write_text("LOAD = 1\n")
    (home / "light.py").write_text("from laden import other\nVALUE = other.VALUE\n")
    (home / "other.py").write_text("VALUE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("laden", "laden.heavy", "laden.light", "laden.other"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "laden"


def part(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def test_a_part_comes_with_the_parts_it_needs_and_without_the_rest(package: str) -> None:
    only_parts_of(package)
    assert part("laden.light").VALUE == 2
    assert "laden.heavy" not in sys.modules


def test_a_package_begins_once_somebody_wants_what_its_beginning_defines(package: str) -> None:
    only_parts_of(package)
    light = part("laden.light")
    whole = part("laden")
    assert whole.LOAD == 1
    assert type(whole) is ModuleType
    assert whole.light is light
    with pytest.raises(AttributeError):
        _ = whole.nothing


def test_a_name_that_parts_want_is_found_where_it_is_defined(package: str) -> None:
    only_parts_of(package, VALUE="laden.other")
    assert part("laden").VALUE == 2
    assert "laden.heavy" not in sys.modules


def test_a_package_that_has_begun_stays_as_it_is(package: str) -> None:
    whole = part(package)
    only_parts_of(package)
    assert sys.modules[package] is whole
    assert "laden.heavy" in sys.modules


def test_a_package_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        only_parts_of("nowhere_to_be_found")


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (
            "from hagw.kernel.rtnl import _open; _open().close()",
            ("pyroute2.ndb", "pyroute2.ethtool", "pyroute2.ipdb", "pyroute2.plan9", "sqlite3", "unittest.main"),
        ),
        (
            "import hagw.cli.quick, hagw.daemon; hagw.daemon._import_server(); import uvicorn.lifespan.off",
            ("uvicorn.main", "uvicorn.supervisors", "click", "prometheus_client", "pyroute2", "sqlalchemy", "rich"),
        ),
        (
            "import asyncio, runpy; asyncio.run = lambda serving: serving.close();"
            "runpy.run_module('hagw.web', run_name='__main__'); import uvicorn.lifespan.off",
            ("uvicorn.main", "click", "fastapi", "httpx"),
        ),
    ],
    ids=["netlink", "daemon", "web"],
)
def test_a_process_that_stays_imports_nothing_it_never_uses(
    code: str, unwanted: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; {LOADED.format(unwanted)}"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "HAGW_WEB_STATE_DIR": str(tmp_path / "web")},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "[]\n")
