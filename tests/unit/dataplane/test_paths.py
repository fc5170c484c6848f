"""The subflows of a connection against a scripted kernel: what is asked of it, when, and what is tried again."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise

import pytest

from hagw.dataplane.flows import timeline
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP, SubflowInfo
from hagw.dataplane.paths import BACKOFF_MAX_S, JOIN_TIMEOUT_S, RETRY_UNACKED_S, Carried, Paths, UplinkTable
from hagw.health.stripping import MptcpBook
from hagw.model.ids import address_id, other_address_id
from hagw.model.intent import IPAddress
from hagw.model.snapshot import UplinkView

REMOTE = (ip_address("198.51.100.10"), 5124)
REMOTE6 = (ip_address("2001:db8:100::10"), 5124)
DSL = UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", "2001:db8::1", "up")
LTE = UplinkView(2, "lte", "lte0", 12, "192.0.2.2", None, "up")
WIFI = UplinkView(3, "wifi", "wifi0", 13, "192.0.2.3", None, "up")
INFO = SubflowInfo(("", 0), (str(REMOTE[0]), REMOTE[1]), 20_000, 18_000, 0, 0, 0, 0, 1400, 8_000_000, False)

Endpoint = tuple[IPAddress, int]


class Kernel:
    """A path manager and its subflows; `failing` maps a local address to the error of its creation."""

    def __init__(self) -> None:
        self.subflows: dict[str, SubflowInfo] = {}
        self.failing: dict[str, int] = {}
        self.withdrawing_fails = False
        self.calls: list[tuple[object, ...]] = []

    def establish(self, local: str, port: int = 40_000, *, acked: int = 0, received: int = 0) -> None:
        self.subflows[local] = replace(INFO, local=(local, port), bytes_acked=acked, bytes_received=received)

    # what the data plane calls

    def read(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        return tuple(self.subflows.values())

    def read_all(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        return tuple(self.subflows.values())

    def sf_create(
        self,
        token: int,
        local_ip: IPAddress,
        local_id: int,
        remote_ip: IPAddress,
        remote_port: int,
        ifindex: int,
        backup: bool = False,
    ) -> None:
        assert (remote_ip, remote_port) in (REMOTE, REMOTE6)
        assert remote_ip.version == local_ip.version
        self.calls.append(("create", str(local_ip), local_id, ifindex, backup))
        if str(local_ip) in self.failing:
            raise OSError(self.failing[str(local_ip)], "scripted")

    def sf_destroy(self, token: int, local: Endpoint, remote: Endpoint) -> None:
        self.calls.append(("destroy", str(local[0]), local[1]))
        self._withdraw()

    def remove(self, token: int, loc_id: int) -> None:
        self.calls.append(("remove", loc_id))
        self._withdraw()

    def set_backup(self, token: int, local: Endpoint, remote: Endpoint, backup: bool) -> None:
        self.calls.append(("backup", str(local[0]), backup))
        self._withdraw()

    def _withdraw(self) -> None:
        if self.withdrawing_fails:
            raise OSError(errno.ENOENT, "scripted")

    def asked(self) -> list[tuple[object, ...]]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as opened:
            opened.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                yield opened


@pytest.fixture
def paths(sock: socket.socket, kernel: Kernel) -> Paths:
    """A connection whose initial subflow left by dsl, allowed on all three."""
    return Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0)  # type: ignore[arg-type]  # a script


def table(*uplinks: UplinkView) -> UplinkTable:
    return UplinkTable(uplinks)


ALL = table(DSL, LTE, WIFI)


def test_every_allowed_line_gets_its_subflow_once(paths: Paths, kernel: Kernel) -> None:
    assert paths.reconcile(ALL, 0.0) is None
    assert sorted(kernel.asked()) == [
        ("create", "192.0.2.2", address_id(2, False), 12, False),
        ("create", "192.0.2.3", address_id(3, False), 13, False),
    ]
    paths.reconcile(ALL, 0.1)
    assert not kernel.asked()


def test_lines_that_are_not_allowed_stay_out(sock: socket.socket, kernel: Kernel) -> None:
    paths = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 3)), 0.0)  # type: ignore[arg-type]
    paths.reconcile(ALL, 0.0)
    assert [call[1] for call in kernel.asked()] == ["192.0.2.3"]


def test_a_line_without_the_family_is_left_alone(sock: socket.socket, kernel: Kernel) -> None:
    paths = Paths(sock, kernel, kernel, REMOTE6, (1, "2001:db8::1"), frozenset((1, 2)), 0.0)  # type: ignore[arg-type]
    paths.reconcile(ALL, 0.0)
    assert not kernel.asked()


def test_a_line_without_the_family_joins_in_the_other(sock: socket.socket, kernel: Kernel) -> None:
    lte6 = replace(LTE, address4=None, address6="2001:db8::2")
    paths = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, other=REMOTE6)  # type: ignore[arg-type]
    paths.reconcile(table(DSL, lte6, WIFI), 0.0)
    assert sorted(kernel.asked()) == [
        ("create", "192.0.2.3", address_id(3, False), 13, False),
        ("create", "2001:db8::2", address_id(2, True), 12, False),
    ]
    # An IPv4 address that comes later is no reason to make it anew; the loss of the one it has is.
    paths.reconcile(table(DSL, replace(lte6, address4="192.0.2.2"), WIFI), 1.0)
    assert not kernel.asked()
    paths.reconcile(ALL, 2.0)
    assert kernel.asked() == [
        ("remove", address_id(2, True)),
        ("create", "192.0.2.2", address_id(2, False), 12, False),
    ]


def test_an_ipv6_sockets_ipv4_subflow_is_named_as_the_kernel_knows_it(paths: Paths, kernel: Kernel) -> None:
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.1")
    kernel.subflows["192.0.2.1"] = replace(kernel.subflows["192.0.2.1"], mapped=True)
    kernel.establish("192.0.2.2")
    paths.observe(0.1)
    kernel.asked()
    paths.reconcile(table(LTE, WIFI), 0.2)
    assert ("destroy", "::ffff:c000:201", 40_000) in kernel.asked()


def test_plain_tcp_has_no_subflows(kernel: Kernel) -> None:
    with socket.socket() as plain:
        paths = Paths(plain, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2)), 0.0)  # type: ignore[arg-type]
        assert not paths.is_multipath
        assert paths.reconcile(ALL, 0.0) is None
    assert not kernel.asked()


def test_before_the_first_acknowledgement_it_is_tried_again_soon(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = dict.fromkeys(("192.0.2.2", "192.0.2.3"), errno.ENOTCONN)
    again = paths.reconcile(ALL, 0.02)
    assert again == 0.02 + RETRY_UNACKED_S
    assert paths.reconcile(ALL, 0.02 + RETRY_UNACKED_S / 2) == again
    assert len(kernel.asked()) == 2
    kernel.failing.clear()
    assert paths.reconcile(ALL, again) is None
    assert len(kernel.asked()) == 2


def test_a_connection_that_is_never_acknowledged_is_not_asked_for_all_the_time(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = dict.fromkeys(("192.0.2.2", "192.0.2.3"), errno.ENOTCONN)
    now: float | None = 0.0
    while now is not None and now < 10.0:
        now = paths.reconcile(ALL, now)
    assert len(kernel.asked()) < 2 * 200


def test_other_failures_are_tried_again_ever_more_rarely(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = {"192.0.2.2": errno.ENETUNREACH}
    waits = []
    now = 0.0
    for _ in range(10):
        again = paths.reconcile(ALL, now)
        assert again is not None
        waits.append(again - now)
        now = again
    assert waits[0] == 0.25
    assert all(later == min(2 * sooner, BACKOFF_MAX_S) for sooner, later in pairwise(waits))


def test_a_lost_line_is_withdrawn_at_both_ends(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        kernel.establish(local, 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, state="down"), WIFI), 1.0)
    assert kernel.asked() == [("remove", address_id(2, False)), ("destroy", "192.0.2.2", 41_000)]
    paths.reconcile(table(DSL, replace(LTE, state="down"), WIFI), 1.1)
    assert not kernel.asked()


@pytest.mark.parametrize("state", ["suspect", "down", "disabled"])
def test_the_line_of_the_initial_subflow_is_withdrawn_as_address_0(paths: Paths, kernel: Kernel, state: str) -> None:
    kernel.establish("192.0.2.1", 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.2")
    paths.observe(0.1)
    kernel.asked()
    paths.reconcile(table(replace(DSL, state=state), LTE, WIFI), 1.0)  # type: ignore[arg-type]
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 41_000)]
    del kernel.subflows["192.0.2.1"]
    paths.reconcile(ALL, 2.0)
    assert kernel.asked() == [("create", "192.0.2.1", address_id(1, False), 11, False)]


def test_the_line_is_joined_again_at_once_when_it_returns(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = {"192.0.2.2": errno.ENETUNREACH}
    for now in range(6):
        paths.reconcile(ALL, float(now))
    kernel.failing.clear()
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.2")
    paths.reconcile(ALL, 40.0)
    paths.observe(40.1)
    kernel.asked()
    paths.reconcile(table(DSL, WIFI), 41.0)
    del kernel.subflows["192.0.2.2"]
    kernel.asked()
    assert paths.reconcile(ALL, 41.2) is None
    assert kernel.asked() == [("create", "192.0.2.2", other_address_id(2, False), 12, False)]


def test_the_last_line_is_kept(paths: Paths, kernel: Kernel) -> None:
    """Better a subflow on a line in doubt than none: the line may come back, and then nothing is lost."""
    kernel.establish("192.0.2.1")
    paths.reconcile(table(DSL), 0.0)
    paths.reconcile(table(replace(DSL, state="down"), replace(LTE, state="down")), 1.0)
    assert not kernel.asked()
    assert set(paths.paths) == {1}


def test_the_last_line_goes_when_another_is_back(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(table(replace(DSL, state="down")), 1.0)
    again = paths.reconcile(table(replace(DSL, state="down"), LTE), 2.0)
    assert again is not None
    kernel.establish("192.0.2.2")
    paths.reconcile(table(replace(DSL, state="down"), LTE), again)
    paths.reconcile(table(replace(DSL, state="down"), LTE), again + 0.03)
    calls = kernel.asked()
    assert ("remove", 0) in calls
    assert ("create", "192.0.2.2", address_id(2, False), 12, False) in calls


def test_a_new_address_replaces_the_old_one(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local, 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, address4="192.0.2.22"), WIFI), 1.0)
    assert kernel.asked() == [
        ("remove", address_id(2, False)),
        ("destroy", "192.0.2.2", 41_000),
        ("create", "192.0.2.22", other_address_id(2, False), 12, False),
    ]


def test_ids_take_turns_so_that_a_late_withdrawal_does_not_hit_the_new_subflow(paths: Paths, kernel: Kernel) -> None:
    made = []
    for turn in range(4):
        paths.reconcile(table(DSL, replace(LTE, address4=f"192.0.2.2{turn}")), float(turn))
        made += [call[2] for call in kernel.asked() if call[0] == "create"]
    first, other = address_id(2, False), other_address_id(2, False)
    assert made == [first, other, first, other]


def test_an_interface_made_anew_with_the_old_address_needs_a_new_subflow(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", 40_000)
    kernel.establish("192.0.2.2", 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(replace(DSL, ifindex=21), replace(LTE, ifindex=22), WIFI), 1.0)
    assert kernel.asked() == [
        ("remove", 0),
        ("destroy", "192.0.2.1", 40_000),
        ("create", "192.0.2.1", address_id(1, False), 21, False),
        ("remove", address_id(2, False)),
        ("destroy", "192.0.2.2", 41_000),
        ("create", "192.0.2.2", other_address_id(2, False), 22, False),
    ]


def test_a_subflow_that_ended_before_its_address_changed_leaves_no_pair_behind(paths: Paths, kernel: Kernel) -> None:
    """The kernel refuses a known address with another id, and a known id with another address."""
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.2")
    paths.observe(1.0)
    del kernel.subflows["192.0.2.2"]
    paths.observe(2.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, address4="192.0.2.22"), WIFI), 10.0)
    assert kernel.asked() == [
        ("remove", address_id(2, False)),
        ("create", "192.0.2.22", other_address_id(2, False), 12, False),
    ]


def test_a_new_address_of_the_only_line_is_used_although_the_old_one_is_dead(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(table(replace(DSL, address4="192.0.2.11")), 1.0)
    assert [call[0] for call in kernel.asked()] == ["remove", "destroy", "create"]


def test_the_last_subflow_stays_until_another_one_stands(paths: Paths, kernel: Kernel) -> None:
    """A peer that has closed its direction refuses joins: without its only subflow the connection would hang."""
    kernel.establish("192.0.2.1")
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    without_dsl = table(replace(DSL, state="suspect"), LTE, WIFI)
    again = paths.reconcile(without_dsl, 1.0)
    assert again is not None
    assert again - 1.0 < 0.05, "looked at soon"
    assert not kernel.asked(), "the joins are under way"
    kernel.establish("192.0.2.3")
    paths.reconcile(without_dsl, 1.1)
    assert not kernel.asked(), "the peer may still refuse it"
    paths.reconcile(without_dsl, 1.1 + INFO.srtt_us / 1e6)
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 40_000)]


def test_a_replacement_that_never_comes_is_looked_for_ever_more_rarely(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(ALL, 0.0)
    now, looks = 1.0, 0
    while now < 11.0:
        again = paths.reconcile(table(replace(DSL, state="down"), LTE, WIFI), now)
        assert again is not None
        now, looks = again, looks + 1
    assert looks < 40
    assert set(paths.paths) >= {1}


def test_the_kernel_may_have_been_quicker(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.2")
    paths.reconcile(ALL, 0.0)
    kernel.withdrawing_fails = True
    paths.reconcile(table(DSL, WIFI), 1.0)
    assert 2 not in paths.paths


def test_a_join_that_is_not_answered_is_given_up_and_tried_again(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.3")
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.observe(JOIN_TIMEOUT_S)
    paths.reconcile(ALL, JOIN_TIMEOUT_S)
    assert not kernel.asked()
    late = JOIN_TIMEOUT_S + 0.01
    paths.observe(late)
    assert paths.joined() == 2
    again = paths.reconcile(ALL, late)
    assert again == late + 0.25
    paths.reconcile(ALL, again)
    assert kernel.asked() == [("create", "192.0.2.2", address_id(2, False), 12, False)]


def test_a_subflow_that_died_is_joined_again_and_its_bytes_are_kept(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=10, received=20)
    kernel.establish("192.0.2.2", acked=100, received=200)
    paths.reconcile(ALL, 0.0)
    paths.observe(1.0)
    del kernel.subflows["192.0.2.2"]
    paths.observe(2.0)
    assert paths.carried() == {1: Carried(down=20, up=10), 2: Carried(down=200, up=100)}
    kernel.establish("192.0.2.2", 40_001, acked=1, received=2)
    paths.reconcile(ALL, 3.0)
    paths.observe(3.1)
    assert paths.carried()[2] == Carried(down=202, up=101)
    assert paths.by_uplink(ALL)["lte"] == {"down": 202, "up": 101}


def test_a_withheld_line_becomes_a_backup_and_back(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local)
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    kernel.asked()
    paths.withhold({2: "slow"}, 0.2)
    paths.withhold({2: "slow"}, 0.2)
    assert kernel.asked() == [("backup", "192.0.2.2", True)]
    assert [(d["uplink"], d["state"], d["backup"]) for d in paths.documents(ALL)] == [
        ("dsl", "established", False),
        ("lte", "withheld", True),
    ]
    paths.withhold({}, 0.3)
    assert kernel.asked() == [("backup", "192.0.2.2", False)]


def test_what_happens_to_subflows_is_remembered(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local)
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    paths.withhold({2: "slow"}, 0.2)
    paths.withhold({}, 0.3)
    paths.reconcile(table(DSL, replace(LTE, state="suspect", reason="silent")), 0.4)
    del kernel.subflows["192.0.2.1"]
    paths.observe(0.5)
    assert [
        (event["at_s"], event["uplink"], event["event"], event["reason"]) for event in timeline(paths, ALL, 0.1)
    ] == [
        (-0.1, "dsl", "asked", "the connection's first"),
        (-0.1, "lte", "asked", ""),
        (0.0, "dsl", "established", ""),
        (0.0, "lte", "established", ""),
        (0.1, "lte", "withheld", "slow"),
        (0.2, "lte", "released", ""),
        (0.3, "lte", "withdrawn", "suspect: silent"),
        (0.4, "dsl", "lost", ""),
    ]


def test_a_withheld_line_that_returns_joins_as_a_backup(paths: Paths, kernel: Kernel) -> None:
    paths.withheld = {2: "slow"}
    paths.reconcile(table(DSL, LTE), 0.0)
    assert kernel.asked() == [("create", "192.0.2.2", address_id(2, False), 12, True)]


def test_samples_are_what_was_carried_since_the_last_one(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=100, received=1_000)
    paths.samples(paths.observe(0.0), ALL)
    kernel.establish("192.0.2.1", acked=150, received=1_700)
    (sample,) = paths.samples(paths.observe(0.2), ALL)
    assert (sample.uplink, sample.bytes_up, sample.bytes_down) == ("dsl", 50, 700)
    kernel.establish("192.0.2.1", 40_001, acked=5, received=7)  # joined again meanwhile
    (sample,) = paths.samples(paths.observe(0.4), ALL)
    assert (sample.bytes_up, sample.bytes_down) == (5, 7)


def test_the_last_figures_survive_a_reset(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=100, received=1_000)
    paths.observe(0.0)
    kernel.establish("192.0.2.1", acked=0, received=0)
    paths.settle(1.0)
    assert paths.carried()[1] == Carried(down=1_000, up=100)
    kernel.establish("192.0.2.1", acked=300, received=3_000)
    paths.settle(2.0)
    assert paths.carried()[1] == Carried(down=3_000, up=300)


def test_a_resting_connection_has_no_subflow_on_a_metered_line_until_it_is_put_to_work(
    paths: Paths, kernel: Kernel
) -> None:
    uplinks = table(DSL, replace(LTE, metered=True), WIFI)
    paths.resting = True
    paths.reconcile(uplinks, 1.0)
    assert [call[1] for call in kernel.asked()] == [WIFI.address4]
    paths.resting = False
    paths.reconcile(uplinks, 2.0)
    assert [call[1] for call in kernel.asked()] == [LTE.address4]


def test_a_resting_connection_whose_last_unmetered_line_dies_joins_a_metered_one(paths: Paths, kernel: Kernel) -> None:
    lte, wifi = replace(LTE, metered=True), replace(WIFI, metered=True)
    paths.resting = True
    kernel.establish("192.0.2.1")
    paths.observe(0.5)
    paths.reconcile(table(DSL, lte, wifi), 1.0)
    assert not kernel.asked()
    paths.reconcile(table(replace(DSL, state="suspect"), lte, wifi), 2.0)
    assert len([call for call in kernel.asked() if call[0] == "create"]) == 1


def test_the_book_hears_of_joins_that_work_fail_and_are_lost(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, book)  # type: ignore[arg-type]
    kernel.establish("192.0.2.1")
    made.reconcile(table(DSL, LTE, WIFI), 0.0)
    kernel.establish("192.0.2.3")
    made.observe(0.1)
    made.observe(JOIN_TIMEOUT_S + 0.1)
    assert book.document(2)["joins_failed"] == 1
    assert book.document(3)["joins_ok"] == 1
    del kernel.subflows["192.0.2.3"]
    made.observe(4.0)
    assert book.document(3)["joins_lost"] == 0, "the connection may be ending"
    made.observe(5.5)
    assert book.document(3)["joins_lost"] == 1
    assert book.document(1) == MptcpBook().document(1), "the initial subflow was no join"


def test_the_end_of_a_whole_connection_is_no_lost_join(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2)), 0.0, book)  # type: ignore[arg-type]
    kernel.establish("192.0.2.1")
    made.reconcile(table(DSL, LTE), 0.0)
    kernel.establish("192.0.2.2")
    made.observe(0.1)
    del kernel.subflows["192.0.2.2"]
    made.observe(1.0)
    kernel.subflows.clear()
    made.observe(3.0)
    assert book.document(2)["joins_lost"] == 0


def test_a_line_found_out_is_not_joined(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    for at in (10.0, 13.0, 16.0):
        book.join_failed(2, at)
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, book)  # type: ignore[arg-type]
    made.reconcile(table(DSL, LTE, WIFI), 17.0)
    assert [call[1] for call in kernel.asked()] == [WIFI.address4]
