"""Whether traffic flows: looked at before a configuration changes and after it, and compared."""

from collections.abc import Iterator
from dataclasses import dataclass

from hagw.model.resources import Family


@dataclass(frozen=True, slots=True)
class Condition:
    """What can be seen of the user plane. `management` is the interface the caller's packets leave by.

    `workers` accept connections and work by the newest configuration; `converter` is why a connection through the data
    plane to a gateway did not come about, "" = it did, None = not tried.
    """

    workers: int
    workers_wanted: int
    gateway: bool
    forwarding: frozenset[Family]
    management: str | None = None
    converter: str | None = None
    api: bool = True


def regressions(before: Condition, after: Condition) -> tuple[str, ...]:
    """Return what worked before and does not any more, one sentence each. What did not work before may stay so."""
    return tuple(_worse(before, after))


def _worse(before: Condition, after: Condition) -> Iterator[str]:
    expected = after.workers_wanted if before.workers >= before.workers_wanted else min(1, before.workers)
    if after.workers < expected:
        yield f"only {after.workers} of {after.workers_wanted} workers accept connections by it"
    if before.gateway and not after.gateway:
        yield "no gateway answers any more"
    if before.converter == "" and after.converter:
        yield f"a connection through the data plane failed: {after.converter}"
    for family in sorted(before.forwarding - after.forwarding):
        yield f"no uplink is left for forwarded IPv{family} traffic"
    if before.management is not None and after.management != before.management:
        yield f"your own session would leave by {after.management} instead of {before.management}"
    if before.api and not after.api:
        yield "the daemon's API does not answer any more"
