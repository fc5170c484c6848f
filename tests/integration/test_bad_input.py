"""Bytes that no CPE would send, against a HAG at work: the right answer, counted, and nobody else harmed."""

import contextlib
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import yaml
from ends import Ends
from plane_lab import HAG, INET, Server, Store, connect, own_lab, pattern, read_exactly, read_to_end, until

from hagw.convert import cookie
from hagw.convert.errors import ErrorCode
from hagw.convert.message import HEADER_SIZE, decode, encode, encode_header
from hagw.convert.tlv import Connect, Cookie, Error, ExtendedTcpHeader, Info, SupportedTcpExtensions, TcpOption, Tlv
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.lab import gateway
from hagw.lab.lab import Lab
from tests.attentive import watching

pytestmark = [pytest.mark.netns, pytest.mark.beside]

PORT = 5124
MESSAGE_S = 5.0
SERVER = ip_address(INET[4])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("bad") as made:
        yield made


@pytest.fixture(scope="module")
def ends(lab: Lab) -> Iterator[Ends]:
    """Both ends; after all that was done to the HAG nothing is left of it, and the same workers run."""
    made = Ends(lab)
    made.remember()
    workers = lab.pids("hag", "worker")
    yield made
    made.assert_nothing_left(10.0)
    assert lab.pids("hag", "worker") == workers


@pytest.fixture(scope="module")
def customer(lab: Lab) -> Cookie:
    gateway = yaml.safe_load(lab.config("cpe"))["gateways"][0]
    return Cookie(cookie.mint(bytes.fromhex(gateway["key"]), gateway["customer"], time.time()))


@pytest.fixture(autouse=True)
def somebody_else(lab: Lab) -> Iterator[None]:
    """A download that goes on meanwhile, whatever the test does to the HAG."""
    with Server(lab, Store()), connect(lab, INET[4], 5310) as client:
        client.sendall(b"down 300000 1\n")
        first = read_exactly(client, 100_000)
        yield
        assert first + read_exactly(client, 200_000) == pattern(300_000, 1)


def stranger(lab: Lab, family: int = 4, protocol: int = socket.IPPROTO_TCP, *, node: str = "cpe") -> socket.socket:
    """Connect to the HAG from the CPE, past hagw; or from a node nearer to it, so that many do it in no time."""
    with lab.in_namespace(node):
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM, protocol)
    sock.settimeout(10.0)
    sock.connect((HAG[family], PORT))
    return sock


def answer(sock: socket.socket) -> tuple[Tlv, ...] | str:
    """Return the reply's TLVs and check that the HAG's end follows; or "reset"."""
    try:
        header = read_exactly(sock, HEADER_SIZE)
        if len(header) < HEADER_SIZE:
            return "end"
        message = decode(header + read_exactly(sock, 4 * header[1] - HEADER_SIZE))
        assert read_to_end(sock)[0] == 0
    except ConnectionResetError:
        return "reset"
    return message.tlvs


def code_of(tlvs: tuple[Tlv, ...] | str) -> int | str:
    if isinstance(tlvs, str):
        return tlvs
    (error,) = tlvs
    assert isinstance(error, Error)
    return int(error.code)


def connect_message(*others: Tlv, port: int = 80) -> bytes:
    return encode((Connect(port, SERVER), *others))


