"""DSL line behind a modem or router: Ethernet as seen from here."""

from typing import Final

from hagw.uplinks.kind import Kind

KIND: Final = Kind(
    name="dsl",
    title="DSL",
    made_by="",
    is_point_to_point=False,
    mtu_max=9216,
)
