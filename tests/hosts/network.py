"""A node of the lab's topology as a host's own configuration: systemd-networkd, sysctl.d and nftables.conf.

What the lab does from outside, a host does itself at boot: so a reboot shows what a machine is like before and
without hagw.
"""

from hagw.lab.topology import Interface, Node


def files(node: Node) -> dict[str, str]:
    """Return the node's network as files below /etc, by path."""
    made: dict[str, str] = {}
    bridges = {port: interface.name for interface in node.interfaces for port in interface.bridge}
    for interface in node.interfaces:
        if interface.bridge:
            made[f"systemd/network/{interface.name}.netdev"] = (
                f"[NetDev]\nName={interface.name}\nKind=bridge\n\n[Bridge]\nForwardDelaySec=0\nMulticastSnooping=no\n"
            )
        made[f"systemd/network/{interface.name}.network"] = _network(node, interface)
    for port, bridge in bridges.items():
        made[f"systemd/network/{port}.network"] = f"[Match]\nName={port}\n\n[Network]\nBridge={bridge}\n"
    if node.forward:
        made["sysctl.d/60-router.conf"] = "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"
    if node.nft:
        made["nftables.conf"] = f"#!/usr/sbin/nft -f\nflush ruleset\n{node.nft}"
    return made


def _network(node: Node, interface: Interface) -> str:
    lines = ["[Match]", f"Name={interface.name}", "", "[Network]", "IPv6AcceptRA=no", "LLDP=no"]
    for address in interface.addresses:
        lines += ["", "[Address]", f"Address={address}", "DuplicateAddressDetection=none"]
    for route in node.routes:
        if (route.dev or node.interfaces[0].name) == interface.name:
            lines += ["", "[Route]", f"Gateway={route.via}"]
            lines += [f"Destination={route.to}"] if route.to != "default" else []
            lines += [f"Metric={route.metric}"] if route.metric is not None else []
    return "\n".join(lines) + "\n"
