"""A run's bytes are proven by what the kernel counted on Multipath TCP subflows."""

from hagw.lab.bench.proof import proof, subflow_bytes

# As iproute2 6.1 prints it: a subflow over IPv4, one over IPv6, and a connection that fell back to plain TCP.
SHOWN = """\
ESTAB 0      0              198.18.1.2:41000 198.51.100.10:5124
\t cubic bytes_acked:901 bytes_received:70000000 tcp-ulp-mptcp flags:Mmec token:0000(id:0)/1f(id:0)
ESTAB 0      0      [2001:db8:2::2]%lte0:41001 [2001:db8:100::10]:5124
\t cubic bytes_acked:50 bytes_received:30000000 tcp-ulp-mptcp flags:Jj token:0000(id:1)/1f(id:2)
ESTAB 0      0              198.18.1.2:41002 198.51.100.10:5124
\t cubic bytes_acked:50 bytes_received:90000000 segs_out:9
"""


def test_only_subflows_count() -> None:
    assert subflow_bytes(SHOWN, "down") == {"198.18.1.2:41000": 70_000_000, "[2001:db8:2::2]%lte0:41001": 30_000_000}
    assert subflow_bytes(SHOWN, "up") == {"198.18.1.2:41000": 901, "[2001:db8:2::2]%lte0:41001": 50}


def test_what_a_warm_connection_had_carried_before_does_not_count() -> None:
    found = proof({"198.18.1.2:41000": 60_000_000}, subflow_bytes(SHOWN, "down"), 40_000_000)
    assert found.mptcp_bytes == 40_000_000
    assert found.by_address == {"198.18.1.2": 10_000_000, "2001:db8:2::2": 30_000_000}
    assert found.holds


def test_bytes_that_took_another_way_are_not_proven() -> None:
    assert not proof({}, subflow_bytes(SHOWN, "down"), 190_000_000).holds
    assert not proof({}, {}, 1).holds
    assert not proof({}, {}, 0).holds
    assert "53 % of what arrived" in str(proof({}, subflow_bytes(SHOWN, "down"), 190_000_000))
