"""The headers every answer carries, and cookies."""

import re
from http.cookies import CookieError, SimpleCookie
from typing import Final

COOKIE: Final = "__Host-hagw"  # browsers take a cookie of this name only with Secure, Path=/ and no Domain
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' data:; script-src 'self'; style-src 'self'; connect-src 'self'"
)
SECURITY: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


def secret_in(cookies: str) -> str:
    """Return the session's secret in a Cookie header, "" where there is none; one that is given twice is none."""
    if cookies.count(f"{COOKIE}=") != 1:
        return ""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None and _SECRET.fullmatch(found.value) else ""


def cookie_with(secret: str) -> bytes:
    """Return the Set-Cookie header that gives a browser its session, or takes it away ("")."""
    if secret and not _SECRET.fullmatch(secret):
        raise ValueError("not a session's secret")
    ending = "" if secret else "; Max-Age=0"
    return f"{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict{ending}".encode()
