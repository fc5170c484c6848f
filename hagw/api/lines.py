"""The API's resources that are parts of others: lines, gateways, the rules in force, the configuration's schema."""

import json
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Path, Response
from fastapi.responses import JSONResponse

from hagw.api.documents import GatewaysDocument, RulesDocument, SchemaDocument, UplinkDocument, UplinksDocument
from hagw.config.editors import json_schema
from hagw.config.tree import parse
from hagw.control.standing import Standing
from hagw.control.status_documents import StatusDocument
from hagw.model.intent import CpeIntent, Intent
from hagw.model.snapshot import CpeSnapshot, Snapshot

SCHEMA: Final = 1
Name = Annotated[str, Path(max_length=64)]


class Seen(Protocol):
    """What these resources ask of the daemon."""

    @property
    def intent(self) -> Intent: ...

    @property
    def published(self) -> Snapshot | None: ...

    def status(self) -> StatusDocument: ...


class Kept(Protocol):
    """What they ask of its transactions."""

    def standing(self) -> Standing: ...

    def text(self, generation: int | None) -> str: ...


def line_resources(daemon: Seen, changes: Kept) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/uplinks", responses={200: {"model": UplinksDocument}})
    async def uplinks() -> Response:
        return JSONResponse({"schema": SCHEMA, "uplinks": daemon.status()["uplinks"]})

    @router.get("/uplinks/{name}", responses={200: {"model": UplinkDocument}})
    async def uplink(name: Name) -> Response:
        status = daemon.status()
        found = next((each for each in status["uplinks"] if each["name"] == name), None)
        if found is None:
            raise HTTPException(404, f"There is no line {name!r}.")
        caps = [cap for cap in status["data_caps"] if name in cap["uplinks"]]
        return JSONResponse({"schema": SCHEMA, "uplink": found, "data_caps": caps})

    @router.get("/gateways", responses={200: {"model": GatewaysDocument}})
    async def gateways() -> Response:
        return JSONResponse({"schema": SCHEMA, "gateways": daemon.status()["gateways"]})

    @router.get("/rules", responses={200: {"model": RulesDocument}})
    async def rules() -> Response:
        snapshot = daemon.published
        asleep = snapshot.asleep if isinstance(snapshot, CpeSnapshot) else ()
        found = rules_of(changes.text(None), frozenset(asleep))
        return JSONResponse({"schema": SCHEMA, "generation": changes.standing().generation, "rules": found})

    @router.get("/config/schema", responses={200: {"model": SchemaDocument}})
    async def schema() -> Response:
        role = "cpe" if isinstance(daemon.intent, CpeIntent) else "hag"
        return JSONResponse({"schema": SCHEMA, "role": role, "json_schema": json.loads(json_schema(role))})

    return router


def rules_of(text: str, asleep: frozenset[str]) -> list[dict[str, Any]]:
    """Return the rules of a configuration's text, as it has them."""
    written = parse(text, "configuration").root.get("rules")
    rules = [rule for rule in written if isinstance(rule, dict)] if isinstance(written, list) else []
    found = [
        {
            "name": str(rule["name"]),
            "precedence": int(str(rule["precedence"])),
            "active": rule["name"] not in asleep,
            "traffic": rule.get("traffic") or {},
            "steering": rule.get("steering") or {},
        }
        for rule in rules
    ]
    return sorted(found, key=lambda rule: rule["precedence"])
