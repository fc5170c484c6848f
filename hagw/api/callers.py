"""Whose session a change must not cut off: as a request says itself, or as the web process tells of the browser's."""

from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress

from hagw.api.access import login_of
from hagw.model.web import SERVER_HEADER
from hagw.plan.caller import Caller

_TEXT_MAX: Final = 64


class CallerBody(BaseModel):
    """The remote session behind a request, as SSH_CONNECTION tells it."""

    model_config = ConfigDict(extra="forbid")

    client: IPvAnyAddress
    server: IPvAnyAddress
    port: Annotated[int, Field(gt=0, lt=65536)] = 22

    def to_caller(self) -> Caller:
        """Return it as the control plane wants it."""
        return Caller(ip_address(str(self.client)), ip_address(str(self.server)), self.port)


def caller_of(request: Request, said: CallerBody | None) -> Caller | None:
    """Return the remote session behind a request, None where there is none to lose."""
    if said is not None:
        return said.to_caller()
    login = login_of(request)
    return None if login.via == "local" else session_of(login.address, request.headers.get(SERVER_HEADER, ""))


def session_of(client: str, server: str) -> Caller | None:
    """Return a browser's session with the web process, `server` being "ADDRESS PORT"; None for one on this machine."""
    address, _, port = server.partition(" ")
    try:
        theirs, ours = ip_address(client[:_TEXT_MAX]), ip_address(address[:_TEXT_MAX])
    except ValueError:
        return None
    if theirs.version != ours.version or theirs.is_loopback or ours.is_loopback or not port.isdecimal():
        return None
    number = int(port[:6])
    return Caller(theirs, ours, number) if 0 < number < 65536 else None
