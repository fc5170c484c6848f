"""WiFi as a station: wpa_supplicant, iwd or NetworkManager joins the network."""

from typing import Final

from hagw.uplinks.kind import Kind

KIND: Final = Kind(
    name="wifi",
    title="WiFi",
    made_by="",
    is_point_to_point=False,
    mtu_max=2304,
)
