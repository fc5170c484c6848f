"""A gateway that answers nonsense to everything, for a fault of the bench:

python -m hagw.lab.bench.garbage PORT
"""

import contextlib
import random
import select
import socket
import sys
from typing import Final

_MPTCP: Final = 262  # IPPROTO_MPTCP, which Python has no name for before 3.12
_DATAGRAM_MAX: Final = 2048
_SEED: Final = 8803


def main(port: int) -> None:
    """Answer each connection and each datagram with random bytes, without end."""
    source = random.Random(_SEED)
    door = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, _MPTCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    echoes = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for each in (door, echoes):
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        each.bind(("::", port))
        each.setblocking(False)
    door.listen(128)
    poll = select.epoll()
    held: dict[int, socket.socket] = {}
    for each in (door, echoes):
        poll.register(each, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            with contextlib.suppress(OSError):
                if number == door.fileno():
                    client, _ = door.accept()
                    client.setblocking(False)
                    held[client.fileno()] = client
                    poll.register(client, select.EPOLLIN)
                elif number == echoes.fileno():
                    datagram, sender = echoes.recvfrom(_DATAGRAM_MAX)
                    echoes.sendto(source.randbytes(len(datagram)), sender)
                elif held[number].recv(_DATAGRAM_MAX):
                    held[number].send(source.randbytes(64))
                    continue
                else:
                    held.pop(number).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
