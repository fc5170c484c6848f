"""What the kernel of a hybrid access gateway must hold: plain routing is enough, but MPTCP must be let work."""

from hagw.model.facts import Facts
from hagw.model.intent import HagIntent
from hagw.model.resources import KernelState, MptcpLimits, Resource, Sysctl, state_of

SUBFLOWS_MAX = 8  # the kernel takes no more, and a CPE has rarely more lines


def desired(intent: HagIntent, facts: Facts) -> KernelState:
    """Return the state. The in-kernel path manager accepts the joins that CPEs make, and announces nothing."""
    resources: list[Resource] = [Sysctl("net/mptcp/enabled", "1"), MptcpLimits(SUBFLOWS_MAX, 0)]
    if "net/mptcp/pm_type" in facts.sysctls:
        resources.append(Sysctl("net/mptcp/pm_type", "0"))
    elif "net/mptcp/path_manager" in facts.sysctls:
        resources.append(Sysctl("net/mptcp/path_manager", "kernel"))
    if intent.mptcp_scheduler is not None and "net/mptcp/scheduler" in facts.sysctls:
        resources.append(Sysctl("net/mptcp/scheduler", intent.mptcp_scheduler))
    if "net/mptcp/blackhole_timeout" in facts.sysctls:
        resources.append(Sysctl("net/mptcp/blackhole_timeout", "0"))
    return state_of(*resources)
