"""Log lines as people and programs read them."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.log import ROOT, line, log_of, set_up


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(ROOT)
    before = (root.handlers[:], root.level, ours.handlers[:], ours.level)
    root.handlers.clear()  # pytest's own stay open
    yield
    root.handlers[:], root.level, ours.handlers[:], ours.level = before


def test_an_event_is_one_line_with_time_level_and_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up()
    log_of("hagw.trial").info("uplink changed", uplink="dsl", reason="no 'carrier', \"x\"\n=", works=False, port=None)
    said = capsys.readouterr().err
    assert said.startswith("timestamp=2")
    at, _, rest = said.partition(" ")
    assert at.endswith("Z")
    assert rest == (
        'level=info event="uplink changed" uplink=dsl reason="no \'carrier\', \\"x\\"\\n=" works=false port=\n'
    )


def test_a_tap_hears_our_events_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Mapping[str, Any]] = []
    set_up(heard.append)
    log_of("hagw.trial").warning("100 % told", event_of="x")
    logging.getLogger("asyncio").warning("slow %s", "loop")
    logging.getLogger("asyncio").info("unheard")
    assert heard == [{"event": "100 % told", "event_of": "x"}]
    lines = capsys.readouterr().err.splitlines()
    assert [said.partition(" ")[2] for said in lines] == [
        'level=warning event="100 % told" event_of=x',
        'level=warning event="slow loop"',
    ]


def test_an_exceptions_way_is_told_in_the_same_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    try:
        raise ValueError("here")
    except ValueError as why:
        log_of("hagw.trial").error("daemon crashed", exc_info=why)
    (said,) = capsys.readouterr().err.splitlines()
    assert "Traceback" in said
    assert 'ValueError: here"' in said


@given(st.text(), st.text())
def test_no_value_breaks_out_of_its_line_or_field(first: str, second: str) -> None:
    said = line({"a": first, "b": second})
    field = r'(?:[^ ="\r\n]*|"(?:[^"\\\r\n]|\\.)*")'
    assert re.fullmatch(f"a={field} b={field}", said)
