"""Interface counters as IP bytes and rates."""

from pathlib import Path

from hagw.control.counters import InterfaceCount, TrafficMeter, UplinkTraffic, ip_bytes, read_interfaces
from tests.fakes import CPE

TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0
  dsl0:11400 100    0    0    0     0          0         0     1600      50    0    0    0     0       0          0
"""


def test_reads_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "dev"
    table.write_text(TEXT)
    assert read_interfaces(table)["dsl0"] == InterfaceCount(11400, 100, 1600, 50)


def test_the_running_kernels_table_is_understood() -> None:
    assert "lo" in read_interfaces()


def test_the_ethernet_header_is_no_ip_byte() -> None:
    assert ip_bytes("dsl", 11400, 100) == 10000
    assert ip_bytes("wwan", 11400, 100) == 11400


def test_rates_follow_from_two_readings() -> None:
    meter = TrafficMeter(CPE.uplinks)
    meter.feed({"dsl0": InterfaceCount(11400, 100, 0, 0)}, now=10.0)
    assert meter.traffic == {"dsl": UplinkTraffic(10000, 0, None, None)}
    meter.feed({"dsl0": InterfaceCount(22800, 200, 1014, 1)}, now=12.0)
    assert meter.traffic["dsl"] == UplinkTraffic(20000, 1000, 40_000, 4_000)


def test_a_reading_too_soon_is_left_out() -> None:
    meter = TrafficMeter(CPE.uplinks)
    meter.feed({"dsl0": InterfaceCount(114, 1, 0, 0)}, now=10.0)
    meter.feed({"dsl0": InterfaceCount(114000, 1, 0, 0)}, now=10.1)
    assert meter.traffic["dsl"].bytes_down == 100


def test_an_interface_made_anew_has_no_rate_yet() -> None:
    meter = TrafficMeter(CPE.uplinks)
    meter.feed({"dsl0": InterfaceCount(11400, 100, 0, 0)}, now=10.0)
    meter.feed({"dsl0": InterfaceCount(114, 1, 0, 0)}, now=11.0)
    assert meter.traffic["dsl"] == UplinkTraffic(100, 0, None, None)
