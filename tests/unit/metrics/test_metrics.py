"""What Prometheus reads: complete, in its format, with units in the names, and nothing about flows."""

import asyncio
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hagw.control.status import status_document
from hagw.metrics.listener import MetricsListener
from hagw.metrics.reference import page
from hagw.metrics.table import BOND_STATES, METRICS, UPLINK_STATES
from hagw.metrics.text import text
from hagw.probe.mib import mptcp_counters, parse
from tests.fakes import STATUS_INPUTS
from tests.unit import docs

UNITS = ("_seconds", "_bytes", "_ratio", "_bits_per_second", "_total", "_connections")
COUNTED = {"MPJoinSynTx": 7, "MPCurrEstab": 3}


def document(**more: Any) -> dict[str, Any]:
    return {**status_document(STATUS_INPUTS), "mib": COUNTED, **more}


def samples(found: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return values by name and labels, these in the order of their names."""
    families = text_string_to_metric_families(text(found).decode())
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_a_cpe_tells_its_lines_states_and_the_kernels_counters() -> None:
    found = samples(document())
    assert found["hagw_info", ("cpe", "0.1.0")] == 1
    assert sum(found["hagw_state", (state,)] for state in BOND_STATES) == 1
    for line in ("dsl", "lte"):
        assert sum(found["hagw_uplink_state", (state, line)] for state in UPLINK_STATES) == 1
    assert found["hagw_uplink_rtt_seconds", ("dsl",)] == pytest.approx(0.024)
    assert found["hagw_mptcp_mib_total", ("MPJoinSynTx",)] == 7
    assert found["hagw_mptcp_connections", ()] == 3
    assert ("hagw_mptcp_mib_total", ("MPCurrEstab",)) not in found


def test_what_is_unknown_is_left_out() -> None:
    before = document()
    before["uplinks"][0] |= {"rtt_ms": None, "bytes_down": None}
    before["workers"] = [{"index": 0, "listening": False, "starts": 1, "reason": "", "stats": {}}]
    found = samples(before)
    assert ("hagw_uplink_rtt_seconds", ("dsl",)) not in found
    assert ("hagw_uplink_bytes_total", ("down", "dsl")) not in found
    assert found["hagw_worker_up", ("0",)] == 0
    assert ("hagw_worker_flows_total", ("0",)) not in found


def test_a_hag_tells_who_was_turned_away() -> None:
    stats = {"flows_total": 5, "crowded": 2, "shut_out": 1, "memory_kb": 1000, "bytes_down": 10, "bytes_up": 20}
    worker = {"index": 1, "listening": True, "starts": 1, "reason": "", "stats": stats}
    found = samples(document(role="hag", uplinks=[], gateways=[], firewall=None, workers=[worker]))
    assert found["hagw_worker_turned_away_total", ("crowded", "1")] == 2
    assert found["hagw_worker_memory_bytes", ("1",)] == 1_024_000
    assert found["hagw_worker_payload_bytes_total", ("up", "1")] == 20


def test_names_have_their_units_and_labels_are_few() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"hagw_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ms|bps|kb|percent)$", metric.name)
        assert not {"flow", "client", "server", "domain", "address", "customer"} & set(metric.labels)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {unit for unit in UNITS for metric in METRICS if metric.name.endswith(unit)} == set(UNITS)


def test_every_metric_told_is_in_the_list_and_the_list_is_the_documents() -> None:
    told = {name for name, _ in samples(document())}
    assert told <= {metric.name for metric in METRICS}
    assert docs.text("docs/metrics.md") == page(), "run: python -m hagw.metrics.reference > docs/metrics.md"


def test_the_kernels_counters_are_read_by_name() -> None:
    lines = "TcpExt: A B\nTcpExt: 1 2\nMPTcpExt: MPJoinSynTx MPCurrEstab\nMPTcpExt: 7 3\n"
    assert parse(lines) == COUNTED
    assert parse("TcpExt: A\nTcpExt: 1\n") == {}
    assert all(value >= 0 for value in mptcp_counters().values())


async def _ask(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request}\r\nHost: x\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_scraper_reads_them_without_a_login_where_the_configuration_says(unused_port: int) -> None:
    where: list[tuple[tuple[str, ...], int]] = [((), unused_port), (("127.0.0.1",), unused_port)]

    async def scenario() -> None:
        listener = MetricsListener(document, lambda: where[-1])
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            serving = group.create_task(listener.run())
            while True:
                try:
                    answer = await _ask(unused_port, "GET /metrics HTTP/1.1")
                    break
                except OSError:
                    await asyncio.sleep(0.05)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"text/plain; version=0.0.4" in head
            assert b"hagw_info{" in body
            for request, status in (
                ("GET /api/v1/users HTTP/1.1", b"404"),
                ("POST /metrics HTTP/1.1", b"405"),
                ("nonsense", b"405"),
                (f"GET /{'a' * 20_000} HTTP/1.1", b""),
            ):
                assert (await _ask(unused_port, request))[9:12] == status, request
            where.append(((), unused_port))
            while True:
                try:
                    await _ask(unused_port, "GET /metrics HTTP/1.1")
                    await asyncio.sleep(0.05)
                except OSError:
                    break
            serving.cancel()

    asyncio.run(scenario())


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
