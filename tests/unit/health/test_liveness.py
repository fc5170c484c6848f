"""One line's judge, fed turn by turn."""

from hagw.health.link import Link
from hagw.health.liveness import Liveness, Surroundings
from hagw.health.profile import Profile

TURN_S = 0.01


class Judge:
    """A line that is up, measured at 24 ms, beside another one that receives."""

    def __init__(self) -> None:
        self.now = 100.0
        self.line = Liveness(Profile(), Link(), self.now)
        self.turn()
        for question in (1, 2, 3):
            self.line.asked(question, self.now)
            self.now += 0.024
            self.line.answered(question, 0.024, self.now)
        self.turns(0.5, received=3, sent=1)
        assert self.line.state == "up"

    def turn(self, received: int = 0, sent: int = 0) -> bool:
        self.now += TURN_S
        around = Surroundings(2, True, self.now - 0.1, self.now - 0.1, "up")
        return self.line.turn(self.now, received, sent, 1400 * received + 60 * sent, around)

    def turns(self, seconds: float, received: int = 0, sent: int = 0) -> None:
        for _ in range(round(seconds / TURN_S)):
            if self.turn(received, sent):
                self.line.asked(int(self.now * 1000), self.now)


def test_an_answer_to_an_older_question_clears_no_doubt() -> None:
    judge = Judge()
    judge.line.asked(7, judge.now - 0.02)
    judge.turns(0.04)
    assert judge.line.doubted
    judge.line.answered(7, 0.08, judge.now)
    assert judge.line.doubted
    judge.turns(0.08)
    assert judge.line.state == "suspect"


def test_an_answer_to_a_question_asked_in_doubt_clears_it() -> None:
    judge = Judge()
    judge.turns(0.04)
    assert judge.line.doubted
    judge.line.asked(8, judge.now)
    judge.now += 0.024
    judge.line.answered(8, 0.024, judge.now)
    assert not judge.line.doubted
    for question in range(9, 109):
        if judge.turn():
            judge.line.asked(question, judge.now)
            judge.line.answered(question, 0.024, judge.now)
    assert judge.line.state == "up"


def test_the_reason_says_what_was_seen() -> None:
    judge = Judge()
    judge.turns(0.15)
    assert judge.line.reason.startswith("went silent ")
    assert judge.line.reason.endswith(" echoes unanswered")


def test_a_late_answer_makes_the_judge_more_patient() -> None:
    judge = Judge()
    judge.turns(0.03)
    judge.line.asked(9, judge.now)
    asked_at = judge.now
    first = judge.now
    while judge.line.state == "up":
        judge.turns(TURN_S)
    impatient_s = judge.now - first
    for question in (10, 11):
        judge.line.answered(9, judge.now - asked_at, judge.now)
        judge.line.asked(question, judge.now)
        judge.now += 0.024
        judge.line.answered(question, 0.024, judge.now)
    assert judge.line.state == "up"
    judge.turns(0.5, received=3, sent=1)
    judge.turns(0.03)
    first = judge.now
    while judge.line.state == "up":
        judge.turns(TURN_S)
    assert judge.now - first >= impatient_s + TURN_S


def test_a_line_that_dies_on_resuming_is_found_out_although_its_pause_was_cleared() -> None:
    judge = Judge()
    judge.turns(0.04)  # a pause of slow start, nothing sent
    judge.line.asked(9, judge.now)
    judge.now += 0.024
    judge.line.answered(9, 0.024, judge.now)
    assert not judge.line.doubted
    judge.turns(0.05, sent=8)  # into the void
    judge.turns(0.2)
    assert judge.line.state == "suspect"


def test_an_open_question_without_any_packet_since_is_judged_soon() -> None:
    judge = Judge()
    judge.turns(0.04)
    judge.line.asked(9, judge.now)
    judge.line.asked(10, judge.now + 0.020)  # this one goes into the void
    judge.now += 0.024
    judge.line.answered(9, 0.024, judge.now)
    judge.turns(0.25)
    assert judge.line.state == "suspect"
    assert judge.line.reason.startswith("no packet came back")


def test_packets_that_arrive_beside_open_questions_give_it_more_time() -> None:
    judge = Judge()
    judge.line.asked(9, judge.now)
    judge.turns(0.3, received=3, sent=3)
    assert judge.line.state == "up"
    judge.turns(0.8, received=3, sent=3)
    assert judge.line.reason.startswith("packets arrive but")


def test_a_suspect_line_is_asked_at_once_when_there_is_reason_to() -> None:
    judge = Judge()
    judge.line.asked(9, judge.now)
    judge.turns(1.0)
    assert judge.line.state == "suspect"
    judge.line.asked(10, judge.now)
    judge.now += 0.05

    def is_asked() -> bool:
        return judge.line.turn(judge.now, 0, 0, 0, Surroundings(2, True, judge.now, judge.now, "up"))

    assert not is_asked()
    judge.line.hurry()
    assert is_asked()
    judge.line.asked(11, judge.now)
    judge.now += 0.05
    assert not is_asked(), "once"


def test_what_a_changed_way_leads_to_is_asked_once_without_hurry() -> None:
    now = 100.0
    line = Liveness(Profile(), Link(), now)
    for question in (1, 2, 3):
        line.asked(question, now)
        now += 0.024
        line.answered(question, 0.024, now)

    def is_asked(at: float) -> bool:
        return line.turn(at, 0, 0, 0, Surroundings(2, True, at - 0.1, at - 0.1, "up"))

    assert not is_asked(now + 1.0)
    line.hurry()
    assert not line.is_hurried, "turns come no faster for it"
    assert is_asked(now + 1.1)
    line.asked(4, now + 1.1)
    assert not is_asked(now + 1.12)
