"""The name in a connection's first bytes, whoever wrote them and however they were cut."""

import ssl

import pytest
from hellos import ENCRYPTED_CLIENT_HELLO, GREASE, extension, handshake, real, records, server_name

from hagw.policy.first_bytes import MAX_BYTES, MORE, OTHER, Named, domain_name, read

NAMED = server_name(b"www.Example.org")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_is_read_from_a_real_hello(newest: ssl.TLSVersion) -> None:
    assert read(real("www.example.org", newest)) == Named("www.example.org", "sni")


def test_a_hello_without_a_name_has_none() -> None:
    assert read(real(None)) == OTHER
    assert read(records(handshake())) == OTHER


@pytest.mark.parametrize("size", [1, 2, 5, 40, 1000])
def test_records_may_cut_a_hello_anywhere(size: int) -> None:
    assert read(records(handshake(extension(GREASE, b"\0"), NAMED), size)) == Named("www.example.org", "sni")


def test_segments_may_cut_a_hello_anywhere() -> None:
    whole = real("www.example.org")
    found = [read(whole[:length]) for length in range(len(whole))]
    first = next(length for length, each in enumerate(found) if each != MORE)
    assert set(found[first:]) == {Named("www.example.org", "sni")}
    assert first > 40


def test_of_two_names_the_first_stands() -> None:
    hello = handshake(NAMED, server_name(b"other.example.org"))
    assert read(records(hello)) == Named("www.example.org", "sni")


def test_grease_before_and_after_does_not_matter() -> None:
    hello = handshake(extension(GREASE, b""), extension(GREASE, b"x" * 300), NAMED, extension(GREASE, b"\0"))
    assert read(records(hello)) == Named("www.example.org", "sni")


def test_the_outer_name_of_an_encrypted_hello_is_told_apart() -> None:
    hello = handshake(NAMED, extension(ENCRYPTED_CLIENT_HELLO, bytes(200)))
    assert read(records(hello)) == Named("www.example.org", "sni", is_outer=True)


@pytest.mark.parametrize("name", [b"192.0.2.1", b"", b"a..b", b"a b", b"\xff\xfe", b"-", b"x" * 64, b"a." * 127 + b"a"])
def test_what_is_no_name_is_none(name: bytes) -> None:
    assert read(records(handshake(server_name(name)))) == OTHER


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"GET / HTTP/1.1\r\nHost: www.Example.org\r\n\r\n", Named("www.example.org", "host")),
        (b"GET / HTTP/1.1\r\nUser-Agent: x\r\nhOsT:\twww.example.org:8080 \r\n", Named("www.example.org", "host")),
        (b"GET / HTTP/1.1\nHost: www.example.org.\n", Named("www.example.org", "host")),
        (
            b"CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\n\r\n",
            Named("www.example.org", "host"),
        ),
        (b"GET / HTTP/1.1\r\nHost: 203.0.113.10\r\n\r\n", OTHER),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", OTHER),
        (b"GET / HTTP/1.0\r\n\r\n", OTHER),
        (b"GET / HTTP/1.1\r\nHost: www.example.or", MORE),
        (b"GE", MORE),
        (b"", MORE),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OTHER),
        (b"SSH-2.0-OpenSSH_9.2\r\n", OTHER),
        (b"\x16\x03\x01\x00", MORE),
        (b"\x16\x02\x01\x00\x10", OTHER),
        (b"\x16\x03\x01\x00\x00", OTHER),
        (records(b"\x02" + handshake(NAMED)[1:]), OTHER),
        (b"\x80\x2e\x01\x00\x02", OTHER),
    ],
)
def test_what_else_may_come_first(said: bytes, found: object) -> None:
    assert read(said) == found


def test_nothing_is_waited_for_without_end() -> None:
    assert read(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_BYTES) == OTHER
    endless = b"\x01\xff\xff\xff" + bytes(MAX_BYTES)
    assert read(records(endless)) == OTHER


def test_names_are_normal() -> None:
    assert domain_name("WWW.Example.ORG.") == "www.example.org"
    assert domain_name("_sip._tcp.example.org") == "_sip._tcp.example.org"
    assert domain_name("10.0.0.1") is None
