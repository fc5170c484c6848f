"""What a configuration may ask of a kernel by name, and what the kernel at hand offers."""

from hagw.model.facts import Facts
from hagw.model.intent import Intent


def refusals(intent: Intent, facts: Facts) -> tuple[str, ...]:
    """Return a sentence for each name that this kernel does not have; empty when the intent can be had."""
    return tuple(
        f"{key}: this kernel has no {what} {wanted!r}; it offers {', '.join(offered) or 'none'}"
        for key, what, wanted, offered in (
            ("mptcp.scheduler", "packet scheduler", intent.mptcp_scheduler, facts.mptcp_schedulers),
            ("congestion_control", "congestion control", intent.congestion_control, facts.congestion_controls),
        )
        if wanted is not None and wanted not in offered
    )
