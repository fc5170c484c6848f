"""Ask the daemon over its Unix socket. The standard library's client: a quarter of httpx' import time."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from hagw.errors import ConfigError, ConfigIssue, DaemonUnreachable, HagwError, Refused

TIMEOUT_S = 5.0
CHANGE_TIMEOUT_S = 60.0  # changing and changing back, with checks that may have to wait
PREFIX = "/api/v1"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("hagw", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, resource: str) -> dict[str, Any]:
    """Return the resource's JSON document. Raise DaemonUnreachable, Refused or HagwError."""
    return _ask(path, "GET", resource, None, TIMEOUT_S)


def post(path: Path, resource: str, body: dict[str, Any], timeout_s: float = CHANGE_TIMEOUT_S) -> dict[str, Any]:
    """Send a JSON document, return the answer's. Raise as `get`, and ConfigError with every mistake."""
    return _ask(path, "POST", resource, json.dumps(body), timeout_s)


def patch(path: Path, resource: str, body: dict[str, Any]) -> dict[str, Any]:
    """Change a resource, return the answer's document. Raise as `get`."""
    return _ask(path, "PATCH", resource, json.dumps(body), CHANGE_TIMEOUT_S)


def delete(path: Path, resource: str) -> dict[str, Any]:
    """Remove a resource, return the answer's document. Raise as `get`."""
    return _ask(path, "DELETE", resource, None, CHANGE_TIMEOUT_S)


def ask(
    path: Path, method: str, resource: str, body: dict[str, Any] | None, timeout_s: float = CHANGE_TIMEOUT_S
) -> dict[str, Any]:
    """Ask in any method, with a JSON document unless it is None. Raise as `post`."""
    return _ask(path, method, resource, None if body is None else json.dumps(body), timeout_s)


def _ask(path: Path, method: str, resource: str, body: str | None, timeout_s: float) -> dict[str, Any]:
    connection = _UnixConnection(path, timeout_s)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, PREFIX + resource, body, headers)
        response = connection.getresponse()
        received = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonUnreachable(f"No hagw daemon is running (nobody listens on {path}).") from None
    except PermissionError:
        raise Refused(f"No permission to use {path}: only root and the daemon's own user may ask.") from None
    except TimeoutError:
        raise DaemonUnreachable(f"The hagw daemon does not answer within {timeout_s:.0f} s on {path}.") from None
    except (OSError, http.client.HTTPException) as why:
        raise DaemonUnreachable(f"The hagw daemon on {path} broke off: {why or type(why).__name__}.") from None
    finally:
        connection.close()
    return _document(response.status, received)


def _document(status: int, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        raise HagwError(f"The hagw daemon answered {status} with something that is not JSON.") from None
    if not isinstance(document, dict):
        raise HagwError(f"The hagw daemon answered {status} with something that is not a document.")
    if status in (401, 403, 409):
        raise Refused(str(document.get("detail", "refused")))
    if status == 422 and isinstance(issues := document.get("issues"), list):
        raise ConfigError(tuple(ConfigIssue(**issue) for issue in issues))
    if status >= 400:
        raise HagwError(str(document.get("detail", f"the daemon answered {status}")))
    return document
