"""What a configuration names and the kernel does not have is refused with what there is instead."""

from dataclasses import replace
from ipaddress import ip_address

from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent, HagIntent
from hagw.model.resources import Drop, Put, Sysctl
from hagw.plan import cpe, hag
from hagw.plan.diff import diff
from hagw.plan.feasible import impossibilities
from hagw.plan.offered import refusals

CPE = CpeIntent(lan_interfaces=("lan0",), uplinks=(), gateways=())
HAG = HagIntent((ip_address("0.0.0.0"),), 5124, 5124, 5125, ())
FACTS = Facts(uplinks={}, congestion_controls=("reno", "cubic"), sysctls=frozenset({"net/mptcp/scheduler"}))
KEY = Sysctl("net/mptcp/scheduler", "").key


def test_what_the_kernel_has_is_accepted() -> None:
    assert refusals(CPE, FACTS) == ()
    assert refusals(replace(CPE, mptcp_scheduler="default", congestion_control="cubic"), FACTS) == ()


def test_another_scheduler_is_chosen_where_the_kernel_offers_it_and_given_back_with_the_key() -> None:
    facts = replace(FACTS, mptcp_schedulers=("default", "bpf_rr"))
    wanted = replace(CPE, mptcp_scheduler="bpf_rr")
    assert refusals(wanted, facts) == impossibilities(CPE, wanted, facts) == ()
    after = cpe.desired(wanted, facts, {}, intercept4=False, intercept6=False)
    before = cpe.desired(CPE, facts, {}, intercept4=False, intercept6=False)
    assert diff(before, after) == (Put(Sysctl("net/mptcp/scheduler", "bpf_rr")),)
    assert diff(after, before) == (Drop(Sysctl("net/mptcp/scheduler", "bpf_rr")),)


def test_a_kernel_that_says_nothing_of_schedulers_offers_the_default_alone() -> None:
    """Linux 6.1: nothing is written there, and another one is refused."""
    silent = replace(FACTS, sysctls=frozenset())
    assert refusals(replace(CPE, mptcp_scheduler="default"), silent) == ()
    (sentence,) = refusals(replace(CPE, mptcp_scheduler="bpf_rr"), silent)
    assert sentence.endswith("it offers default")


def test_a_scheduler_the_kernel_lacks_is_refused_with_the_list() -> None:
    wanted = replace(HAG, mptcp_scheduler="bpf_red")
    (sentence,) = refusals(wanted, replace(FACTS, mptcp_schedulers=("default", "bpf_rr")))
    assert "bpf_red" in sentence
    assert sentence.endswith("default, bpf_rr")
    assert impossibilities(HAG, wanted, FACTS) == refusals(wanted, FACTS)
    assert impossibilities(CPE, replace(CPE, mptcp_scheduler="bpf_red"), FACTS) != ()


def test_a_congestion_control_the_kernel_lacks_is_refused_with_the_list() -> None:
    (sentence,) = refusals(replace(CPE, congestion_control="bbr"), FACTS)
    assert sentence.endswith("reno, cubic")


def test_the_scheduler_is_set_where_one_is_wanted_and_can_be() -> None:
    chosen = {"mptcp_scheduler": "default"}
    for facts, there in ((FACTS, True), (replace(FACTS, sysctls=frozenset()), False)):
        on_cpe = cpe.desired(replace(CPE, **chosen), facts, {}, intercept4=False, intercept6=False)
        on_hag = hag.desired(replace(HAG, **chosen), facts)
        assert (KEY in on_cpe, KEY in on_hag) == (there, there)
    assert KEY not in hag.desired(HAG, FACTS)
