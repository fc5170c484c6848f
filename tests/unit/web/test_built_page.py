"""The built page is that of web/'s sources, small, and asks for nothing from anywhere else."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WEB = ROOT / "web"
BUILT = ROOT / "hagw" / "web" / "static"
SINGLE = (
    "index.html",
    "package.json",
    "package-lock.json",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
    "stamp.mjs",
)
GZIPPED_MAX = 120_000
# What a library names without ever asking for it: XML namespaces and where its errors are explained.
NAMED_ONLY = ("http://www.w3.org/", "https://svelte.dev/e/")


def built() -> list[Path]:
    return sorted(
        each for each in BUILT.rglob("*") if each.is_file() and each.suffix in (".html", ".js", ".css", ".svg")
    )


def test_the_built_page_is_of_the_sources_as_they_are() -> None:
    files = [WEB / name for name in SINGLE]
    files += [each for folder in ("public", "src") for each in (WEB / folder).rglob("*") if each.is_file()]
    digest = hashlib.sha256()
    for name, path in sorted((each.relative_to(WEB).as_posix(), each) for each in files):
        body = path.read_bytes()
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    assert (BUILT / ".sources").read_text().strip() == digest.hexdigest(), (
        "cd web && npm install --no-save && npm run build"
    )


def test_the_whole_page_is_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in built()}
    assert any(name.endswith(".js") for name in sizes)
    assert sum(sizes.values()) <= GZIPPED_MAX, sizes


def test_what_is_compressed_ahead_is_what_it_stands_beside() -> None:
    for path in built():
        assert gzip.decompress(path.with_name(path.name + ".gz").read_bytes()) == path.read_bytes(), path.name


@pytest.mark.parametrize("path", built(), ids=lambda path: path.name)
def test_nothing_is_asked_of_other_hosts(path: Path) -> None:
    text = path.read_text()
    urls = re.findall(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s\"'`)]*", text)
    assert [url for url in urls if not url.startswith(NAMED_ONLY)] == []


def test_the_page_has_nothing_inline_that_its_policy_forbids() -> None:
    text = (BUILT / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
    assert "<style" not in text
    assert re.findall(r"\s(?:style|on[a-z]+)=", text) == []
