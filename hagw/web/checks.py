"""Whether a request comes from our own page, and to us. Pure.

Three locks against forged requests, each enough where the browser has it: the cookie is SameSite=Strict,
`Sec-Fetch-Site` and `Origin` say whose page asks, and what changes something shows a token that only our page can know.
"""

import hmac
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Final

from hagw.model.web import CSRF_HEADER, csrf_token

SAFE: Final = frozenset({"GET", "HEAD"})
_JSON: Final = "application/json"


def host_of(header: str) -> str:
    """Return the name or address in a Host header, lower case, "" where there is none."""
    text = header.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and (not rest or _is_port(rest)) else ""
    name, colon, port = text.partition(":")
    return name.rstrip(".") if not colon or _is_port(colon + port) else ""


def is_for_us(host: str, names: Collection[str]) -> bool:
    """Say whether a Host header means this machine: an address does, and of names only our own.

    A name of somebody else's that leads to our address would make our page theirs (DNS rebinding).
    """
    name = host_of(host)
    try:
        ip_address(name)
    except ValueError:
        return name in names
    return True


def why_foreign(method: str, headers: Mapping[str, str]) -> str | None:
    """Return why a request is another page's, as one sentence; None if it may be ours."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"https://{headers.get('host', '').strip().lower()}":
        return "The request comes from a page of another origin."
    site = headers.get("sec-fetch-site", "same-origin")
    if site == "same-origin" or (site == "none" and method in SAFE):
        return None
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if method in SAFE and is_link:
        return None
    return "The request comes from another site."


def why_forged(method: str, headers: Mapping[str, str], secret: str) -> str | None:
    """Return why a request that a cookie came with does not count; None if it does."""
    if method in SAFE:
        return None
    shown = headers.get(CSRF_HEADER, "")
    if hmac.compare_digest(shown.encode(), csrf_token(secret).encode()):
        return None
    return f"The request lacks the page's token ({CSRF_HEADER})."


def is_json(headers: Mapping[str, str]) -> bool:
    """Say whether a body is what no form of another page can send without asking first."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == _JSON


def _is_port(text: str) -> bool:
    return text[1:].isdecimal() and len(text) <= 6 and text.startswith(":")
