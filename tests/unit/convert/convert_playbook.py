"""A conversation with a machine, step by step, in which nothing can be left unchecked.

Every event must be named by `reports` before the next step and before the end; `reports()` says "none".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hagw.convert.events import ClientEvent, ConverterEvent
from hagw.convert.machine import ClientMachine, ConverterMachine

Chunks = Callable[[bytes], list[bytes]]


class Playbook:
    """Drives one machine; `chunks` cuts whatever it receives."""

    def __init__(self, machine: ClientMachine | ConverterMachine, chunks: Chunks) -> None:
        self.machine = machine
        self._chunks = chunks
        self._events: list[ClientEvent | ConverterEvent] | None = None

    def receives(self, data: bytes | str) -> None:
        self.finish()
        wire = bytes.fromhex(data) if isinstance(data, str) else data
        self._events = []
        for chunk in self._chunks(wire):
            self._events.extend(self.machine.receive(chunk))

    def receives_eof(self) -> None:
        self.finish()
        self._events = list(self.machine.receive_eof())

    def reports(self, *expected: ClientEvent | ConverterEvent) -> None:
        assert self._events is not None, "nothing was received since the last check"
        events, self._events = joined(self._events), None
        assert events == list(expected)

    def finish(self) -> None:
        assert self._events is None, f"not checked: {self._events}"


@contextmanager
def conversation(machine: ClientMachine | ConverterMachine, chunks: Chunks = lambda data: [data]) -> Iterator[Playbook]:
    playbook = Playbook(machine, chunks)
    yield playbook
    playbook.finish()


def joined(events: list[ClientEvent | ConverterEvent]) -> list[ClientEvent | ConverterEvent]:
    """Put neighbouring pieces of user data together, so that events do not depend on how bytes arrived."""
    result: list[ClientEvent | ConverterEvent] = []
    for event in events:
        if hasattr(event, "data") and result and type(result[-1]) is type(event):
            result[-1] = type(event)(memoryview(bytes(result[-1].data) + bytes(event.data)))
        else:
            result.append(event)
    return result


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]
