"""The API's resource `/flows`: live and recent flows, filtered, sorted, in pages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from hagw.api.flow_documents import FlowsPage
from hagw.control.status_documents import FlowsDocument
from hagw.model.intent import Intent

FLOWS_A_CHUNK: Final = 300  # about 1 ms of encoding between two looks at everything else the loop has to do
RECENT_MAX_S: Final = 3600.0
ENDED: Final = "closed"
FRESH_S: Final = 1.0
STALE_S: Final = 3.0
KNOWN_MAX: Final = 3  # documents kept for who turns pages: one may be tens of megabytes
FILTERS: Final = frozenset({"client", "uplink", "rule", "domain", "path", "state", "q"})

Key = Literal["started_s", "bytes_down", "bytes_up", "client", "server", "domain", "rule", "path", "state"]
Sort = Literal[
    "started_s", "bytes_down", "bytes_up", "client", "server", "domain", "rule", "path", "state",
    "-started_s", "-bytes_down", "-bytes_up", "-client", "-server", "-domain", "-rule", "-path", "-state",
]  # fmt: skip
Text = Annotated[str, Field(max_length=253)]
Flow = dict[str, Any]


class Flowing(Protocol):
    """What this resource asks of the daemon."""

    @property
    def intent(self) -> Intent: ...

    async def flows(self, recent_s: float) -> FlowsDocument:
        """Return the flows document, with flows closed up to `recent_s` ago."""

    async def busiest(self, most: int) -> dict[str, Any]:
        """Return the flows that carry most now, with their rates, and how many there are."""


class FlowsQuestion(BaseModel):
    """Which flows. `state` open = not closed yet; `q` is looked for in addresses, name, rule and reason."""

    model_config = ConfigDict(extra="forbid")

    recent: float = Field(default=60.0, ge=0, le=RECENT_MAX_S)
    client: Text | None = None
    uplink: Text | None = None
    rule: Text | None = None
    domain: Text | None = None
    path: Literal["converted", "direct", "blocked"] | None = None
    state: Annotated[str, Field(max_length=32)] | None = None
    q: Text | None = None
    sort: Sort = "-started_s"
    limit: Annotated[int, Field(ge=1, le=20_000)] | None = None
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    def fits(self, flow: Flow) -> bool:
        """Say whether a flow is asked for."""
        return (
            (self.client is None or flow.get("client") == self.client)
            and (self.uplink is None or self.uplink in flow.get("by_uplink", ()))
            and (self.rule is None or flow.get("rule") == self.rule)
            and (self.domain is None or flow.get("domain") == self.domain)
            and (self.path is None or flow.get("path") == self.path)
            and (self.state is None or _is_in(flow, self.state))
            and (self.q is None or any(self.q.lower() in text for text in _texts(flow)))
        )


class Recent:
    """Flows as pages of them need: asked for once for all who turn pages, and not while somebody waits.

    Who asks again within STALE_S gets what is known, and has it made anew for the next one; `run` does that. Where
    nobody runs it, and for who comes after a pause, it is made while they wait.
    """

    def __init__(self, daemon: Flowing) -> None:
        self._daemon = daemon
        self._asking = asyncio.Lock()
        self._known: dict[float, tuple[float, FlowsDocument]] = {}  # by how far back, oldest first: when, what
        self._wanted: asyncio.Queue[float] = asyncio.Queue(maxsize=1)
        self._runs = False

    async def run(self) -> None:
        """Make anew what is asked for, for ever."""
        self._runs = True
        try:
            while True:
                await self._renewed(await self._wanted.get())
        finally:
            self._runs = False

    async def ask(self, recent_s: float) -> FlowsDocument:
        """Return the flows, FRESH_S old, STALE_S at most."""
        at, document = self._known.get(recent_s, (0.0, None))
        age_s = asyncio.get_running_loop().time() - at
        if document is not None and age_s <= FRESH_S:
            return document
        if document is not None and self._runs and age_s <= STALE_S:
            if not self._wanted.full():
                self._wanted.put_nowait(recent_s)
            return document
        return await self._renewed(recent_s)

    async def _renewed(self, recent_s: float) -> FlowsDocument:
        loop = asyncio.get_running_loop()
        async with self._asking:
            at, document = self._known.get(recent_s, (0.0, None))
            if document is None or loop.time() - at > FRESH_S:
                now = loop.time()
                document = await shown_flows(self._daemon, recent_s)
                self._known.pop(recent_s, None)
                while len(self._known) >= KNOWN_MAX:
                    self._known.pop(next(iter(self._known)))
                self._known[recent_s] = now, document
                loop.call_later(STALE_S, self._forget, recent_s, now)
            return document

    def _forget(self, recent_s: float, at: float) -> None:
        """Let go of what was asked for at some time, unless it was made anew since."""
        if recent_s in self._known and self._known[recent_s][0] == at:
            del self._known[recent_s]


def flows_resources(daemon: Flowing, recent: Recent) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    # Plain values all the way out: the documents are built by us, validating them again is only time on the loop.
    @router.get("/flows", responses={200: {"model": FlowsPage}})
    async def flows(question: Annotated[FlowsQuestion, Query()]) -> Response:
        found = await (recent.ask(question.recent) if question.limit else shown_flows(daemon, question.recent))
        return StreamingResponse(_encode(page(found, question)), media_type="application/json")

    return router


async def shown_flows(daemon: Flowing, recent_s: float) -> FlowsDocument:
    """Return the flows as they may be shown: without names of servers where these are not wanted."""
    found = await daemon.flows(recent_s)
    if daemon.intent.history.domains:
        return found
    return FlowsDocument({**found, "flows": [without_name(flow) for flow in found["flows"]]})


async def shown_busiest(daemon: Flowing, most: int) -> Flow:
    """Return the flows that carry most as they may be shown."""
    found = await daemon.busiest(most)
    if daemon.intent.history.domains:
        return found
    return {**found, "flows": [without_name(flow) for flow in found["flows"]]}


def without_name(flow: Flow) -> Flow:
    """Return a flow's document without the server's name."""
    return {**flow, "domain": None, "domain_source": "none"}


def page(found: FlowsDocument, question: FlowsQuestion) -> Flow:
    """Return the page that is asked for, and how many flows fit in all."""
    is_filtered = bool(question.model_fields_set & FILTERS)
    fitting = [flow for flow in found["flows"] if question.fits(flow)] if is_filtered else list(found["flows"])
    if question.sort != "-started_s":  # as they come
        descends = question.sort.startswith("-")
        fitting.sort(key=_place(question.sort.removeprefix("-")), reverse=descends)
    end = None if question.limit is None else question.offset + question.limit
    return {
        "schema": found["schema"],
        "total": len(fitting),
        "incomplete": found["incomplete"],
        "flows": fitting[question.offset : end],
    }


def _place(key: str) -> Callable[[Flow], tuple[bool, Any]]:
    """Return a sort key; what has no value comes first."""

    def place(flow: Flow) -> tuple[bool, Any]:
        value = flow.get(key)
        return (False, 0) if value is None else (True, value)

    return place


def _is_in(flow: Flow, state: str) -> bool:
    told = flow.get("state")
    return told != ENDED if state == "open" else told == state


def _texts(flow: Flow) -> Iterable[str]:
    keys = ("client", "server", "domain", "rule", "why", "id")
    return (str(flow[key]).lower() for key in keys if flow.get(key) is not None)


async def _encode(document: Flow) -> AsyncIterator[bytes]:
    """Yield the document's JSON in chunks, letting the loop turn in between."""
    head = {key: value for key, value in document.items() if key != "flows"}
    yield to_json(head)[:-1] + b',"flows":['
    flows = document["flows"]
    for begin in range(0, len(flows), FLOWS_A_CHUNK):
        # pydantic's encoder takes 6 ms for 2,000 flows, the standard library's 21.
        yield (b"," if begin else b"") + to_json(flows[begin : begin + FLOWS_A_CHUNK])[1:-1]
        await asyncio.sleep(0)
    yield b"]}"
