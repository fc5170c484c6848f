"""The files of the page, read once: what a request names is looked up among them, never on the disk.

Each goes out as it is or compressed ahead of time (`FILE.br`, `FILE.gz` beside it, gzip made here where there is none).
Files below `assets/` have their content's hash in the name and are kept by browsers for good; the others are asked for
again by ETag.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = "/index.html"
_SIZE_MAX: Final = 8 << 20
_COMPRESS_FROM: Final = 512
_TEXT: Final = ("text/", "application/json", "application/javascript", "image/svg+xml", "application/manifest+json")
_ENDINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True, slots=True)
class File:
    """One file with its encodings, the best first; the plain one is called "identity"."""

    media_type: str
    etag: str
    cache: str
    bodies: Mapping[str, bytes]

    def encoding(self, accepted: str) -> str:
        """Return the first of our encodings that an Accept-Encoding header takes."""
        weights = dict(_weights(accepted))
        for name in self.bodies:
            if name != "identity" and weights.get(name, weights.get("*", 0.0)) > 0:
                return name
        return "identity"

    def tag(self, encoding: str) -> str:
        """Return the entity tag of an encoding."""
        return f'"{self.etag}"' if encoding == "identity" else f'"{self.etag}-{encoding}"'


class Files:
    """The files below a directory by their paths; those that do not begin with a dot."""

    def __init__(self, directory: Path) -> None:
        self._files = dict(_read(directory))

    def find(self, path: str) -> File | None:
        """Return what a request's decoded path names; the page itself for a place within it, which has no ending."""
        found = self._files.get(PAGE if path == "/" else path)
        if found is None and "." not in path.rpartition("/")[2] and not path.startswith("/assets/"):
            return self._files.get(PAGE)
        return found


def matches(header: str, tag: str) -> bool:
    """Say whether an If-None-Match header names this tag."""
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(","))


def _read(directory: Path) -> Iterable[tuple[str, File]]:
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in relative.parts)
        if not path.is_file() or path.is_symlink() or hidden or path.suffix in (".br", ".gz"):
            continue
        if path.stat().st_size <= _SIZE_MAX:
            yield f"/{relative.as_posix()}", _file(path, relative.parts[0] == "assets")


def _file(path: Path, is_for_good: bool) -> File:
    plain = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    bodies: dict[str, bytes] = {}
    is_text = media_type.startswith(_TEXT)
    if is_text and len(plain) >= _COMPRESS_FROM:
        for name, ending in _ENDINGS:
            beside = path.with_name(path.name + ending)
            if beside.is_file():
                bodies[name] = beside.read_bytes()
        bodies.setdefault("gzip", gzip.compress(plain, 9, mtime=0))
    bodies["identity"] = plain
    cache = "public, max-age=31536000, immutable" if is_for_good else "no-cache"
    with_charset = f"{media_type}; charset=utf-8" if is_text else media_type
    return File(with_charset, hashlib.sha256(plain).hexdigest()[:32], cache, bodies)


def _weights(accepted: str) -> Iterable[tuple[str, float]]:
    for part in accepted.split(","):
        name, _, weight = part.strip().lower().partition(";")
        try:
            yield name.strip(), float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            yield name.strip(), 0.0
