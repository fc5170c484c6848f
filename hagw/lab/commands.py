"""The `lab` verbs. JSON goes to stdout, everything a person reads on the way to stderr."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hagw.lab import checks
from hagw.lab.lab import Lab, UnknownName

app = typer.Typer(
    name="lab",
    help="A whole network in namespaces: LAN, gateway, three lines, providers, HAG and Internet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class HagwProcess(StrEnum):
    """hagw's kinds of processes."""

    DAEMON = "daemon"
    WORKER = "worker"
    WEB = "web"


_PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Such as lan1, cpe, hag, inet.", show_default=False)]


@app.callback()
def lab(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="Which lab; several can be up side by side.")] = "lab",
) -> None:
    """Remember which lab the verb is about."""
    context.obj = Lab(name)


@app.command()
def up(
    context: typer.Context,
    config: Annotated[list[str] | None, typer.Option(metavar="NODE=FILE", help="hagw's YAML on a node.")] = None,
    preset: Annotated[str, typer.Option(help="The lines' rates and delays.")] = "demo",
    topology: Annotated[Path | None, typer.Option(metavar="FILE", help="Another network.")] = None,
    no_hagw: Annotated[bool, typer.Option("--no-hagw", help="Do not start hagw.")] = False,
) -> None:
    """Bring the lab up and wait until it works; up already is fine."""
    configs = dict(_node_and_file(text) for text in config or [])
    one = _lab(context)
    fresh = one.up(topology=topology, preset=preset, configs=configs, hagw=not no_hagw, say=_say)
    _say(f"lab {one.name!r} is up" if fresh else f"lab {one.name!r} was up already")


@app.command()
def down(context: typer.Context) -> None:
    """Take the lab down and leave nothing of it."""
    _lab(context).down()


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show nodes and links."""
    document = _lab(context).status()
    if as_json:
        _print_json(document)
        return
    print(f"lab {document['name']!r} is {document['state']}")
    for node, body in document["nodes"].items():
        print(f"  {node:9} {' '.join(body['addresses'])}")
    for link, state in document["links"].items():
        rates = " / ".join(_megabits(state[key]) for key in ("rate_down_bps", "rate_up_bps"))
        print(
            f"  {link:9} {rates} Mbit/s, {state['delay_ms']:g} ms one way, loss {state['loss']:g},"
            f" blackhole {state['blackhole']}, carrier {state['carrier']}"
        )


@app.command()
def config(context: typer.Context, node: NodeName) -> None:
    """Print the hagw YAML in use on a node."""
    print(_lab(context).config(node), end="")


@app.command()
def apply(
    context: typer.Context, node: NodeName, file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
) -> None:
    """Give a node another hagw YAML; one that hagw refuses changes nothing."""
    _lab(context).apply(node, file)


@app.command(name="exec", context_settings=_PASS_THROUGH)
def execute(
    context: typer.Context, node: NodeName, command: Annotated[list[str], typer.Argument(metavar="-- CMD…")]
) -> None:
    """Run a command in a node; `hagw` there is bound to the node's daemon."""
    _lab(context).replace_by(node, command[1:] if command[0] == "--" else command)


@app.command()
def shell(context: typer.Context, node: NodeName) -> None:
    """Open a shell in a node."""
    os.environ["PS1"] = f"{_lab(context).name}:{node}# "
    _lab(context).replace_by(node, [os.environ.get("SHELL", "/bin/sh")])


@app.command(name="hagw-stop")
def hagw_stop(context: typer.Context, node: NodeName) -> None:
    """Stop a node's hagw and have it clear what it did to the node."""
    _lab(context).hagw_stop(node)


@app.command(name="hagw-start")
def hagw_start(context: typer.Context, node: NodeName) -> None:
    """Start a node's hagw and wait until it works."""
    _lab(context).hagw_start(node)


@app.command()
def pid(
    context: typer.Context, node: NodeName, process: Annotated[HagwProcess | None, typer.Argument()] = None
) -> None:
    """Print the pids of a node's processes, or of one kind of hagw's."""
    for number in _lab(context).pids(node, process.value if process else None):
        print(number)


