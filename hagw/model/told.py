"""What a gateway tells a CPE over the control channel, and the CPE acts on."""

from dataclasses import dataclass, field

from hagw.model.intent import CustomerLimits, ProbeStyle


@dataclass(frozen=True, slots=True)
class Told:
    """A gateway's last settings for us. `blocked` = why it takes no new flows of ours, "" = it does.

    `probe_port` None and `probing` "normal" = it has no wish, the configuration counts.
    """

    blocked: str = ""
    limits: CustomerLimits = field(default_factory=CustomerLimits)
    probe_port: int | None = None
    probing: ProbeStyle = "normal"
