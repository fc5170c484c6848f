"""The documents of access, alerts and metrics: their shapes, for OpenAPI and whoever generates types of it."""

from typing import Literal

from typing_extensions import TypedDict

from hagw.access.model import Role, Scope, Via


class SessionDocument(TypedDict):
    """Who asks. `csrf_token` is what a page shows with what changes something; null without a session of one's own.

    `certificate_sha256` is the fingerprint of the certificate that the browser was shown, null on the daemon's socket.
    """

    schema: int
    user: str
    role: Role
    via: Via
    must_change_password: bool
    expires_unix_s: float | None
    box_role: Literal["cpe", "hag"]
    csrf_token: str | None
    certificate_sha256: str | None


class EndedDocument(TypedDict):
    """A session that is over, by its id."""

    schema: int
    ended: str


class RemovedDocument(TypedDict):
    """A user's name or a token's id."""

    schema: int
    removed: str


class SessionEntry(TypedDict):
    """An open session; `current` is the one that asks."""

    id: str
    user: str
    created_unix_s: float
    seen_unix_s: float
    address: str
    agent: str
    current: bool


class SessionsDocument(TypedDict):
    """Open sessions."""

    schema: int
    sessions: list[SessionEntry]


class UserEntry(TypedDict):
    """A user."""

    name: str
    role: Role
    must_change_password: bool
    created_unix_s: float
    password_changed_unix_s: float
    last_login_unix_s: float | None


class UsersDocument(TypedDict):
    """All users."""

    schema: int
    users: list[UserEntry]


class MadeUserDocument(TypedDict):
    """A user as added; `password` is the one made up, null where one was given."""

    schema: int
    user: str
    role: Role
    password: str | None


class ChangedUserDocument(TypedDict):
    """A user as changed; `password` as for a new one."""

    schema: int
    user: str
    password: str | None


class TokenEntry(TypedDict):
    """An API token."""

    id: str
    name: str
    user: str
    role: Role
    scopes: list[Scope]
    created_unix_s: float
    expires_unix_s: float
    used_unix_s: float | None


class TokensDocument(TypedDict):
    """All API tokens, and the scopes there are."""

    schema: int
    tokens: list[TokenEntry]
    scopes: list[Scope]


class MadeTokenDocument(TokenEntry):
    """A new API token; its `secret` is told this once."""

    schema: int
    secret: str


class DeedEntry(TypedDict):
    """An entry of the audit log; `status` is that of the answer."""

    at_unix_s: float
    user: str
    via: str
    address: str
    action: str
    detail: str
    status: int


class AuditDocument(TypedDict):
    """The audit log, newest first."""

    schema: int
    audit: list[DeedEntry]


class AlertEntry(TypedDict):
    """Something wrong now."""

    kind: str
    subject: str
    severity: Literal["error", "warning"]
    text: str
    since_unix_s: float


class WebhookEntry(TypedDict):
    """How a webhook does; `reason` is why it did not take the last notice, empty if it did."""

    name: str
    host: str
    delivered: int
    failed: int
    waiting: int
    reason: str


class AlertsDocument(TypedDict):
    """What is wrong now, also what is not told yet."""

    schema: int
    alerts: list[AlertEntry]
    webhooks: list[WebhookEntry]
