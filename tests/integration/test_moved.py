"""A line gets another address, gateway, prefix or interface in mid-transfer: the transfer goes on, with the line.

The line is `wifi`, the quickest: what is said about it over the others arrives after what is said over itself.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ends import Ends
from plane_lab import INET, figures, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Stream, Streams

pytestmark = [pytest.mark.netns, pytest.mark.slow]

OLD4, OLD6, OTHER6 = "192.168.3.2", "2001:db8:3::2", "2001:db8:33::2"
GATEWAY4, GATEWAY6 = "192.168.3.1", "2001:db8:3::1"
CARRIES_BYTES = 30_000
PATIENCE_S = 20.0


@pytest.fixture(scope="module", params=[4, 6])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose wifi line is an interface that can be made anew; the gateway is known by one family."""
    with own_lab(f"moved{request.param}", hagw=False) as made:
        made.family = request.param  # type: ignore[attr-defined]  # for the tests of this module
        _sh(
            made,
            "cpe",
            "ip link set wifi0 down",
            "ip link set wifi0 name radio",
            "ip address flush dev radio",
            "ip link set radio up",
        )
        _add_interface(made)
        _sh(made, "core", "ip route add 2001:db8:33::/64 via 2001:db8:13::2")
        _sh(made, "isp-wifi", "ip address add 2001:db8:33::1/64 dev cpe0 nodad", "nft flush chain inet isp forward")
        made.hagw_start("hag")
        wanted = yaml.safe_load(made.config("cpe"))
        keep = {4: ":", 6: "."}[request.param]
        addresses = wanted["gateways"][0]["addresses"]
        wanted["gateways"][0]["addresses"] = [address for address in addresses if keep not in address]
        file: Path = tmp_path_factory.mktemp("config") / "cpe.yaml"
        file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        made.apply("cpe", file)
        made.hagw_start("cpe")
        yield made


@pytest.fixture
def home(lab: Lab) -> Iterator[None]:
    """Whatever a test did to the line, the next one finds it as it was."""
    yield
    _sh(
        lab,
        "isp-wifi",
        f"ip address replace {GATEWAY4}/24 dev cpe0",
        "ip address del 192.168.3.254/24 dev cpe0 || true",
    )
    _remove_interface(lab)
    _add_interface(lab)
    time.sleep(1.0)


def _sh(lab: Lab, node: str, *lines: str) -> None:
    lab.run(node, ["sh", "-ec", "\n".join(lines)], check=True)


def _add_interface(lab: Lab, four: str = OLD4, six: str = OLD6) -> None:
    _sh(
        lab,
        "cpe",
        "ip link add wifi0 link radio type macvlan mode bridge",
        "ip link set wifi0 up",
        f"ip address add {four}/24 dev wifi0",
        f"ip address add {six}/64 dev wifi0 nodad",
        f"ip route add default via {GATEWAY4} dev wifi0 metric 200",
        f"ip route add default via {GATEWAY6} dev wifi0 metric 200",
    )


def _remove_interface(lab: Lab) -> None:
    _sh(lab, "cpe", "ip link del wifi0")


def _carried_from(lab: Lab, address: str) -> dict[str, int]:
    """Return what each of the CPE's living subflows from an address has received, by its own end.

    A connection's first subflow is kept by the kernel, closing, until the connection ends.
    """
    shown = lab.run(
        "cpe",
        ["ss", "-Htni", "state", "established", "src", f"[{address}]" if ":" in address else address],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, int] = {}
    for line in shown.splitlines():
        if not line[:1].isspace():
            found[end := line.split()[2]] = 0
        for word in line.split():
            if word.startswith("bytes_received:"):
                found[end] = int(word.partition(":")[2])
    return found


def _carries(lab: Lab, address: str, before: dict[str, int]) -> bool:
    """Say whether some subflow has received much that it had not before."""
    return any(size - before.get(end, 0) > CARRIES_BYTES for end, size in _carried_from(lab, address).items())


