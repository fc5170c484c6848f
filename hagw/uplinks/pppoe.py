"""PPP over Ethernet: pppd makes and addresses the interface."""

from typing import Final

from hagw.uplinks.kind import Kind

KIND: Final = Kind(
    name="pppoe",
    title="PPPoE",
    made_by="the PPPoE client (pppd)",
    is_point_to_point=True,
    mtu_max=1500,
)