@app.command()
def link(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="dsl, lte, wifi or inet.")],
    rate_down: Annotated[str | None, typer.Option(help="IP bytes: 16mbit, 500kbit, bit/s, none.")] = None,
    rate_up: Annotated[str | None, typer.Option(help="As --rate-down.")] = None,
    delay: Annotated[str | None, typer.Option(help="One way: 12ms; a number is ms.")] = None,
    loss: Annotated[str | None, typer.Option(help="Each way: 1% or 0.01.")] = None,
    loss_down: Annotated[str | None, typer.Option(help="Loss towards the CPE, if more than that: 30%.")] = None,
    loss_up: Annotated[str | None, typer.Option(help="Loss from the CPE, if more than that: 30%.")] = None,
    jitter: Annotated[str | None, typer.Option(help="± around the delay, order kept: 3ms.")] = None,
    queue: Annotated[str | None, typer.Option(help="Longest wait before frames are dropped: 150ms.")] = None,
    blackhole: Annotated[str | None, typer.Option(help="Silent loss of all: both, up, down, none.")] = None,
    carrier: Annotated[str | None, typer.Option(help="on or off, as the near end sees it.")] = None,
    strip_mptcp: Annotated[
        str | None, typer.Option(help="A box that strips it: capable, join, data, all, none.")
    ] = None,
    as_json: AsJson = True,
) -> None:
    """Change a link while it runs; print its state."""
    given = {
        "rate_down": rate_down,
        "rate_up": rate_up,
        "delay": delay,
        "loss": loss,
        "loss_down": loss_down,
        "loss_up": loss_up,
        "jitter": jitter,
        "queue": queue,
        "blackhole": blackhole,
        "carrier": carrier,
        "strip_mptcp": strip_mptcp,
    }
    settings = {key: value for key, value in given.items() if value is not None}
    _print_json({"schema": 1, "name": name, **_lab(context).link(name, **settings)})


@app.command()
def demo(
    context: typer.Context,
    preset: Annotated[
        str | None, typer.Option(help="The lines' rates and delays: demo, adsl …  [default: demo]", show_default=False)
    ] = None,
    as_json: AsJson = False,
    ui: Annotated[
        bool, typer.Option("--ui", help="Serve the CPE's admin page on 127.0.0.1 instead, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="With --ui: where; 0 = any.")] = 8443,
) -> None:
    """Show the main job: files over each line alone, over all at once, and through a line's silent death."""
    if ui:
        from hagw.lab import demo_ui

        demo_ui.show(_lab(context), preset, port, _say)
        return
    from rich.console import Console  # here with the demo, because other verbs need neither

    from hagw.lab import demo as demonstration
    from hagw.lab import demo_report

    shown = demonstration.show(_lab(context), preset, Console(stderr=True))
    if as_json:
        _print_json({**demo_report.document(shown.results), "state_file": shown.state_file})
    else:
        print(demo_report.text(shown.results))
    if shown.state_file is not None:
        _say(f"both ends' state is in {shown.state_file}")
        raise typer.Exit(1)


@app.command()
def bench(
    context: typer.Context,
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO…]", help="NAME, NAME/CASE (with *), or a YAML file; all without any."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where to; the HTML report goes beside it.")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="How many times each is measured.")] = 3,
    system: Annotated[
        list[str] | None, typer.Option("--system", help="Measure only this one; may be repeated.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print the scenarios and their cases, and measure nothing.")
    ] = False,
) -> None:
    """Measure hagw beside what one would use instead; write a table, JSON and an HTML report."""
    from hagw.lab.bench import command

    if listed:
        command.show_scenarios(scenarios or [])
        return
    one = Lab(f"{_lab(context).name}-bench")
    command.run(one, scenarios or [], json_file, repeat, system or [], _say)


@app.command()
def report(
    json_files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="What `bench --json` wrote.", dir_okay=False)
    ],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Where to; beside the JSON.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="A document that is to get the tables.")
    ] = None,
) -> None:
    """Make benches' tables and HTML reports again from their JSON."""
    from hagw.lab.bench import command

    command.report(json_files, html, markdown, _say)


@app.command(name="test", context_settings=_PASS_THROUGH)
def run_checks(
    quick: Annotated[bool, typer.Option("--quick", help="Leave the slow tests out.")] = False,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[PYTEST ARGS]…")] = None,
) -> None:
    """Run all checks of the source tree: format, lint, types, layers and tests."""
    if not checks.run_all(arguments or [], quick=quick, say=_say):
        raise typer.Exit(1)


def _lab(context: typer.Context) -> Lab:
    one = context.obj
    assert isinstance(one, Lab)
    return one


def _node_and_file(text: str) -> tuple[str, Path]:
    node, equals, file = text.partition("=")
    if not equals:
        raise UnknownName(f"--config {text!r} is not NODE=FILE")
    return node, Path(file)


def _megabits(rate_bps: float | None) -> str:
    return "∞" if rate_bps is None else f"{rate_bps / 1e6:g}"


def _say(words: str) -> None:
    typer.echo(words, err=True)


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document))
