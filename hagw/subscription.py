"""Puts together what ties CPEs to gateways: on a HAG the registry of customers. Part of the daemon."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.model.intent import HagIntent
from hagw.registry.watch import RollWatch

if TYPE_CHECKING:
    from hagw.registry.customers import Registry

ROLL_FILE: Final = "customers.json"


def open_registry(url: str, state_dir: Path) -> "Registry | None":
    """Return the registry of a configured URL, None where its file was not made yet: nobody has a customer there.

    Loads its libraries, which takes half a second. Raise Refused for a URL that cannot be used.
    """
    if not url and not (state_dir / "customers.db").exists():
        return None
    from hagw.registry.customers import Registry

    found = Registry.at(url, state_dir)
    return found if found.database.is_there() else None


def roll_watch(gateway: Gateway, state_dir: Path) -> RollWatch:
    """Return what keeps a HAG's customers as its registry says."""

    def url() -> str:
        return gateway.intent.registry_url if isinstance(gateway.intent, HagIntent) else ""

    return RollWatch(
        url,
        lambda at: open_registry(at, state_dir),
        state_dir / ROLL_FILE,
        Disk().replace,
        lambda roll: gateway.customers_changed(roll.customers),
    )
