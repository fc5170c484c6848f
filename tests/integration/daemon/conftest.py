"""One lab with hagw on both ends for the tests of the daemon in it."""

import os
from collections.abc import Iterator

import pytest

from hagw.lab.lab import Lab


@pytest.fixture(scope="module")
def network() -> Iterator[Lab]:
    lab = Lab(f"daemon-{os.getpid()}")
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def lab(network: Lab) -> Iterator[Lab]:
    """The lab with working links and hagw on both ends, whatever the test before did."""
    network.hagw_start("hag")
    network.hagw_start("cpe")
    with network.links_restored():
        yield network
