"""Every number hagw claims in the kernel or on the wire, and why it is that number.

Nothing else in the code invents a mark bit, table, priority, protocol, port or address id.
"""

from typing import Final

# Firewall marks. Bits 24-29 are ours: Kubernetes uses 0xc000, mwan3 0x3f00, Tailscale 0xff0000, and
# WireGuard's wg-quick whole-word marks below 0x10000. All our matches and writes carry the mask.
MARK_MASK: Final = 0x3F000000
MARK_SHIFT: Final = 24
MAX_UPLINKS: Final = 32  # slots 1..32
MARK_INTERCEPT: Final = 0x3E << MARK_SHIFT  # delivered to the local TPROXY listener
MARK_KEEP: Final = 0x3F << MARK_SHIFT  # a flow older than hagw: main table, never re-pinned


def uplink_mark(slot: int) -> int:
    """Mark (in packet and conntrack) of a flow pinned to the uplink in `slot` (1..MAX_UPLINKS)."""
    return slot << MARK_SHIFT


# Routing tables: one per uplink, one that delivers intercepted packets locally, one with the best default.
TABLE_MAIN: Final = 254
TABLE_UPLINK_BASE: Final = 5100
TABLE_INTERCEPT: Final = 5190
TABLE_BEST: Final = 5191


def uplink_table(slot: int) -> int:
    """Routing table of the uplink in `slot`."""
    return TABLE_UPLINK_BASE + slot


# Rule priorities 5100-5199, all before main (32766). Order: delivery of intercepted packets, flows that keep
# the main table, pinned flows, the gateway's own packets to connected networks (before the next: an answer from
# an uplink's address to a LAN host stays in the LAN), those that carry an uplink's source address, the rest of them.
PRIORITY_INTERCEPT: Final = 5100
PRIORITY_KEEP: Final = 5101
PRIORITY_MARK_BASE: Final = 5102  # + slot
PRIORITY_LOCAL: Final = 5139  # iif lo: main without its default routes
PRIORITY_SOURCE_BASE: Final = 5140  # + slot
PRIORITY_OWN_BEST: Final = 5181  # iif lo: the best uplink
PRIORITIES: Final = range(5100, 5200)

# The rules every Linux begins with.
PRIORITY_MAIN: Final = 32766
PRIORITY_DEFAULT: Final = 32767
TABLE_DEFAULT: Final = 253

ROUTE_PROTOCOL: Final = 104  # RTPROT_* of every route and rule we add; unassigned in rt_protos
ADDRESS_PROTOCOL: Final = 104  # IFAPROT_* of every address we add; the kernel itself uses 1 to 3
NFT_FAMILY: Final = "inet"
NFT_TABLE: Final = "hagw"

# From where to where a trial from the LAN's side connects: to addresses that nobody has (RFC 7600, RFC 6666), from
# where only this machine can.
TRIAL_WAYS: Final = (("127.0.0.1", "192.0.0.8"), ("::1", "100::8"))

# MPTCP address ids, per connection: one per local address, 0 is the initial subflow's.
ADDRESS_ID_V4_BASE: Final = 0  # + slot
ADDRESS_ID_V6_BASE: Final = 100  # + slot
ADDRESS_ID_OTHER: Final = MAX_UPLINKS  # + the above


# Line numbers in echoes: slots, and from here on those of an examination: its questions must not be counted as theirs.
ECHO_LINE_EXAMINED_BASE: Final = 128  # + slot


def address_id(slot: int, ipv6: bool) -> int:
    """MPTCP address id of the uplink's IPv4 or IPv6 address."""
    return slot + (ADDRESS_ID_V6_BASE if ipv6 else ADDRESS_ID_V4_BASE)


def other_address_id(slot: int, ipv6: bool) -> int:
    """The id an uplink's next address has in the same connection: the first one's withdrawal may arrive after it."""
    return address_id(slot, ipv6) + ADDRESS_ID_OTHER


# Ports. No port is assigned to the Convert service (RFC 8803 section 10.1); 5124 is the usual default.
PORT_TPROXY: Final = 5128  # the workers' transparent listeners on the CPE, never reachable from outside
PORT_TRIAL: Final = 5129  # where a trial from the LAN's side goes: no packet of it leaves the machine
PORT_CONVERT: Final = 5124
PORT_PROBE: Final = 5124  # UDP
PORT_CONTROL: Final = 5125
