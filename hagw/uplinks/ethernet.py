"""Ethernet: fibre, cable, or another router."""

from typing import Final

from hagw.uplinks.kind import Kind

KIND: Final = Kind(
    name="ethernet",
    title="Ethernet",
    made_by="",
    is_point_to_point=False,
    mtu_max=9216,
)
