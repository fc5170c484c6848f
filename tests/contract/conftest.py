"""Namespaces that end with the test that asked for them."""

from collections.abc import Callable, Iterator

import pytest
from namespaces import Namespace


@pytest.fixture
def namespace() -> Iterator[Callable[[str], Namespace]]:
    made: list[Namespace] = []

    def make(label: str) -> Namespace:
        made.append(Namespace(label))
        return made[-1]

    yield make
    for each in made:
        each.remove()
