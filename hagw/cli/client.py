"""Ask the daemon over its Unix socket. The standard library's client: a quarter of httpx' import time."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from hagw.errors import DaemonUnreachable, HagwError, Refused

TIMEOUT_S = 5.0
PREFIX = "/api/v1"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("hagw", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def get(path: Path, resource: str) -> dict[str, Any]:
    """Return the resource's JSON document. Raise DaemonUnreachable, Refused or HagwError."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", PREFIX + resource)
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonUnreachable(f"No hagw daemon is running (nobody listens on {path}).") from None
    except PermissionError:
        raise Refused(f"No permission to use {path}: only root and the daemon's own user may ask.") from None
    except TimeoutError:
        raise DaemonUnreachable(f"The hagw daemon does not answer within {TIMEOUT_S:.0f} s on {path}.") from None
    except (OSError, http.client.HTTPException) as why:
        raise DaemonUnreachable(f"The hagw daemon on {path} broke off: {why or type(why).__name__}.") from None
    finally:
        connection.close()
    return _document(response.status, body)


def _document(status: int, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        raise HagwError(f"The hagw daemon answered {status} with something that is not JSON.") from None
    if not isinstance(document, dict):
        raise HagwError(f"The hagw daemon answered {status} with something that is not a document.")
    if status in (401, 403, 409):
        raise Refused(str(document.get("detail", "refused")))
    if status >= 400:
        raise HagwError(str(document.get("detail", f"the daemon answered {status}")))
    return document
