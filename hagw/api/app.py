"""The API: its resources put together; those of status are here, all others have a file each."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from hagw.access.desk import Desk
from hagw.api.access import access_resources
from hagw.api.config import Changed
from hagw.api.config import resources as config_resources
from hagw.api.customers import Served, customer_resources
from hagw.api.doctor import Examined, doctor_resources
from hagw.api.documents import HealthDocument
from hagw.api.draft import draft_resources
from hagw.api.drain import Drains, Renews, drain_resources
from hagw.api.exchange import exchange_resources
from hagw.api.explain import Explains, explain_resources
from hagw.api.flows import Flowing, Recent, flows_resources
from hagw.api.hub import Hub
from hagw.api.lines import Seen, line_resources
from hagw.api.metrics import alert_resources, metrics_resources
from hagw.api.openapi import describe
from hagw.api.problems import add_handlers
from hagw.api.records import record_resources
from hagw.api.roles import PREFIX
from hagw.api.speedtests import Tested, speedtest_resources
from hagw.api.stream import stream_resources
from hagw.api.usage import Metered, usage_resources
from hagw.control.status_documents import StatusDocument
from hagw.history.keeper import Keeper
from hagw.probe.mib import mptcp_counters


class Observed(Explains, Drains, Renews, Metered, Flowing, Seen, Examined, Served, Tested, Protocol):
    """What the API asks of the daemon."""

    alerts: Callable[[], Mapping[str, Any]]


def build_app(
    daemon: Observed, changes: Changed, desk: Desk, keeper: Keeper, hub: Hub, recent: Recent | None = None
) -> FastAPI:
    """Return the application; who may ask it for what is the guard's business, and each route is in its list."""
    app = FastAPI(title="hagw", openapi_url=f"{PREFIX}/openapi.json", docs_url=None, redoc_url=None)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way to have it otherwise
    add_handlers(app)

    app.include_router(_resources(daemon), prefix=PREFIX)
    app.include_router(flows_resources(daemon, recent or Recent(daemon)), prefix=PREFIX)
    app.include_router(explain_resources(daemon, changes), prefix=PREFIX)
    app.include_router(line_resources(daemon, changes), prefix=PREFIX)
    app.include_router(usage_resources(daemon), prefix=PREFIX)
    app.include_router(drain_resources(daemon), prefix=PREFIX)
    app.include_router(record_resources(keeper), prefix=PREFIX)
    app.include_router(doctor_resources(daemon), prefix=PREFIX)
    app.include_router(stream_resources(hub), prefix=PREFIX)
    app.include_router(speedtest_resources(daemon), prefix=PREFIX)
    app.include_router(customer_resources(daemon), prefix=PREFIX)
    app.include_router(config_resources(changes), prefix=f"{PREFIX}/config")
    app.include_router(draft_resources(changes), prefix=f"{PREFIX}/config")
    app.include_router(exchange_resources(changes), prefix=f"{PREFIX}/config")
    app.include_router(metrics_resources(lambda: {**daemon.status(), "mib": mptcp_counters()}), prefix=PREFIX)
    app.include_router(alert_resources(lambda: daemon.alerts()), prefix=PREFIX)
    app.include_router(access_resources(desk, lambda: daemon.status()["role"]), prefix=PREFIX)
    return app


def _resources(daemon: Observed) -> APIRouter:
    router = APIRouter()

    # Plain values all the way out: the documents are built by us, validating them again is only time on the loop.
    @router.get("/status", responses={200: {"model": StatusDocument}})
    async def status() -> Response:
        return JSONResponse(daemon.status())

    @router.get("/health", responses={200: {"model": HealthDocument}})
    async def health() -> Response:
        document = daemon.status()
        return JSONResponse({"schema": document["schema"], "state": document["state"], "reason": document["reason"]})

    return router
