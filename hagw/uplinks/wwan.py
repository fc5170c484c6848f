"""Mobile network: the modem's interface appears with ModemManager or a script, mostly without a router."""

from typing import Final

from hagw.uplinks.kind import Kind

KIND: Final = Kind(
    name="wwan",
    title="mobile",
    made_by="the modem's connection (ModemManager)",
    is_point_to_point=True,
    mtu_max=9216,
)
