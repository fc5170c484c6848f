"""Take hagw out of the kernel: first let no new connection in, then, when the workers are done, leave it as found.

Needs no daemon and no configuration: what is ours is known by table name, protocol number and what is remembered.
"""

from typing import Final, Protocol

from hagw.errors import KernelRefused
from hagw.model.resources import Drop, KernelState, MptcpLimits, Plan, Sysctl
from hagw.plan.diff import describe, diff

LOST: Final = (
    "What was there before hagw is not known any more (kernel.json in the state directory is lost or damaged): "
    "kernel parameters stay as they are now. A reboot brings those of this machine back."
)


class ClearPort(Protocol):
    """What clearing needs of the kernel."""

    notes: list[str]

    def read(self) -> KernelState: ...

    def write(self, plan: Plan) -> Plan: ...

    def stop_intercepting(self) -> None: ...

    def forget_ended(self) -> None: ...


def close_gate(kernel: ClearPort) -> None:
    """Stop intercepting new connections; those the workers carry go on. Raises KernelRefused."""
    kernel.stop_intercepting()


def restore(kernel: ClearPort, *, workers: int = 0) -> tuple[str, ...]:
    """Remove everything of ours and put back what was there before; return what was left alone, and why.

    `workers` is how many were running: whoever runs has set parameters, so none remembered means that they are lost.
    One step that fails does not keep the others from being taken; raises KernelRefused with all failures then.
    """
    failures = []
    found = kernel.read()
    lost = bool(found or workers) and not any(isinstance(resource, Sysctl | MptcpLimits) for resource in found.values())
    for step in diff(found, {}):
        try:
            kernel.write((step,))
        except KernelRefused as failure:
            failures.append(str(failure))
    try:
        kernel.forget_ended()
    except KernelRefused as failure:
        failures.append(str(failure))
    left = kernel.read()
    if failures or left:
        failures += [f"{describe(Drop(resource))} had no effect" for resource in left.values()]
        raise KernelRefused("not everything could be cleared: " + "; ".join(failures))
    return (*kernel.notes, *((LOST,) if lost else ()))
