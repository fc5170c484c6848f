"""Alerts: raised once they last, told to be over, never too many, carried to webhooks that fail, and no secret told."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest

from hagw.alerts import sender
from hagw.alerts.rules import KINDS, Alert, alerts
from hagw.alerts.sender import SIGNATURE, Alerts
from hagw.alerts.watch import Watch
from hagw.config.secrets import masked
from hagw.control.status import status_document
from hagw.model.intent import AlertsIntent, WebhookIntent
from tests.fakes import STATUS_INPUTS

DOWN = Alert("uplink", "dsl", "warning", "Uplink dsl is down: no carrier")


def status(**more: Any) -> dict[str, Any]:
    return {**status_document(STATUS_INPUTS), "config_notice": "", **more}


def test_a_healthy_gateway_has_nothing_to_tell_and_each_fault_its_kind() -> None:
    assert alerts(status()) == ()
    bad = status(state="unbonded", reason="no gateway", config_notice="The state directory was damaged.")
    bad["uplinks"][0] |= {"state": "down", "reason": "no carrier"}
    bad["gateways"][0] |= {"state": "down", "reason": "silent"}
    bad["workers"][0] |= {"starts": 9, "reason": "it crashed"}
    bad["data_caps"] = [{"name": "plan", "stage": "cut", "warned_percent": 90.0, "reason": "plan is used up."}]
    bad["rivals"] = [{"id": "x", "severity": "error", "found": "y.", "act": "z."}]
    found = alerts(bad)
    assert {alert.kind for alert in found} == set(KINDS)
    assert DOWN in found


def look(watch: Watch, now: float, *found: Alert, hourly_max: int = 30) -> list[str]:
    notices = watch.look(found, now, after_s=10, hourly_max=hourly_max)
    return [f"{each.event} {each.alert.subject} {each.unsent}" for each in notices]


def test_an_alert_is_raised_once_it_lasts_and_over_once_it_is_gone_as_long() -> None:
    watch = Watch()
    assert look(watch, 0, DOWN) == []
    assert look(watch, 5) == []  # gone before anybody heard of it
    assert look(watch, 6, DOWN) == []
    assert look(watch, 15.9, DOWN) == []
    assert look(watch, 16, DOWN) == ["raised dsl 0"]
    assert look(watch, 17, DOWN) == []
    assert look(watch, 20) == []
    assert look(watch, 25, DOWN) == []  # back before it counted as over: the same one still
    assert look(watch, 26) == []
    assert look(watch, 36) == ["recovered dsl 0"]
    assert watch.active() == []


def test_there_are_so_many_an_hour_and_the_rest_is_counted() -> None:
    watch = Watch()
    many = [Alert("uplink", str(number), "warning", "") for number in range(5)]
    look(watch, 0, *many, hourly_max=2)
    assert look(watch, 10, *many, hourly_max=2) == ["raised 0 0", "raised 1 0"]
    assert look(watch, 11, *many, hourly_max=2) == []
    assert look(watch, 12, *many[1:4], hourly_max=2) == []
    assert look(watch, 30, *many[1:4], hourly_max=2) == ["recovered 0 0"]
    assert look(watch, 3610, *many[1:4], hourly_max=2) == ["raised 2 1", "raised 3 0"]


def test_strangers_cannot_make_it_grow() -> None:
    watch = Watch()
    look(watch, 0, *(Alert("rival", str(number), "error", "") for number in range(1000)))
    assert len(watch.active()) == 256


class Hook:
    """A web server that answers with the statuses it is given, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.heard: list[tuple[Mapping[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            self.heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
            code = self.statuses.pop(0) if self.statuses else 200
            extra = "Location: http://127.0.0.1:1/\r\n" if code == 302 else ""
            phrase = HTTPStatus(code).phrase
            writer.write(f"HTTP/1.1 {code} {phrase}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


def run(hook: Hook, retry_s: tuple[float, ...], until: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Have a line go down and come back until the hook heard so often; return the document about it."""
    now: list[dict[str, Any]] = [status()]
    found: list[dict[str, Any]] = []

    async def scenario() -> None:
        server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        webhook = WebhookIntent("ops", f"http://127.0.0.1:{port}/T000/secret-path", "correct-horse")
        told = Alerts(lambda: now[-1], lambda: AlertsIntent((webhook,), after_s=0.0), retry_s)
        async with server, asyncio.timeout(30), asyncio.TaskGroup() as group:
            watching = group.create_task(told.run())
            await asyncio.sleep(0.05)
            bad = status()
            bad["uplinks"][0] |= {"state": "down", "reason": "no carrier"}
            now.append(bad)
            while len(hook.heard) < until or told.document()["webhooks"][0]["waiting"]:
                if any(b'"raised"' in body for _, body in hook.heard) and not hook.statuses:
                    now.append(status())
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            found.append(told.document())
            watching.cancel()

    asyncio.run(scenario())
    assert "secret-path" not in json.dumps(found) + "".join(capsys.readouterr())
    return found[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LOOK_S", 0.02)


def test_a_webhook_hears_of_it_and_of_its_end_signed(capsys: pytest.CaptureFixture[str]) -> None:
    hook = Hook()
    found = run(hook, (), 2, capsys)
    events = [json.loads(body) for _, body in hook.heard]
    assert [(each["event"], each["subject"]) for each in events] == [("raised", "dsl"), ("recovered", "dsl")]
    assert events[0]["text"] == "Uplink dsl is down: no carrier"
    assert (events[0]["schema"], events[0]["role"], events[0]["severity"]) == (1, "cpe", "warning")
    headers, body = hook.heard[0]
    expected = hmac.new(b"correct-horse", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE.lower()] == f"sha256={expected}"
    assert (found["webhooks"][0]["delivered"], found["webhooks"][0]["failed"]) == (2, 0)
    assert found["webhooks"][0]["host"] == "127.0.0.1"


def test_a_webhook_that_fails_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    hook = Hook(500, 503)
    run(hook, (0.01, 0.01), 3, capsys)
    assert [json.loads(body)["event"] for _, body in hook.heard[:3]] == ["raised"] * 3


def test_it_is_given_up_at_last_and_redirections_are_not_followed(capsys: pytest.CaptureFixture[str]) -> None:
    hook = Hook(302, 500)
    found = run(hook, (0.01,), 2, capsys)
    assert (found["webhooks"][0]["failed"], found["webhooks"][0]["reason"]) == (1, "127.0.0.1 answered 500")


def test_secrets_are_masked_where_configurations_are_shown() -> None:
    text = """alerts:
  webhooks:
    - {name: ops, url: "https://hooks.example.net/T000/B000", secret: correct-horse}
    - name: other
      url: https://chat.example.net/hook?token=abc
      secret: "battery staple"
"""
    shown = masked(text)
    for hidden in ("T000", "correct-horse", "token=abc", "battery"):
        assert hidden not in shown
    assert "https://hooks.example.net/" in shown
    assert masked(text.replace("B000", "B001")) != shown
