"""Steering enforced: what connections are given as lines fill, by a worker that is only its clock and its lines."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from hagw.dataplane.account import Carried
from hagw.dataplane.bonding import plan_of
from hagw.dataplane.steering import Steering
from hagw.dataplane.uplink_table import UplinkTable
from hagw.health.capacity import CapacityBook
from hagw.model.snapshot import LearnedView, UplinkView
from hagw.policy.decide import Decision
from hagw.policy.modes.plan import SteerPlan

DSL = UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", None, "up", rtt_ms=24.0)
LTE = UplinkView(2, "lte", "lte0", 12, "192.0.2.2", None, "up", rtt_ms=50.0)
CHEAP = SteerPlan("priority-based", ((1,), (2,)))
SENDING = SteerPlan("load-balancing", ((2,),))
MBIT = 1e6 / 8


@dataclass
class Paths:
    standby: frozenset[int] = frozenset()
    flips: int = 0
    withheld: dict[int, str] = field(default_factory=dict)
    told: list[tuple[str, int, str]] = field(default_factory=list)

    def tell(self, event: str, slot: int, reason: str, now: float) -> None:
        self.told.append((event, slot, reason))

    def stand_by(self, slots: frozenset[int]) -> None:
        self.flips += slots != self.standby
        self.standby = slots

    carried_bytes: dict[int, Carried] = field(default_factory=dict)

    def carried(self) -> dict[int, Carried]:
        return self.carried_bytes


@dataclass
class Connection:
    plan: SteerPlan
    state: str = "taken"
    paths: Paths = field(default_factory=Paths)
    down: float = 0.0
    up: float = 0.0

    def unacknowledged(self) -> int:
        return 0

    def moved(self) -> tuple[int, int]:
        return int(self.down), int(self.up)


class Home:
    """A worker's loop, lines and connections; DSL carries 16 Mbit/s each way, LTE 50."""

    def __init__(self) -> None:
        self.now = 100.0
        self.loop = self
        self.capacities = CapacityBook()
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.uplinks = UplinkTable((DSL, LTE))
        self.totals = {"dsl0": [0.0, 0.0], "lte0": [0.0, 0.0]}
        self.steering = Steering(self, self)  # type: ignore[arg-type]  # a script
        self.connections: dict[int, tuple[Connection, float, float]] = {}

    def call_in(self, delay: float, action: Callable[[], None]) -> None:
        self.due.append((self.now + delay, action))

    def read(self, interfaces: Collection[str]) -> dict[str, tuple[int, int]]:
        return {name: (int(self.totals[name][0]), int(self.totals[name][1])) for name in interfaces}

    def begin(self, number: int, down: float = 0.0, up: float = 0.0) -> Connection:
        """Begin a connection that wants so many Mbit/s."""
        connection = Connection(CHEAP)
        self.connections[number] = connection, down, up
        self.steering.began(number, connection, connection.moved)  # type: ignore[arg-type]  # a script
        connection.paths.stand_by(self.steering.reserve(CHEAP))
        return connection

    def run(self, seconds: float) -> None:
        """Let traffic flow: DSL first, LTE what remains of those to whom it is open."""
        for _ in range(round(seconds * 20)):
            self.now += 0.05
            for way in (0, 1):
                room = {"dsl0": 16.0, "lte0": 50.0}
                for connection, *wanted in self.connections.values():
                    over_dsl = min(wanted[way], room["dsl0"])
                    over_lte = 0.0 if 2 in connection.paths.standby else min(wanted[way] - over_dsl, room["lte0"])
                    room["dsl0"] -= over_dsl
                    room["lte0"] -= over_lte
                    self.totals["dsl0"][way] += over_dsl * MBIT * 0.05
                    self.totals["lte0"][way] += over_lte * MBIT * 0.05
                    size = (over_dsl + over_lte) * MBIT * 0.05
                    connection.down += size * (way == 0)
                    connection.up += size * (way == 1)
            due = [entry for entry in self.due if entry[0] <= self.now]
            self.due = [entry for entry in self.due if entry[0] > self.now]
            for _, action in due:
                action()


def test_bulk_overflows_and_what_fits_does_not() -> None:
    home = Home()
    small = home.begin(1, down=8.0)
    home.run(10.0)
    before = home.totals["lte0"][0]
    assert before == 0.0
    bulk = home.begin(2, down=60.0)
    home.run(10.0)
    assert home.totals["lte0"][0] > 40 * MBIT
    assert bulk.paths.flips >= 2
    assert home.steering.document()[0]["state"] == "over"
    assert small.down / MBIT > 7.0 * 20


def test_the_timeline_tells_when_a_line_overflows_and_when_it_is_in_reserve_again() -> None:
    home = Home()
    stream = home.begin(1, down=25.0)
    home.run(20.0)
    assert [event for event, _, _ in stream.paths.told] == ["in reserve", "overflowing"], "not every tick of a share"
    assert {slot for _, slot, _ in stream.paths.told} == {2}
    assert "dsl can carry no more" in stream.paths.told[1][2] or "a trial" in stream.paths.told[1][2]
    home.connections[1] = stream, 2.0, 0.0
    home.run(20.0)
    assert stream.paths.told[-1] == ("in reserve", 2, "priority-based")
    assert len(stream.paths.told) <= 6


