"""`python -m hagw.worker`: a worker as its unit or the daemon starts it.

Without OpenSSL, which would be a fifth of it: what it hashes is some bytes a connection, and Python's own SHA-256 takes
3 us longer for a cookie of which a conversion takes hundreds (docs/adr/0057).
"""

import sys

if __name__ == "__main__":
    sys.modules["_hashlib"] = None  # type: ignore[assignment]  # the import system's word for "is not there"
    from hagw.worker.main import command

    sys.exit(command(sys.argv[1:]))
