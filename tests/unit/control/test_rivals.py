"""What interferes is shown always and logged once, until it goes and comes back."""

import asyncio
from dataclasses import replace

import pytest

from hagw.control.rivals import RivalWatch
from hagw.control.status import status_document
from hagw.model.finding import Finding
from tests.fakes import STATUS_INPUTS
from tests.logs import listening

MPTCPD = Finding("rival.mptcpd", "warning", "mptcpd runs.", "Stop it.")
DOCKER = Finding("rival.docker", "warning", "Docker is here.", "Allow the LAN.")


class Over(Exception):
    """The story is told."""


def test_each_rival_is_logged_once_and_told_every_time() -> None:
    scenes = [(MPTCPD,), (MPTCPD, DOCKER), (DOCKER,), (MPTCPD, DOCKER)]
    told: list[tuple[Finding, ...]] = []

    def look() -> tuple[Finding, ...]:
        if len(told) == len(scenes):
            raise Over
        return scenes[len(told)]

    with listening() as logs, pytest.raises(Over):
        asyncio.run(RivalWatch(look, told.append, every_s=0.0).run())
    assert told == scenes
    assert [entry["finding"] for entry in logs] == ["rival.mptcpd", "rival.docker", "rival.mptcpd"]


def test_rivals_are_in_the_status() -> None:
    assert status_document(STATUS_INPUTS)["rivals"] == []
    (shown,) = status_document(replace(STATUS_INPUTS, rivals=(MPTCPD,)))["rivals"]
    assert shown == {"id": "rival.mptcpd", "severity": "warning", "found": "mptcpd runs.", "act": "Stop it."}
