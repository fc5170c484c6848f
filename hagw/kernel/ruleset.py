"""What all of nftables holds here, also by others, and whether it takes a ruleset.

Reading happens in a process of its own: libnftables is not made for several threads (it takes words apart in static
memory), and the daemon has one that follows our own table; two at once ended it by a failed assertion.
"""

import json
import subprocess
import sys
from typing import Any, Final

from hagw.errors import UnsupportedEnvironment

_MISSING: Final = "the Python module of nftables is missing, install python3-nftables"
_TIMEOUT_S: Final = 20.0


def read_ruleset() -> tuple[dict[str, Any], ...]:
    """Return the objects of the thread's network namespace, also those of others, as libnftables-json(5).

    Takes a tenth of a second. Raise OSError.
    """
    try:
        done = subprocess.run(
            (sys.executable, "-P", "-m", __name__), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"the rules of nftables could not be read in {_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        words = " ".join(done.stderr.split())[-300:] or f"its reader ended with {done.returncode}"
        raise OSError(f"the rules of nftables cannot be read: {words}")
    try:
        return tuple(json.loads(done.stdout)["nftables"])
    except ValueError as error:  # nftables 1.0 breaks off where it should name who owns a table
        raise OSError(f"the rules of nftables cannot be read: its JSON is broken ({error})") from error


def try_ruleset(text: str) -> None:
    """Put a ruleset for good: only for a namespace made for it. Raise OSError or UnsupportedEnvironment."""
    code, _output, error = _context().cmd(text)
    if code != 0:
        raise OSError(" ".join(str(error).split())[:200])


def _context() -> Any:
    try:
        from nftables import Nftables  # not on PyPI: it comes with the distribution
    except ImportError:
        raise UnsupportedEnvironment(_MISSING) from None
    return Nftables()


def main() -> None:
    """Print the whole ruleset as libnftables-json(5)."""
    try:
        context = _context()
    except UnsupportedEnvironment as why:
        sys.exit(str(why))
    context.set_json_output(True)
    code, output, error = context.cmd("list ruleset")
    if code != 0:
        sys.exit(str(error))
    sys.stdout.write(output)


if __name__ == "__main__":
    main()
