"""Files of earlier format versions, made readable: each step edits the parsed tree from one version to the next.

A step uses `Tree.move` and `Tree.put`, which carry the lines along, so that mistakes are blamed on the line as written.
It leaves what it does not understand to the schema, which says so. The file itself is not touched.
"""

from collections.abc import Callable, Iterator
from typing import Final

from hagw import __version__
from hagw.config.tree import Tree
from hagw.errors import ConfigIssue

Migration = Callable[[Tree], None]

# Entry n makes version n + 2 of version n + 1. To change the format: append a step here.
MIGRATIONS: Final[tuple[Migration, ...]] = ()
FIRST: Final = 1


def current(migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Return the version that the schema describes."""
    return FIRST + len(migrations)


def version_issues(tree: Tree, migrations: tuple[Migration, ...]) -> Iterator[ConfigIssue]:
    """Yield why the file's version cannot be read, if so."""
    newest = current(migrations)
    version = tree.root.get("version")
    if "version" not in tree.root:
        yield tree.issue((), f"version is missing; write `version: {newest}`")
    elif not (isinstance(version, str) and version.isascii() and version.isdecimal() and 0 < len(version) < 10):
        yield tree.issue(("version",), f"{version!r} is not a version; write `version: {newest}`")
    elif int(version) > newest:
        message = (
            f"version {version} is of a newer hagw than this one, {__version__}, which reads up to version {newest}; "
            "install the hagw that it was written for, or a later one"
        )
        yield tree.issue(("version",), message)
    elif int(version) < FIRST:
        yield tree.issue(("version",), f"version {version} has never existed; write `version: {newest}`")


def migrate(tree: Tree, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring a tree whose version can be read to the current one, in place."""
    version = int(str(tree.root["version"]))
    for step in migrations[version - FIRST :]:
        step(tree)
        version += 1
    tree.put(("version",), str(version), tree.lines[("version",)])