def _moved(lab: Lab, stream: Stream, what: str, address: str, *lines: str) -> tuple[float, float]:
    """Change the line as `lines` say; return when it carried again and the transfer's longest gap, both in ms."""
    before = _carried_from(lab, address)
    begun_s = stream.elapsed_s()
    _sh(lab, "cpe", *lines)
    began = time.monotonic()
    until(lambda: _carries(lab, address, before), PATIENCE_S, every_s=0.02)
    back_ms = 1000 * (time.monotonic() - began)
    time.sleep(0.7)
    gap_ms = 1000 * stream.meter.longest_gap_s(begun_s, stream.elapsed_s())
    assert stream.is_alive(), what
    return back_ms, gap_ms


def _judge(lab: Lab, what: str, moves: list[tuple[float, float]], within_ms: float = 1000) -> None:
    family = lab.family  # type: ignore[attr-defined]
    figures(f"IPv{family}: {what}: line carries again after", "ms", [back for back, _ in moves])
    figures(f"IPv{family}: {what}: gap", "ms", [gap for _, gap in moves])
    assert max(back for back, _ in moves) < within_ms
    assert max(gap for _, gap in moves) < within_ms


def _download(lab: Lab, streams: Streams, address: str = "") -> Stream:
    stream = streams.download("lan1", INET[4])
    until(lambda: _carries(lab, address or _present(lab), {}), PATIENCE_S)
    return stream


def _present(lab: Lab) -> str:
    """Return the line's present address of the family that subflows use."""
    family = lab.family  # type: ignore[attr-defined]
    shown = lab.run(
        "cpe", ["ip", f"-{family}", "-br", "address", "show", "wifi0", "scope", "global"], capture_output=True
    )
    return str(shown.stdout.decode().split()[2].split("/")[0])


def test_another_address_on_the_same_interface(lab: Lab, streams: Streams, home: None) -> None:
    """As a DHCP client does it: the old one goes, the new one comes, the route is set again."""
    four = lab.family == 4  # type: ignore[attr-defined]
    stream = _download(lab, streams)
    old, moves = (OLD4 if four else OLD6), []
    for number in range(4):
        new = f"192.168.3.{20 + number}" if four else f"2001:db8:3::{20 + number}"
        size, gateway = ("24", GATEWAY4) if four else ("64 nodad", GATEWAY6)
        lines = (
            f"ip address del {old}/{size.split()[0]} dev wifi0",
            f"ip address add {new}/{size.split()[0]} dev wifi0 {' '.join(size.split()[1:])}",
            f"ip route replace default via {gateway} dev wifi0 metric 200",
        )
        moves.append(_moved(lab, stream, "address", new, *lines))
        old = new
    stream.stop()
    _judge(lab, "another address", moves)


def test_another_gateway(lab: Lab, streams: Streams, home: None) -> None:
    if lab.family == 6:  # type: ignore[attr-defined]
        new, change = "2001:db8:33::1", "ip -6 route replace default via 2001:db8:33::1 dev wifi0 metric 200"
        _sh(lab, "cpe", f"ip address add {OTHER6}/64 dev wifi0 nodad preferred_lft 0")
        address = OLD6
    else:
        new, change = "192.168.3.254", "ip route replace default via 192.168.3.254 dev wifi0 metric 200"
        _sh(lab, "isp-wifi", "ip address add 192.168.3.254/24 dev cpe0")
        address = OLD4
    stream = _download(lab, streams, address)
    family = str(lab.family)  # type: ignore[attr-defined]
    _sh(lab, "cpe", change)
    began = time.monotonic()

    def follows() -> bool:
        shown = lab.run("cpe", ["ip", f"-{family}", "route", "show", "table", "5103"], capture_output=True, check=True)
        return new in shown.stdout.decode()

    took_ms = 1000 * until(follows, PATIENCE_S, every_s=0.005)
    before = _carried_from(lab, address)
    until(lambda: _carries(lab, address, before), PATIENCE_S)
    print(
        f"IPv{family}: another gateway: followed after {took_ms:.0f} ms, {1000 * (time.monotonic() - began):.0f} in all"
    )
    assert took_ms < 1000
    assert stream.is_alive()
    stream.stop()


