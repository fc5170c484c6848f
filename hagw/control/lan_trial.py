"""A TCP connection that takes the LAN's way through this machine, without a LAN host: is the user plane in order?

The kernel delivers what carries the mark of intercepted packets to this machine, by `lo`. There it enters the table
where a LAN host's SYN does (`plan.nft`): what is bypassed or refused, the switch, the listener. A worker accepts, has
the gateway asked what it converts, over Multipath TCP and with the customer's cookie, and says what came of it.
Nothing of that is seen on the LAN, and beyond the gateway nothing at all. Left out are the LAN's own wire, what other
programs' firewalls do to packets of its interface (`control.arrivals` watches that), and a server behind the gateway.
"""

import asyncio
import socket
from ipaddress import ip_address
from typing import Final

from hagw.model.ids import MARK_INTERCEPT, PORT_TRIAL, TRIAL_WAYS
from hagw.model.intent import CpeIntent
from hagw.model.resources import Family

TIMEOUT_S: Final = 2.0  # the worker gives the gateway 1.5 s
ANSWER_MAX: Final = 512
WORKS: Final = "converted"
_SO_MARK: Final = 36


def is_open(intent: CpeIntent, family: Family) -> bool:
    """Say whether the owner leaves this way open: what is bypassed does not go it."""
    address = ip_address(TRIAL_WAYS[family == 6][1])
    return not any(address in prefix for prefix in intent.bypass)


async def try_the_lans_way(family: Family) -> str:
    """Connect; return why it did not come to a conversion, "" = it did."""
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind) as sock:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await _ask(sock, *TRIAL_WAYS[family == 6])
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        except ConnectionRefusedError:
            return "it is not intercepted"
        except OSError as why:
            return f"lost: {why.strerror or why}"


async def _ask(sock: socket.socket, own: str, address: str) -> str:
    loop = asyncio.get_running_loop()
    sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK_INTERCEPT)
    sock.bind((own, 0))
    await loop.sock_connect(sock, (address, PORT_TRIAL))
    answer = b""
    while len(answer) < ANSWER_MAX and (data := await loop.sock_recv(sock, ANSWER_MAX)):
        answer += data
    said = answer.decode(errors="replace").strip()
    return "" if said == WORKS else said or "the worker gave no answer"
