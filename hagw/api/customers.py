"""The API's resources of a HAG's customers: those of the registry, which are changed here, and the configuration's."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from hagw.api.access import login_of
from hagw.api.documents import CodeDocument, CustomerDocument, CustomersDocument
from hagw.control.status_documents import FlowsDocument
from hagw.model.intent import CustomerIntent, HagIntent, Intent

if TYPE_CHECKING:
    from hagw.registry.customers import Customer, Registry, Wanted

SCHEMA: Final = 1
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$"
HOUR_S: Final = 3600
_FLOW_OF: Final = "customer "

Name = Annotated[str, Path(max_length=64)]
Prefixes = Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64)]


class CustomersPort(Protocol):
    """The HAG's registry, as the daemon has it."""

    async def registry_to_change(self) -> "Registry": ...

    async def known(self) -> "tuple[Customer, ...]": ...

    def month_used(self) -> Mapping[str, int]: ...

    def connected(self) -> list[dict[str, Any]]: ...

    def changed(self) -> None: ...

    async def new_code(self) -> "Any": ...


class Served(Protocol):
    """What these resources ask of the daemon."""

    @property
    def intent(self) -> Intent: ...

    @property
    def customers(self) -> CustomersPort | None: ...

    async def flows(self, recent_s: float) -> FlowsDocument: ...


class LimitsBody(BaseModel):
    """What a customer may use; null = no bound."""

    model_config = ConfigDict(extra="forbid")

    connections_max: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    connects_per_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    pending_max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    rate_down_bps: Annotated[int, Field(ge=8_000, le=10**12)] | None = None
    rate_up_bps: Annotated[int, Field(ge=8_000, le=10**12)] | None = None
    month_bytes: Annotated[int, Field(ge=1, le=10**18)] | None = None


