"""What all of nftables holds here, also by others, and whether it takes a ruleset."""

from typing import Any, Final

from hagw.errors import UnsupportedEnvironment

_MISSING: Final = "the Python module of nftables is missing, install python3-nftables"


class RulesetReader:
    """Reads all rules of the network namespace it was made in. Kept by who reads often: contexts leak a little."""

    def __init__(self) -> None:
        """Raise UnsupportedEnvironment or OSError."""
        self._context = _context()
        self._context.set_json_output(True)

    def read(self) -> tuple[dict[str, Any], ...]:
        """Return the objects, also those of others, as libnftables-json(5). Raise OSError."""
        code, output, error = self._context.json_cmd({"nftables": [{"list": {"ruleset": None}}]})
        if code != 0:
            raise OSError(f"the rules of nftables cannot be read: {' '.join(str(error).split())}")
        return tuple(output["nftables"])


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
