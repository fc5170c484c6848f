"""The firewall rules by which the bench makes faults are such as this system's nft takes."""

from collections.abc import Callable

import pytest
from namespaces import Namespace

from hagw.lab.bench.faults import FILTERS

pytestmark = pytest.mark.netns


def test_every_filter_of_a_fault_is_taken(namespace: Callable[[str], Namespace]) -> None:
    router = namespace("filters")
    for name, (_, chains) in FILTERS.items():
        router.run("nft", f"table inet fault {{\n{chains}}}")
        assert "chain" in router.run("nft", "list", "table", "inet", "fault"), name
        router.run("nft", "delete", "table", "inet", "fault")
