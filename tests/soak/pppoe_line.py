"""hagw over PPPoE in a VLAN, as most DSL lines are, on a kernel that has both, under an emulated machine.

    python -m tests.soak.pppoe_line --directory /var/tmp/hagw-pppoe

For kernels that lack PPPoE and VLANs, like that of the machine most tests run on. Takes some minutes, so it is no part
of `./lab test`; boots Debian's kernel as `old_kernel` does. In the guest (`pppoe_guest`) the lab's DSL provider serves
PPPoE in VLAN 7, pppd dials in from the CPE, and hagw bonds `ppp0` with the other lines. Exit code 1 if not all is well.
"""

import sys
from typing import Final

from tests.soak import old_kernel

PACKAGES: Final = (*old_kernel.PACKAGES, "ppp", "pppoe")
MODULES: Final = (*old_kernel.MODULES, "8021q", "pppoe", "ppp_async")
COMMANDS: Final = (
    "cp -a {unpacked}/usr/sbin/pppd {unpacked}/usr/sbin/pppoe-server {unpacked}/usr/sbin/pppoe /usr/sbin/",
    "mkdir -p /etc/ppp /usr/lib/pppd; cp -a {unpacked}/usr/lib/pppd/. /usr/lib/pppd/; : > /etc/ppp/options",
    "{python} -m tests.soak.pppoe_guest > /dev/ttyS1 2>&1",
)


def main() -> int:
    """Fetch, boot, judge; return the exit code."""
    told = old_kernel.told_by_guest(str(__doc__), PACKAGES, MODULES, COMMANDS)
    return 0 if "all is well" in told else 1


if __name__ == "__main__":
    sys.exit(main())
