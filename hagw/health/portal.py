"""Captive portals: when to look for one on a line, and what an HTTP answer says. The asking is `hagw.probe.portal`'s.

A network that wants its guests to log in first swallows everything but HTTP, and answers that in the server's place. So
a line that has an address but over which the gateway's echoes stay unanswered is asked for a page whose right answer is
known: 204 unless configured otherwise. Anything else that comes is the portal's.
"""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

from hagw.model.intent import PortalIntent

Verdict = Literal["portal", "clean", "unclear"]

ANSWER_MAX_BYTES: Final = 16 * 1024
_UNANSWERED: Final = 3
_UNANSWERED_S: Final = 1.0
_PORTAL_GAP_S: Final = 15.0  # somebody may be logging in just now
_PORTAL_GAP_METERED_S: Final = 120.0
_GAP_S: Final = 30.0
_GAP_MAX_S: Final = 600.0
_WHERE_MAX: Final = 200
_NETWORK_AUTHENTICATION_REQUIRED: Final = 511  # RFC 6585 section 6


@dataclass(frozen=True, slots=True)
class PortalAnswer:
    """What asking over a line came to; `where` is the portal's address."""

    verdict: Verdict
    where: str = ""


class PortalWatch:
    """When to look for a portal on one line."""

    def __init__(self, now: float) -> None:
        self._due_at = now
        self._gap_s = _GAP_S

    def begin_anew(self, now: float) -> None:
        """Another network may be behind the line."""
        self._due_at, self._gap_s = now, _GAP_S

    def is_due(self, unanswered: int, unanswered_since: float, portal: bool, now: float) -> bool:
        """Say whether to look now; the next time comes later by itself."""
        if not portal and (unanswered < _UNANSWERED or now - unanswered_since < _UNANSWERED_S):
            return False
        if now < self._due_at:
            return False
        self._due_at = now + self._gap_s
        self._gap_s = min(_GAP_MAX_S, 2 * self._gap_s)
        return True

    def seen(self, metered: bool, now: float) -> None:
        """A portal is there: look again soon whether it lets us through."""
        self._gap_s = _PORTAL_GAP_METERED_S if metered else _PORTAL_GAP_S
        self._due_at = now + self._gap_s
        self._gap_s /= 2  # doubled when it is next used


def request(url: str) -> bytes:
    """Return the HTTP request for `url`."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: hagw", "Accept: */*", "Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("ascii", "replace")


def judge(answer: bytes, page: PortalIntent, url: str) -> PortalAnswer:
    """Return what the (beginning of the) answer to `request(url)` means; unclear = it is no HTTP."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        return PortalAnswer("unclear")
    status = int(words[1])
    if status == page.status and (page.body is None or body.decode("latin-1").strip() == page.body.strip()):
        return PortalAnswer("clean")
    if status >= 500 and status != _NETWORK_AUTHENTICATION_REQUIRED:
        return PortalAnswer("unclear")  # the right server, or a proxy, in trouble
    location = next((f.partition(":")[2].strip() for f in fields if f.lower().startswith("location:")), "")
    where = urljoin(url, location) if location else url
    return PortalAnswer("portal", "".join(c for c in where if c.isprintable() and c != " ")[:_WHERE_MAX])
