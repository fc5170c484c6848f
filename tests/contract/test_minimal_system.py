"""A minimal Debian has no netbase, so no /etc/protocols: nft must not be asked for a protocol by its name."""

import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import AllowIntent, CpeIntent, FirewallIntent, UplinkIntent
from hagw.model.resources import NftTable
from hagw.plan.cpe import desired

pytestmark = pytest.mark.netns

SOURCE = Path(__file__).parents[2]
LTE = UplinkFacts("lte", ifindex=2, address4=ip_address("192.0.2.2"), address6=ip_address("2001:db8::2"), onlink4=True)
INTENT = CpeIntent(
    ("lan0",),
    (UplinkIntent("lte", "wwan", "lte0", 1),),
    (),
    firewall=FirewallIntent(allow=(AllowIntent("tunnel", "esp"), AllowIntent("other", "gre"))),
)
HIDDEN = '[ ! -e /etc/protocols ] || mount --bind /dev/null /etc/protocols; exec "$@"'
PUT = "import sys; from hagw.kernel.nft import Nft; Nft().replace(sys.stdin.read())"


def test_the_table_is_put_where_protocols_have_no_names() -> None:
    facts = Facts(uplinks={"lte": LTE})
    state = desired(INTENT, facts, {"lte": UplinkHealth("up", cap="cut")}, intercept4=True, intercept6=True)
    table = state[NftTable("").key]
    assert isinstance(table, NftTable)
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", HIDDEN, "sh", sys.executable, "-P", "-c", PUT],
        input=table.text,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
