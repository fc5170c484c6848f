"""Small servers inside namespaces that tell who they are and whom they see."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

from namespaces import Namespace

from hagw.model.ids import PORT_TPROXY
from tests.attentive import watching

IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
WAIT_S = 2.0
ANSWER_S = 20.0  # over a connection that stands
LAST = b"."  # the server ends the connection


class Server:
    """Answers every TCP segment but LAST, and every UDP datagram, with its own name and the peer's address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def listen(self, sock: socket.socket) -> None:
        """Accept connections, or datagrams, of this socket."""
        self._sockets.append(sock)
        if sock.type == socket.SOCK_STREAM:
            sock.listen(64)
            self._selector.register(sock, selectors.EVENT_READ, self._accept)
        else:
            self._selector.register(sock, selectors.EVENT_READ, self._answer_datagram)

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        """Serve for the length of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            self._thread.join()
            for sock in self._sockets:
                sock.close()
            self._selector.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.05):
                act: Callable[[socket.socket], None] = key.data
                act(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered

    def _accept(self, listener: socket.socket) -> None:
        connection, peer = listener.accept()
        self._sockets.append(connection)
        self.peers.append(peer[0])
        self._selector.register(connection, selectors.EVENT_READ, self._answer)

    def _answer(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
        except OSError:
            data = b""
        if data and data != LAST:
            connection.sendall(f"{self.name} {connection.getpeername()[0]} {connection.getsockname()[0]}".encode())
        else:
            self._selector.unregister(connection)
            connection.close()

    def _answer_datagram(self, sock: socket.socket) -> None:
        _, peer = sock.recvfrom(4096)
        self.peers.append(peer[0])
        sock.sendto(f"{self.name} {peer[0]}".encode(), peer)


def bound(where: Namespace, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Make a bound socket in a namespace."""
    with where.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    return sock


def transparent_listeners(where: Namespace) -> list[socket.socket]:
    """Make what a worker listens with."""
    found = []
    for family, address, level, option in (
        (socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, IP_TRANSPARENT),
        (socket.AF_INET6, "::1", socket.IPPROTO_IPV6, IPV6_TRANSPARENT),
    ):
        with where.entered():
            sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(level, option, 1)
        sock.bind((address, PORT_TPROXY))
        found.append(sock)
    return found


def connect(where: Namespace, address: str, port: int, source: tuple[str, int] | None = None) -> socket.socket:
    """Connect from a namespace; raises TimeoutError after WAIT_S."""
    with where.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.settimeout(WAIT_S)
    if source is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(source)
    try:
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    sock.settimeout(ANSWER_S)
    return sock


def is_answered(sock: socket.socket, within_s: float) -> bool:
    """Send something and say whether anything comes back in time, stalls of the machine aside."""
    sock.settimeout(0.05)
    with watching() as passed_s, contextlib.suppress(OSError):
        sock.send(b"?")
        while passed_s() < within_s:
            with contextlib.suppress(TimeoutError):
                return bool(sock.recv(100))
    return False


def ask(sock: socket.socket) -> list[str]:
    """Send something over a connection and return the answer's words."""
    sock.sendall(b"?")
    return sock.recv(4096).decode().split()


def fetch(where: Namespace, address: str, port: int) -> list[str]:
    """Ask over a new connection."""
    with connect(where, address, port) as sock:
        return ask(sock)
