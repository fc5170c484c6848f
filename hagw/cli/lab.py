"""`hagw lab`: the lab's own verbs, loaded only when asked for, so that `hagw status` stays quick."""

import typer


def lab() -> None:
    """Show the product at work in network namespaces; `hagw lab --help` lists the verbs."""


def load() -> typer.Typer:
    """Import the lab and return its application, which takes over everything after `lab`."""
    from hagw.lab.commands import app

    return app
