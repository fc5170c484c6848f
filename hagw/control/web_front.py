"""Tell `hagw web`, which may not read the configuration, where to listen: a file without secrets, beside its socket."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hagw.control.durable import Disk
from hagw.log import log_of
from hagw.model.intent import CpeIntent, Intent
from hagw.model.web import WEB_FILE

SCHEMA: Final = 1
LOOK_S: Final = 1.0
MODE: Final = 0o644  # the directory lets the web process' group through

log = log_of("hagw.web_front")


def front(intent: Intent) -> dict[str, Any]:
    """Return the document. Never an uplink's interface: on a HAG, all of whose are public, only loopback."""
    web = intent.web
    return {
        "schema": SCHEMA,
        "enabled": web.enabled,
        "port": web.port,
        "interfaces": list(intent.lan_interfaces) if isinstance(intent, CpeIntent) and not web.addresses else [],
        "addresses": [str(address) for address in web.addresses],
        "names": list(web.names),
        "certificate": web.certificate,
        "key": web.key,
    }


async def keep_web_told(intent: Callable[[], Intent], runtime_dir: Path) -> None:
    """Write the file, and again whenever the configuration in force says something else, for ever."""
    told = None
    while True:
        document = front(intent())
        if document != told:
            try:
                Disk().replace(runtime_dir / WEB_FILE, json.dumps(document) + "\n", MODE)
                told = document
            except OSError as why:
                log.warning("web process not told where to listen", reason=str(why))
        await asyncio.sleep(LOOK_S)
