"""Carry notices to webhooks: one after the other, tried again for a while, never in the way of anything."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from hagw.alerts.rules import alerts
from hagw.alerts.watch import Notice, Watch
from hagw.log import log_of
from hagw.model.intent import AlertsIntent, WebhookIntent

SCHEMA: Final = 1
LOOK_S: Final = 1.0
TIMEOUT_S: Final = 10.0
RETRY_S: Final = (2.0, 10.0, 60.0, 300.0)  # then it is given up: what it says is old
QUEUE_MAX: Final = 100
SIGNATURE: Final = "X-Hagw-Signature"

log = log_of("hagw.alerts")


@dataclass(slots=True)
class _Line:
    """What waits for one webhook, and how it went so far."""

    hook: WebhookIntent
    waiting: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=QUEUE_MAX))
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    delivered: int = 0
    failed: int = 0
    reason: str = ""


class Alerts:
    """Looks at the status each second, and has a task for each webhook."""

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        intent: Callable[[], AlertsIntent],
        retry_s: tuple[float, ...] = RETRY_S,
    ) -> None:
        self._status = status
        self._intent = intent
        self._retry_s = retry_s
        self._watch = Watch()
        self._lines: dict[WebhookIntent, tuple[_Line, asyncio.Task[None]]] = {}

    def document(self) -> dict[str, Any]:
        """Return what is wrong now, and how the webhooks do; their addresses are not told."""
        now, wall = time.monotonic(), time.time()
        return {
            "schema": SCHEMA,
            "alerts": [
                {
                    "kind": alert.kind,
                    "subject": alert.subject,
                    "severity": alert.severity,
                    "text": alert.text,
                    "since_unix_s": round(wall - (now - since_s), 1),
                }
                for alert, since_s in self._watch.active()
            ],
            "webhooks": [
                {
                    "name": line.hook.name,
                    "host": host_of(line.hook.url),
                    "delivered": line.delivered,
                    "failed": line.failed,
                    "waiting": len(line.waiting),
                    "reason": line.reason,
                }
                for line, _ in self._lines.values()
            ],
        }

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                intent = self._intent()
                self._follow(group, intent)
                status = self._status()
                found = self._watch.look(
                    alerts(status), time.monotonic(), after_s=intent.after_s, hourly_max=intent.hourly_max
                )
                for notice in found:
                    log.info("alert", what=notice.event, kind=notice.alert.kind, text=notice.alert.text)
                    self._queue(_payload(notice, status["role"]))
                await asyncio.sleep(LOOK_S)

    def _queue(self, payload: dict[str, Any]) -> None:
        for line, _ in self._lines.values():
            line.waiting.append(payload)
            line.woken.set()

    def _follow(self, group: asyncio.TaskGroup, intent: AlertsIntent) -> None:
        """Have a task for each webhook of the configuration in force, and no other."""
        for hook in [hook for hook in self._lines if hook not in intent.webhooks]:
            self._lines.pop(hook)[1].cancel()
        for hook in intent.webhooks:
            if hook not in self._lines:
                line = _Line(hook)
                self._lines[hook] = line, group.create_task(self._carry(line))

    async def _carry(self, line: _Line) -> None:
        """Send what waits, in order; what cannot be sent for some minutes is given up."""
        while True:
            await line.woken.wait()
            line.woken.clear()
            while line.waiting:
                body = json.dumps(line.waiting.popleft()).encode()
                for wait_s in (0.0, *self._retry_s):
                    await asyncio.sleep(wait_s)
                    line.reason = await _post(line.hook, body)
                    if not line.reason:
                        break
                line.delivered += not line.reason
                line.failed += bool(line.reason)
                if line.reason:
                    log.warning("alert not delivered", webhook=line.hook.name, reason=line.reason)


async def _post(hook: WebhookIntent, body: bytes) -> str:
    """Send one notice; return why it was not taken, "" if it was. The address is a secret: reasons do not have it."""
    import httpx  # a quarter of a second to import, and few have alerts to send

    headers = {"Content-Type": "application/json", "User-Agent": "hagw"}
    if hook.secret:
        headers[SIGNATURE] = f"sha256={hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()}"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            answer = await client.post(hook.url, content=body, headers=headers)
    except httpx.HTTPError as why:
        return f"{host_of(hook.url)}: {type(why).__name__}"
    return "" if answer.is_success else f"{host_of(hook.url)} answered {answer.status_code}"


def host_of(url: str) -> str:
    """Return whose webhook it is, without the rest, which often is a secret."""
    return urlsplit(url).hostname or ""


def _payload(notice: Notice, role: str) -> dict[str, Any]:
    alert, age_s = notice.alert, time.monotonic() - notice.since_s
    word = "" if notice.event == "raised" else "Over: "
    return {
        "schema": SCHEMA,
        "event": notice.event,
        "kind": alert.kind,
        "subject": alert.subject,
        "severity": alert.severity,
        "text": f"{word}{alert.text}",
        "since_unix_s": round(time.time() - age_s, 1),
        "lasted_s": round(age_s, 1),
        "host": socket.gethostname(),
        "role": role,
        "unsent": notice.unsent,
    }
