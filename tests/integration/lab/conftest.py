"""One lab without hagw for the tests of the lab itself; its links are put back after each test."""

import os
from collections.abc import Iterator

import pytest

from hagw.lab.lab import Lab


@pytest.fixture(scope="module")
def network() -> Iterator[Lab]:
    lab = Lab(f"test-{os.getpid()}")
    try:
        lab.up(hagw=False)
        yield lab
    finally:
        lab.down()


@pytest.fixture
def lab(network: Lab) -> Iterator[Lab]:
    with network.links_restored():
        yield network