MALFORMED: dict[str, tuple[bytes, int | str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: hag\r\n\r\n", "reset"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), "reset"),
    "zeros": (bytes(200), "reset"),
    "wrong magic": (b"\x01\x01\x63\x22", "reset"),
    "length 0": (b"\x01\x00\x22\x63", "reset"),
    "version 0": (b"\x00\x01\x22\x63", ErrorCode.UNSUPPORTED_VERSION),
    "version 2": (b"\x02\x01\x22\x63", ErrorCode.UNSUPPORTED_VERSION),
    "nothing asked": (b"\x01\x01\x22\x63", ErrorCode.MALFORMED_MESSAGE),
    "TLV of length 0": (b"\x01\x02\x22\x63\x01\x00\x00\x00", ErrorCode.MALFORMED_MESSAGE),
    "TLV too long": (b"\x01\x02\x22\x63\x0a\x05\x00\x50", ErrorCode.MALFORMED_MESSAGE),
    "twice": (b"\x01\x03\x22\x63\x01\x01\x00\x00\x01\x01\x00\x00", ErrorCode.MALFORMED_MESSAGE),
    "TLV type 0": (b"\x01\x02\x22\x63\x00\x01\x00\x00", ErrorCode.UNSUPPORTED_MESSAGE),
    "unknown TLV": (b"\x01\x02\x22\x63\xc8\x01\x00\x00", ErrorCode.UNSUPPORTED_MESSAGE),
    "a reply": (encode((ExtendedTcpHeader(b"\x02\x04\x05\xb4"),)), ErrorCode.UNSUPPORTED_MESSAGE),
    "an error": (encode((Error(ErrorCode.NOT_AUTHORIZED),)), ErrorCode.UNSUPPORTED_MESSAGE),
    "multicast": (encode((Connect(80, ip_address("224.0.0.1")),)), ErrorCode.MALFORMED_MESSAGE),
    "loopback": (encode((Connect(80, ip_address("127.0.0.1")),)), ErrorCode.MALFORMED_MESSAGE),
    "port 0": (encode((Connect(0, SERVER),)), ErrorCode.MALFORMED_MESSAGE),
    "options cut short": (
        b"\x01\x07\x22\x63\x0a\x06\x00\x50" + bytes(10) + b"\xff\xff\xcb\x00\x71\x0a\x1e\x09\x00\x00",
        ErrorCode.MALFORMED_MESSAGE,
    ),
    "no cookie": (connect_message(), ErrorCode.NOT_AUTHORIZED),
    "cookie of zeros": (connect_message(Cookie(bytes(28))), ErrorCode.NOT_AUTHORIZED),
    "long cookie": (connect_message(Cookie(bytes(800))), ErrorCode.NOT_AUTHORIZED),
    "only a question": (encode((Info(),)), ErrorCode.NOT_AUTHORIZED),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_each_kind_has_its_answer_and_is_counted(lab: Lab, ends: Ends, kind: str) -> None:
    data, wanted = MALFORMED[kind]
    before = ends.total("hag", "malformed") + ends.total("hag", "refused")
    with stranger(lab) as sock:
        sock.sendall(data)
        assert code_of(answer(sock)) == wanted
    assert ends.total("hag", "malformed") + ends.total("hag", "refused") == before + 1


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", [socket.IPPROTO_TCP, IPPROTO_MPTCP])
def test_it_makes_no_difference_how_one_comes(lab: Lab, customer: Cookie, family: int, protocol: int) -> None:
    with stranger(lab, family, protocol) as sock:
        sock.sendall(connect_message(Cookie(bytes(28))))
        assert code_of(answer(sock)) == ErrorCode.NOT_AUTHORIZED
    with stranger(lab, family, protocol) as sock:
        sock.sendall(encode((Info(), customer)))
        assert answer(sock) == (SupportedTcpExtensions((30, 4, 8)),)


def test_a_customer_may_ask_wrongly_too(lab: Lab, customer: Cookie) -> None:
    for message, wanted in (
        (encode((Connect(80, SERVER, (TcpOption(29),)), customer)), ErrorCode.UNSUPPORTED_TCP_OPTION),
        (encode((Connect(PORT, ip_address(HAG[4])), customer)), ErrorCode.NOT_AUTHORIZED),
        (encode((Connect(80, ip_address("192.168.77.11")), customer)), ErrorCode.NOT_AUTHORIZED),
        (encode((Connect(25, SERVER), customer)), ErrorCode.NOT_AUTHORIZED),
        (encode((Connect(9, SERVER), customer)), ErrorCode.CONNECTION_RESET),
    ):
        with stranger(lab) as sock:
            sock.sendall(message)
            assert code_of(answer(sock)) == wanted


def test_an_error_is_not_much_longer_than_what_caused_it(lab: Lab) -> None:
    """An answer of at most eight bytes more: nobody can use the HAG to multiply traffic."""
    for size in (1, 60, 255):
        message = encode_header(4 * size) + bytes(4 * size - 4)
        with stranger(lab) as sock:
            sock.sendall(message)
            assert read_to_end(sock)[0] <= len(message) + 8


def test_answers_to_nonsense_are_rate_limited(lab: Lab, ends: Ends) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(stranger(lab, node="hag")) for _ in range(250)]
        before = ends.total("hag", "malformed")
        began = time.monotonic()
        for sock in socks:
            sock.sendall(b"\x02\x01\x22\x63")
        codes = [code_of(answer(sock)) for sock in socks]
        seconds = int(time.monotonic() - began) + 2
    assert ends.total("hag", "malformed") == before + 250
    assert codes.count("reset") >= 250 - 2 * 50 * seconds  # a worker answers 50 a second
    assert codes.count(ErrorCode.UNSUPPORTED_VERSION) + codes.count("reset") == 250


@pytest.mark.slow
def test_slow_and_idle_strangers_are_gone_after_five_seconds(lab: Lab, customer: Cookie) -> None:
    with contextlib.ExitStack() as stack:
        began, passed_s = time.monotonic(), stack.enter_context(watching())
        idle = [stack.enter_context(stranger(lab, node="hag")) for _ in range(50)]
        begun = [stack.enter_context(stranger(lab, node="hag")) for _ in range(50)]
        for sock in begun:
            sock.sendall(encode_header(1020) + b"\x16")
        trickling = stack.enter_context(stranger(lab))
        warm = stack.enter_context(stranger(lab))
        warm.sendall(encode_header(HEADER_SIZE + 32 + 20) + customer.encode())
        for byte in encode_header(1020) + b"\x16\xfe" + bytes(200):
            try:
                trickling.sendall(bytes((byte,)))
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("it may trickle for ten seconds")
        assert time.monotonic() - began > MESSAGE_S - 0.5
        assert passed_s() < MESSAGE_S + 1.5
        assert {answer(sock) for sock in (*idle, *begun)} == {"reset"}
        assert passed_s() < MESSAGE_S + 2.0
        warm.sendall(Connect(80, SERVER).encode() + b"GET /1k.bin HTTP/1.0\r\n\r\n")
        reply = read_exactly(warm, HEADER_SIZE)
        rest = read_exactly(warm, 4 * reply[1] - HEADER_SIZE)
        assert isinstance(decode(reply + rest).tlvs[0], ExtendedTcpHeader)
        assert b" 200 OK" in read_exactly(warm, 100)


@pytest.mark.slow
def test_many_half_open_connections_do_not_keep_customers_out(lab: Lab, ends: Ends) -> None:
    """More strangers than the HAG takes notice of, all silent; a LAN host does not see any of it."""
    with contextlib.ExitStack() as stack:
        passed_s = stack.enter_context(watching())
        for _ in range(4_500):
            stack.enter_context(stranger(lab, node="hag"))
        for _ in range(40):  # more than are warm
            began_s = passed_s()
            with connect(lab, INET[4], 5310) as client:
                client.sendall(b"down 1000 3\n")
                assert read_to_end(client)[0] == 1000
                port = client.getsockname()[1]
            assert passed_s() - began_s < 1.0
            assert ends.flow_of(port)["path"] == "converted"
    until(lambda: ends.total("hag", "accept_errors") > 0, 10.0)


@pytest.mark.slow
def test_the_log_names_them_within_bounds_and_keeps_secrets(lab: Lab, customer: Cookie) -> None:
    """After all of the above: who was turned away and why, in a few lines, for thousands of strangers."""
    for _ in range(6):  # both workers have their share
        for data in (b"\x02\x01\x22\x63", connect_message(Cookie(bytes(28)))):
            with stranger(lab) as sock:
                sock.sendall(data)
                answer(sock)
    with stranger(lab) as sock:
        address = sock.getsockname()[0]
        until(lambda: "kind=slow" in log_of_hag(lab), MESSAGE_S + 2.0)
    until(lambda: 'event="more peers turned away"' in log_of_hag(lab), 20.0, every_s=0.2)
    text = log_of_hag(lab)
    for kind in ("malformed", "not-authorised", "slow"):
        assert f'event="peer turned away" source={address} kind={kind} reason=' in text
    assert text.count('event="peer turned away"') < 30
    key = yaml.safe_load(lab.config("cpe"))["gateways"][0]["key"]
    for secret in (key, customer.value.hex(), bytes(28).hex()):
        assert secret not in text


def log_of_hag(lab: Lab) -> str:
    directory = gateway.node_directory(lab.directory, "hag")
    return "".join(path.read_text(encoding="utf-8") for path in sorted(directory.glob("run/*.log")))
