"""The API's resources that say why: `/explain` for a flow that need not exist, `/flows/ID` for one that does."""

import asyncio
from ipaddress import ip_address
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress

from hagw.api.flow_documents import ExplainDocument, FlowDocument
from hagw.api.flows import without_name
from hagw.api.operators import InForce, whole
from hagw.config.load import load
from hagw.errors import Refused
from hagw.model.flow import TCP, FlowKey
from hagw.model.intent import Intent
from hagw.policy.explain import flow_document, flow_key
from hagw.policy.first_bytes import domain_name

NAME_MAX: Final = 253
TEXT_MAX: Final = 1 << 20


class Explains(Protocol):
    """What these resources ask of the daemon."""

    def explain(self, flow: FlowKey, candidate: Intent | None = None) -> dict[str, Any]:
        """Return the explanation of a flow that need not exist, by what is in force or by another configuration.

        Raise Refused where nothing is decided here.
        """

    @property
    def intent(self) -> Intent: ...

    async def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow with its timeline."""


class Question(BaseModel):
    """A flow to explain."""

    model_config = ConfigDict(extra="forbid")

    client: IPvAnyAddress
    server: IPvAnyAddress
    port: int = Field(default=0, ge=0, le=65535)
    protocol: int = Field(default=TCP, ge=0, le=255)
    domain: str | None = Field(default=None, max_length=NAME_MAX)
    dscp: int | None = Field(default=None, ge=0, le=63)
    mac: str | None = Field(default=None, max_length=17)
    interface: str | None = Field(default=None, max_length=15)

    def to_flow(self) -> FlowKey:
        """Return it as the policy wants it."""
        client, server = ip_address(str(self.client)), ip_address(str(self.server))
        if client.version != server.version:
            raise HTTPException(422, "Client and server are of different families.")
        domain = None if self.domain is None else domain_name(self.domain)
        if domain is None and self.domain is not None:
            raise HTTPException(422, f"{self.domain!r} is not a domain name.")
        return FlowKey(
            client=str(client),
            client_port=0,
            server=str(server),
            server_port=self.port,
            protocol=self.protocol,
            dscp=self.dscp,
            interface=self.interface,
            mac=None if self.mac is None else self.mac.lower(),
            domain=domain,
            domain_source="none" if domain is None else "given",
        )


class Trial(Question):
    """A flow to explain by a configuration that need not be in force. `text` null = the one that is."""

    text: Annotated[str, Field(max_length=TEXT_MAX)] | None = None
    filename: Annotated[str, Field(max_length=4096)] = "configuration"


def explain_resources(daemon: Explains, changes: InForce) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/explain", responses={200: {"model": ExplainDocument}})
    async def explain(question: Annotated[Question, Query()]) -> Response:
        return JSONResponse(daemon.explain(question.to_flow()))

    @router.post("/explain", responses={200: {"model": ExplainDocument}})
    async def try_(trial: Trial, request: Request) -> Response:
        flow, text = trial.to_flow(), trial.text
        if text is None:
            return JSONResponse(daemon.explain(flow))

        def judged(shown: str) -> Intent:
            return load(whole(request, changes, shown, trial.filename), trial.filename)

        return JSONResponse(daemon.explain(flow, await asyncio.to_thread(judged, text)))

    @router.get("/flows/{flow_id}", responses={200: {"model": FlowDocument}})
    async def flow(flow_id: str) -> Response:
        found = await daemon.flow(flow_id)
        if found is None:
            raise HTTPException(404, f"No flow {flow_id} is known; ended ones are kept for two minutes.")
        if not daemon.intent.history.domains:  # the judgement would tell names: it goes by those that DNS told
            return JSONResponse(flow_document(without_name(found)))
        try:
            judged = daemon.explain(flow_key(found))
        except Refused:  # a HAG decides nothing
            judged = None
        return JSONResponse(flow_document(found, judged))

    return router
