"""The way in of every command line, and the short way of the one that must be quick: `hagw apply [FILE]`.

An apply is to be over within 300 ms as a whole. Of those the command-line library took 100 before it had read its first
word (it imports pydantic to convert a string): in its plain form, without an option, the verb does without it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from hagw.cli.output import print_error
from hagw.errors import HagwError

INTERRUPTED = 130


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if argv[:1] == ["apply"] and len(argv) <= 2 and not any(word.startswith("-") for word in argv):
        return ended(lambda: _apply(Path(argv[1]) if argv[1:] else None))
    from hagw.cli.app import run as run_any

    return run_any(argv)


def ended(act: Callable[[], object]) -> int:
    """Act; return the exit code, an error said in one sentence."""
    try:
        act()
    except HagwError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # the library ends every command line with it, usage errors with code 2
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _apply(file: Path | None) -> None:
    from hagw.cli.change import put_in_force, show

    show(put_in_force(file))
