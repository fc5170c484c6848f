"""What the daemon and `hagw web` agree on: socket, group, headers, and the token against forged requests."""

import hashlib
import hmac
from typing import Final

WEB_SOCKET: Final = "web.sock"  # in the runtime directory: there a request has the rights of its login, and no others
WEB_FILE: Final = "web.json"  # likewise: where `hagw web` listens, by the configuration in force
WEB_GROUP: Final = "hagw-web"  # who may connect to the socket; NOGROUP where there is no such group
NOGROUP: Final = 65534
PORT_WEB: Final = 8443
PORT_METRICS: Final = 9469

# From `hagw web` to the daemon: the browser's address, ours that it is connected to (ADDRESS PORT), and the SHA-256 of
# the certificate that it was shown. From the daemon: the session's secret, once; empty = it ended.
CLIENT_HEADER: Final = "x-hagw-client"
SERVER_HEADER: Final = "x-hagw-server"
FINGERPRINT_HEADER: Final = "x-hagw-fingerprint"
SESSION_HEADER: Final = "x-hagw-session"
CSRF_HEADER: Final = "x-csrf-token"

TOKEN_PREFIX: Final = "hagw_t_"
SESSION_PREFIX: Final = "hagw_s_"


def csrf_token(secret: str) -> str:
    """Return what a page must show beside the cookie of this session: a page of another origin cannot know it."""
    return hmac.new(secret.encode(), b"hagw csrf", hashlib.sha256).hexdigest()
