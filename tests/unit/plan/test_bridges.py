"""Interception works behind a bridge."""

from hagw.model.facts import Facts
from hagw.model.resources import Sysctl
from hagw.plan.cpe import BRIDGE_SYSCTLS, desired
from tests.fakes import CPE


def test_bridges_leave_packets_to_ip_where_they_could_do_otherwise() -> None:
    facts = Facts(uplinks={}, sysctls=frozenset(BRIDGE_SYSCTLS))
    state = desired(CPE, facts, {}, intercept4=True, intercept6=True)
    values = {resource.name: resource.value for resource in state.values() if isinstance(resource, Sysctl)}
    assert [values[name] for name in BRIDGE_SYSCTLS] == ["0", "0"]
