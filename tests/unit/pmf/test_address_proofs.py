"""An echo proves an address only to who receives there: a recorded question proves nothing to anybody else."""

from hagw.pmf.asker import Asker
from hagw.pmf.echo import key_id
from hagw.pmf.responder import EchoCustomer, Responder

KEY = bytes(range(32))
HOME, THIEF = "192.0.2.1", "203.0.113.66"


class Book:
    """What was proved."""

    def __init__(self) -> None:
        self.proved: set[tuple[str, str]] = set()

    def prove(self, customer: str, address: str, now: float) -> None:
        self.proved.add((customer, address))

    def is_proven(self, customer: str, address: str, now: float) -> bool:
        return (customer, address) in self.proved


def scene() -> tuple[Responder, Book, Asker]:
    hag, book = Responder([EchoCustomer(KEY, (), "home")], ipv6_egress=False), Book()
    hag.proofs = book
    return hag, book, Asker(KEY, 1, 5)


def exchange(hag: Responder, asker: Asker, address: str, stream: int, now: float) -> bool:
    """Ask once; return whether the answer says that a proof is missing."""
    answer = hag.respond(asker.ask(now, stream).datagram, address, now, 1_000.0 + now)
    assert answer is not None
    echo = asker.accept(answer, now + 0.01)
    assert echo is not None
    return echo.unproven


def test_the_second_question_of_a_stream_proves_the_address() -> None:
    hag, book, asker = scene()
    assert [exchange(hag, asker, HOME, stream, 1.0 + stream) for stream in (0, 1, 2)] == [True] * 3
    assert not exchange(hag, asker, HOME, 0, 5.0)
    assert book.proved == {("home", HOME)}
    assert not exchange(hag, asker, HOME, 1, 6.0)


def test_recorded_questions_prove_nothing_to_another_address() -> None:
    hag, book, asker = scene()
    recorded = []
    for number in range(6):
        question = asker.ask(float(number)).datagram
        recorded.append(question)
        answer = hag.respond(question, HOME, float(number), 1_000.0 + number)
        assert answer is not None
        asker.accept(answer, number + 0.01)
    for _ in range(3):
        for question in recorded:
            hag.respond(question, THIEF, 10.0, 1_010.0)
    assert book.proved == {("home", HOME)}


def test_a_new_address_of_the_same_asker_is_proved_anew() -> None:
    hag, _, asker = scene()
    for now in (1.0, 2.0):
        exchange(hag, asker, HOME, 0, now)
    assert exchange(hag, asker, "192.0.2.77", 0, 3.0)  # its provider's NAT was bound anew
    assert not exchange(hag, asker, "192.0.2.77", 0, 3.1)


def test_nobody_is_asked_for_proofs_where_nobody_wants_them() -> None:
    hag = Responder([EchoCustomer(KEY)], ipv6_egress=False)
    assert not exchange(hag, Asker(KEY, 1, 5), HOME, 0, 1.0)
    assert key_id(KEY) == hag.respond(Asker(KEY, 1, 9).ask(1.0).datagram, HOME, 1.0, 1.0)[8:16]  # type: ignore[index]
