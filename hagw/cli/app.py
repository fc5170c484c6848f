"""The `hagw` command: verbs, and the exit codes that scripts rely on (0 ok, else the error's own code)."""

from collections.abc import Sequence

import typer
from typer.main import get_command

from hagw.cli import lab
from hagw.cli.apply import apply, confirm, rollback
from hagw.cli.check import check
from hagw.cli.clear import clear
from hagw.cli.customer import customer
from hagw.cli.daemon import daemon
from hagw.cli.doctor import doctor
from hagw.cli.drain import drain
from hagw.cli.enrol import enrol
from hagw.cli.events import events
from hagw.cli.explain import explain
from hagw.cli.flows import flows
from hagw.cli.logs import logs
from hagw.cli.plan import diff, history, plan
from hagw.cli.quick import ended
from hagw.cli.records import alerts, audit, series
from hagw.cli.reload import reload_workers
from hagw.cli.report import report
from hagw.cli.rules import rules
from hagw.cli.settings import get, set_
from hagw.cli.speedtest import speedtest
from hagw.cli.status import status
from hagw.cli.token import token
from hagw.cli.top import top
from hagw.cli.usage import usage
from hagw.cli.user import user, web_password
from hagw.cli.version import version
from hagw.cli.web import web

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Hybrid-access gateway: a LAN's plain TCP over DSL, LTE and WiFi at once.",
)
LOOKING = (
    *(status, flows, top, usage, events, alerts, audit, series, logs),
    *(explain, doctor, report, speedtest, history, diff, get),
)
CHANGING = (check, plan, apply, confirm, rollback, drain, reload_workers, enrol, clear)
for verb in (daemon, web, *LOOKING, *CHANGING, lab.lab, version):
    app.command()(verb)
app.command("set", context_settings={"ignore_unknown_options": True})(set_)  # a value may begin with "-"
app.add_typer(customer, name="customer")
app.add_typer(user, name="user")
app.add_typer(token, name="token")
app.command("web-password")(web_password)
app.add_typer(rules, name="rules")


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if argv[:1] == ["lab"]:
        return ended(lambda: get_command(lab.load())(args=list(argv[1:]), prog_name="hagw lab"))
    return ended(lambda: get_command(app)(args=list(argv), prog_name="hagw"))