class ChangeBody(BaseModel):
    """What becomes different; what is not given stays."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=256)] | None = None
    sources: Prefixes | None = None
    allow: Prefixes | None = None
    deny: Prefixes | None = None
    limits: LimitsBody | None = None

    def to_wanted(self) -> "Wanted":
        """Return it as the registry wants it."""
        from hagw.registry.customers import Wanted

        limits = None if self.limits is None else self.limits.model_dump(exclude_unset=True)
        return Wanted(
            _prefixes("sources", self.sources),
            _prefixes("allow", self.allow),
            _prefixes("deny", self.deny),
            limits or None,
            self.note,
        )


class InviteBody(BaseModel):
    """How long a code can be used."""

    model_config = ConfigDict(extra="forbid")

    valid_hours: Annotated[float, Field(gt=0.01, le=8760)] = 24.0


class NewBody(ChangeBody, InviteBody):
    """A new customer."""

    name: Annotated[str, Field(pattern=NAME)]


def customer_resources(daemon: Served) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    def port() -> CustomersPort:
        if daemon.customers is None:
            raise HTTPException(409, "Customers are a HAG's; this is a CPE.")
        return daemon.customers

    async def changed(act: "Callable[[Registry], Awaitable[Any]]") -> None:
        await act(await port().registry_to_change())
        port().changed()

    @router.get("/customers", responses={200: {"model": CustomersDocument}})
    async def customers() -> Response:
        entries = await everyone(daemon, port())
        return JSONResponse({"schema": SCHEMA, "customers": entries})

    @router.get("/customers/{name}", responses={200: {"model": CustomerDocument}})
    async def customer(name: Name) -> Response:
        found = next((each for each in await everyone(daemon, port()) if each["name"] == name), None)
        if found is None:
            raise HTTPException(404, f"There is no customer {name!r}.")
        return JSONResponse({"schema": SCHEMA, "customer": found})

    @router.post("/customers", status_code=201, responses={201: {"model": CodeDocument}})
    async def add(body: NewBody, request: Request) -> Response:
        wanted, by = body.to_wanted(), login_of(request).user
        request.state.detail = f"customer {body.name}"
        code, valid_s = await port().new_code(), body.valid_hours * HOUR_S
        await changed(lambda registry: registry.add(body.name, wanted, by, secret=code.secret, valid_s=valid_s))
        return _code(body.name, str(code), body.valid_hours, 201)

    @router.patch("/customers/{name}", responses={200: {"model": CustomerDocument}})
    async def change(name: Name, body: ChangeBody, request: Request) -> Response:
        wanted, by = body.to_wanted(), login_of(request).user
        await changed(lambda registry: registry.change(name, wanted, by))
        return await customer(name)

    @router.delete("/customers/{name}", responses={200: {"model": CustomerDocument}})
    async def revoke(name: Name, request: Request) -> Response:
        await changed(lambda registry: registry.revoke(name, login_of(request).user))
        return await customer(name)

    @router.post("/customers/{name}/invite", responses={200: {"model": CodeDocument}})
    async def invite(name: Name, request: Request, body: InviteBody | None = None) -> Response:
        hours = (body or InviteBody()).valid_hours
        code, by = await port().new_code(), login_of(request).user
        await changed(lambda registry: registry.invite(name, by, secret=code.secret, valid_s=hours * HOUR_S))
        return _code(name, str(code), hours, 200)

    @router.post("/customers/{name}/rotate", responses={200: {"model": CustomerDocument}})
    async def rotate(name: Name, request: Request) -> Response:
        await changed(lambda registry: registry.rotate(name, login_of(request).user))
        return await customer(name)

    return router


async def everyone(daemon: Served, port: CustomersPort) -> list[dict[str, Any]]:
    """Return every customer's entry, by name."""
    used, flows = port.month_used(), _flows_by_customer(await daemon.flows(0.0))
    intent = daemon.intent
    configured = intent.customers if isinstance(intent, HagIntent) else ()
    known = await port.known()
    entries = [_registered(each) for each in known] + [_configured(each) for each in configured]
    channels: dict[str, list[dict[str, Any]]] = {}
    for channel in port.connected():
        channels.setdefault(channel.pop("customer"), []).append(channel)
    return [
        {
            **entry,
            "flows_active": flows.get(entry["name"], 0),
            "month_used_bytes": used.get(entry["name"]),
            "channels": channels.get(entry["name"], []),
        }
        for entry in sorted(entries, key=lambda entry: str(entry["name"]))
    ]


def _registered(customer: "Customer") -> dict[str, Any]:
    prefixes = {key: [str(prefix) for prefix in getattr(customer, key)] for key in ("sources", "allow", "deny")}
    return {**asdict(customer), **prefixes}


def _configured(customer: CustomerIntent) -> dict[str, Any]:
    prefixes = {key: [str(prefix) for prefix in getattr(customer, key)] for key in ("sources", "allow", "deny")}
    own = {"name": customer.name, "state": "configured", "limits": asdict(customer.limits), "rotating": False}
    return {**own, **prefixes, "enrolled": False, "created_at": None, "note": "in the configuration"}


def _flows_by_customer(found: FlowsDocument) -> dict[str, int]:
    counts: dict[str, int] = {}
    for flow in found["flows"]:
        why = str(flow.get("why", ""))
        if why.startswith(_FLOW_OF) and flow.get("state") != "closed":
            name = why.removeprefix(_FLOW_OF).partition(";")[0]
            counts[name] = counts.get(name, 0) + 1
    return counts


def _prefixes(field: str, texts: tuple[str, ...] | None) -> tuple[Any, ...] | None:
    if texts is None:
        return None
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as why:
        raise HTTPException(422, f"{field}: {why}.") from why


def _code(name: str, code: str, hours: float, status: int) -> Response:
    document = {"schema": SCHEMA, "customer": name, "code": code, "valid_hours": hours}
    return JSONResponse(document, status_code=status, headers={"Cache-Control": "no-store"})
