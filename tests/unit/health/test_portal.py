"""Captive portals: what an HTTP answer means, when one is looked for, and what the line then says."""

import pytest
from fleet_world import SimLine, World

from hagw.health.link import Link
from hagw.health.portal import PortalAnswer, PortalWatch, judge, request
from hagw.model.intent import PortalIntent

URL = "http://198.51.100.10/"
PORTAL = PortalAnswer("portal", "http://login.example/")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", PortalAnswer("clean")),
        (b"HTTP/1.1 302 Found\r\nlocation: http://login.example/?a=b\r\n\r\n", "http://login.example/?a=b"),
        (b"HTTP/1.0 307 \r\nServer: x\r\nLocation: /guest\r\n\r\n", "http://198.51.100.10/guest"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>please log in", URL),
        (b"HTTP/1.1 511 Network Authentication Required\r\n\r\n", URL),
        (b"HTTP/1.1 503 Busy\r\n\r\n", PortalAnswer("unclear")),
        (b"", PortalAnswer("unclear")),
        (b"SSH-2.0-OpenSSH\r\n", PortalAnswer("unclear")),
        (b"HTTP/1.1 abc\r\n\r\n", PortalAnswer("unclear")),
    ],
)
def test_what_an_answer_means(answer: bytes, found: PortalAnswer | str) -> None:
    wanted = PortalAnswer("portal", found) if isinstance(found, str) else found
    assert judge(answer, PortalIntent(), URL) == wanted


def test_a_configured_text_has_to_be_the_answers() -> None:
    page = PortalIntent(url="http://probe.example/ok", status=200, body="success")
    assert judge(b"HTTP/1.1 200 OK\r\n\r\nsuccess\n", page, "http://probe.example/ok").verdict == "clean"
    assert judge(b"HTTP/1.1 200 OK\r\n\r\nwelcome\n", page, "http://probe.example/ok").verdict == "portal"


def test_what_a_portal_says_cannot_break_a_line_of_output() -> None:
    location = b"http://x/" + b"\x1b[31m \x07" + b"a" * 500
    found = judge(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n", PortalIntent(), URL)
    assert found.where.isprintable()
    assert len(found.where) <= 200


def test_the_request_names_host_and_path() -> None:
    assert request("http://h.example:8080/a/b?c=d").startswith(b"GET /a/b?c=d HTTP/1.1\r\nHost: h.example:8080\r\n")
    assert request("http://[2001:db8::1]").startswith(b"GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n")


def test_it_is_looked_for_ever_less_often_until_one_is_seen() -> None:
    watch, looked, now = PortalWatch(0.0), [], 0.0
    while now < 4000.0:
        now += 1.0
        if watch.is_due(5, 0.0, False, now):
            looked.append(now)
    assert looked[0] <= 2.0
    assert len(looked) <= 12
    watch.seen(metered=False, now=now)
    again = next(t for t in range(1, 100) if watch.is_due(0, 0.0, True, now + t))
    assert again == 15


def test_echoes_that_come_back_need_no_look() -> None:
    assert not PortalWatch(0.0).is_due(0, 0.0, False, 100.0)
    assert not PortalWatch(0.0).is_due(2, 0.0, False, 100.0)


def world() -> World:
    made = World(1, dsl=SimLine(kind="dsl"), wifi=SimLine(kind="wifi", dead_up=True))
    made.run(3.0)
    return made


def test_a_line_behind_a_portal_is_down_and_says_where() -> None:
    w = world()
    w.fleet.portal_answered("wifi", PORTAL, w.now)
    health = w.fleet.uplinks()["wifi"]
    assert (health.state, health.reason) == ("down", "captive portal at http://login.example/")
    w.run(30.0)
    assert w.fleet.uplinks()["wifi"].reason == "captive portal at http://login.example/"
    w.lines["wifi"].heal()
    w.until(lambda: w.state("wifi") == "up", 3.0)


def test_the_only_line_stays_in_use_behind_a_portal_so_that_somebody_can_log_in() -> None:
    w = World(1, wifi=SimLine(kind="wifi", dead_up=True, load="chat"))
    w.run(3.0)
    w.fleet.portal_answered("wifi", PORTAL, w.now)
    w.run(60.0)
    health = w.fleet.uplinks()["wifi"]
    told = "captive portal at http://login.example/, and no other line is left"
    assert (health.state, health.reason) == ("suspect", told)
    w.lines["wifi"].heal()
    w.until(lambda: w.state("wifi") == "up", 3.0)


def test_a_line_behind_a_portal_is_used_only_while_no_other_one_works() -> None:
    w = world()
    w.fleet.portal_answered("wifi", PORTAL, w.now)
    w.run(1.0)
    assert w.state("wifi") == "down"
    w.fleet.link_changed("dsl", Link(carrier=False), w.now)
    w.run(1.0)
    assert w.state("wifi") == "suspect"
    w.fleet.link_changed("dsl", Link(), w.now)
    w.until(lambda: w.state("dsl") == "up", 10.0)
    w.run(1.0)
    assert (w.state("wifi"), w.fleet.uplinks()["wifi"].reason) == ("down", "captive portal at http://login.example/")


def test_a_portal_that_is_gone_leaves_the_line_to_its_echoes() -> None:
    w = world()
    w.fleet.portal_answered("wifi", PORTAL, w.now)
    w.fleet.portal_answered("wifi", PortalAnswer("unclear"), w.now)
    assert w.state("wifi") == "down"
    w.fleet.portal_answered("wifi", PortalAnswer("clean"), w.now)
    assert w.state("wifi") == "suspect"


def test_an_answer_that_comes_after_the_echoes_is_too_late() -> None:
    w = world()
    w.fleet.portal_answered("dsl", PORTAL, w.now)
    assert w.state("dsl") == "up"
