"""The way in of every command line, and the short ways: `hagw apply [FILE]` must be quick, `hagw daemon` small.

An apply is to be over within 300 ms as a whole. Of those the command-line library took 100 before it had read its first
word (it imports pydantic to convert a string): in its plain form, without an option, the verb does without it. So does
the daemon as its unit starts it, which would keep the library's 6 MB for as long as it runs.
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
    if argv == ["daemon"]:
        return ended(_daemon)
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


def _daemon() -> None:
    from hagw.control.places import config_file
    from hagw.daemon import run as run_daemon

    run_daemon(config_file())
