"""The only speaker of netlink, nftables and sysctl besides probe."""