def test_an_interface_made_anew(lab: Lab, streams: Streams, home: None) -> None:
    """Same name, same address, another number; as a modem that is plugged in again, or a PPP session."""
    stream = _download(lab, streams)
    address = _present(lab)
    moves = []
    for _ in range(3):
        begun_s, before = stream.elapsed_s(), _carried_from(lab, address)
        _remove_interface(lab)
        _add_interface(lab)
        began = time.monotonic()
        until(lambda: _carries(lab, address, before), PATIENCE_S, every_s=0.02)  # noqa: B023
        back_ms = 1000 * (time.monotonic() - began)
        time.sleep(0.7)
        moves.append((back_ms, 1000 * stream.meter.longest_gap_s(begun_s, stream.elapsed_s())))
        assert stream.is_alive()
    stream.stop()
    _judge(lab, "an interface made anew", moves)


def test_another_ipv6_prefix(lab: Lab, streams: Streams, home: None) -> None:
    """The provider's router announces a new prefix and lets the old one expire, first for new connections."""
    if lab.family == 4:  # type: ignore[attr-defined]
        stream = _download(lab, streams)
        _sh(lab, "cpe", f"ip address add {OTHER6}/64 dev wifi0 nodad", f"ip address del {OLD6}/64 dev wifi0")
        time.sleep(1.0)
        assert stream.is_alive()
        stream.stop()
        return
    stream = _download(lab, streams)
    lines = (
        f"ip address change {OLD6}/64 dev wifi0 preferred_lft 0",
        f"ip address add {OTHER6}/64 dev wifi0 nodad",
    )
    moves = [_moved(lab, stream, "prefix", OTHER6, *lines)]
    _sh(lab, "cpe", f"ip address del {OLD6}/64 dev wifi0")
    time.sleep(0.5)
    lines = (
        f"ip address change {OTHER6}/64 dev wifi0 preferred_lft 0",
        f"ip address add {OLD6}/64 dev wifi0 nodad",
        f"ip address del {OTHER6}/64 dev wifi0",
    )
    moves.append(_moved(lab, stream, "prefix", OLD6, *lines))
    stream.stop()
    _judge(lab, "another prefix", moves)


def test_another_address_of_the_only_line_that_works(lab: Lab, streams: Streams, home: None) -> None:
    four = lab.family == 4  # type: ignore[attr-defined]
    with lab.links_restored():
        for other in ("dsl", "lte"):
            lab.link(other, carrier="off")
        time.sleep(0.5)
        stream = _download(lab, streams)
        old = OLD4 if four else OLD6
        size, gateway = ("24", GATEWAY4) if four else ("64", GATEWAY6)
        moves = []
        for number in range(4):
            new = f"192.168.3.{30 + number}" if four else f"2001:db8:3::{30 + number}"
            lines = (
                f"ip address del {old}/{size} dev wifi0",
                f"ip address add {new}/{size} dev wifi0 {'' if four else 'nodad'}",
                f"ip route replace default via {gateway} dev wifi0 metric 200",
            )
            moves.append(_moved(lab, stream, "address", new, *lines))
            old = new
        stream.stop()
    _judge(lab, "another address of the only line", moves, within_ms=2000)  # nothing can say over it that it is gone


def test_nothing_is_left_of_all_that(lab: Lab) -> None:
    """Comes last: subflows came and went, connections did not.

    What the kernels still want to say from or to an address that is gone they give up by themselves, minutes later; a
    join that was asked for from there, after the 63 s of `net.ipv4.tcp_synack_retries`.
    """
    ends = Ends(lab)
    deadline = time.monotonic() + 75.0
    while left := [line for line in ends.left() if not ("FIN-WAIT-1" in line or "LAST-ACK" in line)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert not [flow for flow in ends.flows() if flow["path"] != "converted"]
