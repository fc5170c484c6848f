"""What was there before hagw, on disk: kept for the running network namespace, forgotten with it."""

import json
import os
from pathlib import Path
from typing import Any, Final, get_args

from hagw.model.remembered import Remembered, RememberedLimits, RememberedLink, RememberedSysctl
from hagw.model.resources import LinkProperty, MptcpLimits

_SCHEMA: Final = 1


def namespace_identity() -> str:
    """Name this boot and network namespace: after either has changed, nothing remembered is true any more."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/thread-self/ns/net').st_ino}"


class Store:
    """One file in the state directory, replaced as a whole: a loss of power leaves the old one or the new one."""

    def __init__(self, directory: Path, identity: str) -> None:
        self._file = directory / "kernel.json"
        self._identity = identity

    def load(self) -> Remembered:
        """Return what was saved last in this namespace, empty when it is a new one. Raises OSError."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA or document["namespace"] != self._identity:
                return Remembered()
            return _parse(document)
        except FileNotFoundError:
            return Remembered()
        except (ValueError, KeyError, TypeError, AttributeError):
            return Remembered()  # not ours or damaged: nothing in it can be trusted

    def save(self, remembered: Remembered, *, durable: bool) -> None:
        """Replace what is remembered; nothing left to remember removes the file. Raises OSError."""
        if remembered == Remembered():
            self._file.unlink(missing_ok=True)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        beside = self._file.with_suffix(".new")
        with open(beside, "w", encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, "namespace": self._identity, **_document(remembered)}, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, self._file)
        if durable:
            directory = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def _document(remembered: Remembered) -> dict[str, Any]:
    limits = remembered.limits
    return {
        "sysctls": {
            name: {
                "previous": known.previous,
                "written": list(known.written),
                "along": dict(known.along),
                "ifindex": known.ifindex,
            }
            for name, known in remembered.sysctls.items()
        },
        "limits": None if limits is None else _limits_document(limits),
        "table": remembered.table,
        "table_seen": remembered.table_seen,
        "links": [
            {
                "device": device,
                "name": name,
                "previous": known.previous,
                "written": list(known.written),
                "ifindex": known.ifindex,
            }
            for (device, name), known in remembered.links.items()
        ],
    }


def _parse(document: dict[str, Any]) -> Remembered:
    limits = document["limits"]
    return Remembered(
        sysctls={
            str(name): RememberedSysctl(
                str(known["previous"]), tuple(known["written"]), dict(known["along"]), int(known.get("ifindex", 0))
            )
            for name, known in document["sysctls"].items()
        },
        limits=None if limits is None else _parse_limits(limits),
        table=str(document["table"]),
        table_seen=str(document["table_seen"]),
        links={
            (str(each["device"]), name): RememberedLink(
                int(each["previous"]), tuple(each["written"]), int(each.get("ifindex", 0))
            )
            for each in document.get("links", ())
            for name in get_args(LinkProperty)
            if each["name"] == name
        },
    )


def _limits_document(limits: RememberedLimits) -> dict[str, Any]:
    return {"previous": _pair(limits.previous), "written": [_pair(each) for each in limits.written]}


def _parse_limits(document: dict[str, Any]) -> RememberedLimits:
    return RememberedLimits(_limits(document["previous"]), tuple(_limits(each) for each in document["written"]))


def _pair(limits: MptcpLimits) -> list[int]:
    return [limits.subflows, limits.add_addr_accepted]


def _limits(pair: list[int]) -> MptcpLimits:
    subflows, add_addr_accepted = pair
    return MptcpLimits(int(subflows), int(add_addr_accepted))
