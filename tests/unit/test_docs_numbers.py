"""Numbers that the documents put into sentences are those of the code."""

import pytest

from hagw.control import gate, pace, refusals, workers
from hagw.control.worker_seat import PING_INTERVAL_S, SILENCE_MAX_S
from hagw.convert import cookie
from hagw.dataplane import flows, gateway_book, mptcp_socket, request, sendqueue, servers
from hagw.health import gateway as gateway_health
from hagw.health import noharm
from hagw.health.profile import METERED_RETRY_S, PROFILES
from hagw.lab import demo_report
from hagw.plan import nft
from tests.unit import docs

WIRED = PROFILES["dsl"]
EARLY_DATA = "docs/adr/0005-early-data.md"
LIVENESS = "docs/adr/0009-liveness.md"
NO_HARM = "docs/adr/0010-no-harm.md"
WORKERS = "docs/adr/0004-worker-control-protocol.md"


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("README.md", f"was silent for more than {gateway_book.FRESH_S:g} s"),
        ("README.md", f"replaced after {SILENCE_MAX_S:g} s"),
        ("README.md", f"remembers such a server and port for {refusals.REFUSED_S:g} s"),
        ("docs/glossary.md", f"proof of life in the last {gateway_book.FRESH_S:g} s"),
        ("docs/glossary.md", f"left unintercepted for {refusals.REFUSED_S:g} s"),
        ("docs/cli.md", f"finish for {workers.DRAIN_S:g} s"),
        ("docs/cli.md", f"reached {demo_report.PERCENT_MIN:g} % of the lines' sum"),
        ("docs/cli.md", f"the pause was under {demo_report.GAP_MAX_MS:g} ms"),
        ("docs/configuration.md", f"costs {servers.RACE_S * 1000:g} ms at most"),
        ("docs/runbook.md", f"silent for {SILENCE_MAX_S:g} s"),
        ("docs/runbook.md", f"suspect for {WIRED.down_after_s:g} s"),
        ("docs/runbook.md", f"servers that refused in the last {nft.REFUSED_TIMEOUT_S:g} s"),
        (WORKERS, f"Ping every {PING_INTERVAL_S * 1000:g} ms; silence of {SILENCE_MAX_S:g} s"),
        (EARLY_DATA, f"in the last {gateway_book.FRESH_S:g} s"),
        (EARLY_DATA, f"{request.ACK_WAIT_S * 1000:g} ms at most"),
        (EARLY_DATA, f"than {request.CROSSED_SHARE:g} of the shortest round trip"),
        (EARLY_DATA, f"echoes come every {WIRED.echo_s * 1000:g} ms"),
        ("docs/adr/0007-interception.md", f"every HAG is down for {gate.CLOSE_AFTER_S:g} s"),
        (LIVENESS, f"stopped for {WIRED.silence_s * 1000:g} ms"),
        (LIVENESS, f"nothing back for {WIRED.unanswered_s * 1000:g} ms"),
        (LIVENESS, f"over that line, {WIRED.ask_gap_s * 1000:g} ms apart"),
        (LIVENESS, f"is asked every {METERED_RETRY_S:g} s"),
        (LIVENESS, f"*down* follows after {WIRED.down_after_s:g} s"),
        (LIVENESS, f"down after {gateway_health.SILENT_S:g} s ({gateway_health.SILENT_BUSY_S:g} s while"),
        ("docs/adr/0006-hag-receive-buffer.md", f"connections get {mptcp_socket.RECEIVE_BYTES >> 20} MiB"),
        ("docs/adr/0016-short-queues.md", f"{sendqueue.SPAN_MIN_S:g} s, between"),
        (NO_HARM, f"bulk ({noharm.BULK_BYTES >> 10} KiB) and one-way ({noharm.ONE_WAY:g} : 1)"),
        (NO_HARM, f"as soon as {noharm.EARLY_BYTES >> 10} KiB tell"),
        (NO_HARM, f"carries less than {noharm.WITHHOLD_BELOW * 100:g} %"),
        (NO_HARM, f"comes back above {noharm.RELEASE_ABOVE * 100:g} %"),
        (NO_HARM, f"the matter is clear ({noharm.REMEMBERED_BELOW * 100:g} %)"),
        (NO_HARM, f"at least {noharm.JAMMED_S:g} s to leave"),
        (NO_HARM, f"at least {noharm.BLOCKING_RTT_MS:g} ms"),
        (NO_HARM, f"share under {noharm.BLOCKING_SHARE * 100:g} %"),
        (NO_HARM, f"that was {(noharm.TRIAL_GAIN - 1) * 100:.0f} % faster"),
        ("docs/adr/0015-servers-that-refuse.md", f"timeout of {nft.REFUSED_TIMEOUT_S:g} s"),
        ("docs/adr/0015-servers-that-refuse.md", f"{nft.REFUSED_MAX:,} destinations"),
    ],
)
def test_a_number_in_a_sentence_is_the_codes(document: str, sentence: str) -> None:
    assert sentence in " ".join(docs.text(document).split())


def test_periods_put_into_words_are_the_codes() -> None:
    """Where a document says "an hour" or "two minutes", this is the period it means."""
    assert cookie.PERIOD_S == 3600
    assert flows.CLOSED_KEPT_S == 120
    assert pace.FULL_PASS_S == 60
    assert WIRED.heartbeat_s == 60
    assert PROFILES["wwan"].heartbeat_s == 300
    assert (servers.GOOD_S, servers.PLAIN_S) == (24 * 3600, 3600)