def test_what_an_earlier_rule_had_a_connection_carry_does_not_count_for_its_weights() -> None:
    home = Home()
    plan = SteerPlan("load-balancing", ((1, 2),), weights=((1, 50), (2, 50)))
    connection = Connection(plan)
    connection.paths.carried_bytes = {1: Carried(0, 0), 2: Carried(10**8, 0)}
    home.steering.began(1, connection, connection.moved)  # type: ignore[arg-type]  # a script
    home.connections[1] = connection, 0.0, 0.0
    home.run(1.0)
    assert connection.paths.standby == frozenset()
    connection.paths.carried_bytes = {1: Carried(0, 0), 2: Carried(10**8 + 10**6, 0)}
    home.run(0.2)
    assert connection.paths.standby == {2}


def test_a_full_upload_does_not_move_a_download() -> None:
    home = Home()
    download = home.begin(1, down=8.0)
    home.run(5.0)
    flips = download.paths.flips
    home.begin(2, up=60.0)
    home.run(10.0)
    assert home.totals["lte0"][1] > 100 * MBIT
    assert (download.paths.flips, download.paths.standby) == (flips, {2})


def test_a_connection_that_a_preferred_line_would_hold_up_has_the_next_one_to_itself() -> None:
    home = Home()
    upload = home.begin(1, up=60.0)
    home.run(5.0)
    upload.paths.withheld = {1: "too slow beside the other"}
    home.run(1.0)
    assert upload.paths.standby == frozenset()
    upload.paths.withheld = {2: "tried without"}
    home.run(1.0)
    assert home.steering.document()[0]["state"] == "over"


def test_what_one_worker_found_out_spares_the_others_the_trial() -> None:
    home = Home()
    home.begin(1, down=60.0)
    home.run(5.0)
    (told,) = home.capacities.learned()
    assert (told.uplink, told.direction, told.full) == ("dsl", "down", True)
    assert told.bps is not None
    assert abs(told.bps - 16e6) < 1e6
    other = Home()
    other.now = home.now
    other.capacities.adopt(told)
    other.begin(1, down=12.0)
    other.run(10.0)
    assert other.steering.document()[0]["capacity_bps"] == round(told.bps)


def test_a_worker_without_flows_keeps_no_state_of_a_load_that_is_gone_and_believes_who_went_on() -> None:
    home = Home()
    home.begin(1, down=60.0)
    home.run(5.0)
    assert home.steering.document()[0]["state"] == "over"
    home.steering.ended(1)
    home.connections.clear()
    home.run(0.2)
    assert home.steering.document()[0]["state"] == "idle", "nobody looks at it any more"
    home.now += 30.0
    home.capacities.adopt(LearnedView("dsl", "down", 6e6, full=True, at=home.now))
    home.begin(2, down=4.0)
    home.run(3.0)
    assert home.steering.document()[0]["capacity_bps"] == 6_000_000, (
        "the line became slower while another worker used it"
    )
    home.capacities.adopt(LearnedView("dsl", "down", 2e6, full=True, at=home.now))
    home.run(3.0)
    assert home.steering.document()[0]["capacity_bps"] == 6_000_000, "what is seen here counts, once it is looked at"


def test_what_is_kept_off_a_line_is_counted_by_connection_and_in_all() -> None:
    home = Home()
    connection = home.begin(1, down=8.0)
    home.run(5.0)
    assert home.steering.kept(1) == {2: int(connection.down)}
    home.steering.ended(1)
    assert home.steering.kept_off == {2: int(connection.down)}
    assert home.steering.kept(1) == {}


def test_nothing_ticks_while_nothing_is_steered() -> None:
    home = Home()
    assert home.due == []
    home.begin(1)
    home.steering.ended(1)
    home.connections.clear()
    home.run(1.0)
    assert home.due == []


def test_without_its_preferred_line_a_connection_uses_the_next_one() -> None:
    home = Home()
    connection = home.begin(1, down=8.0)
    home.uplinks = UplinkTable((UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", None, "down"), LTE))
    home.run(1.0)
    assert connection.paths.standby == frozenset()


def test_the_quickest_line_is_used_and_left_when_it_stays_slow() -> None:
    home = Home()
    quick = SteerPlan("smallest-delay", ((1, 2),))
    connection = Connection(quick)
    home.connections[1] = connection, 1.0, 0.0
    connection.paths.stand_by(home.steering.reserve(quick))
    assert connection.paths.standby == {2}
    home.steering.began(1, connection, connection.moved)  # type: ignore[arg-type]  # a script
    home.run(12.0)
    home.uplinks = UplinkTable((replace(DSL, rtt_ms=90.0), LTE))
    home.run(2.0)
    assert connection.paths.standby == {2}
    assert home.steering.reserve(quick) == {1}, "new ones begin over the other at once"
    home.run(3.0)
    assert connection.paths.standby == {1}
    home.steering.ended(1)
    assert home.steering.kept_off == {}


def test_what_turns_out_to_mostly_send_follows_its_own_plan_and_back() -> None:
    decision = Decision("converted", None, (1, 2), "r", "priority-based", "", CHEAP, SENDING)
    assert plan_of(decision, 1_000, 200_000) == CHEAP, "too little to tell"
    assert plan_of(decision, 100_000, 300_000) == CHEAP, "it receives as well"
    assert plan_of(decision, 100_000, 500_000) == SENDING
    assert plan_of(decision, 100_000, 900_000) == SENDING
    assert plan_of(decision, 900_000, 900_000) == CHEAP
    assert plan_of(replace(decision, sending=None), 0, 10**7) == CHEAP
