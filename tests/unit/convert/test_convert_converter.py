"""The converter's side: warm clients, options, rights, and the order of its answers."""

import pytest
from convert_playbook import conversation, one_by_one
from convert_vectors import CONNECT4, COOKIE, SERVER4, SERVER6, SYNACK

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode, Misuse
from hagw.convert.events import (
    ClosedEarly,
    ConnectRequested,
    CookiePresented,
    EarlyData,
    Failed,
    InfoRequested,
)
from hagw.convert.machine import ConverterMachine
from hagw.convert.message import encode
from hagw.convert.tlv import Connect, Cookie, Info, TcpOption

FRONT = "01092263 16030000 11223344 55667788"
REQUESTED = ConnectRequested(SERVER4, 443, (), False)


@pytest.mark.parametrize("chunks", [lambda data: [data], one_by_one], ids=["at once", "byte by byte"])
def test_cookie_is_presented_before_the_server_is_named(chunks) -> None:
    with conversation(ConverterMachine(requires_cookie=True), chunks) as converter:
        converter.receives(FRONT)
        converter.reports(CookiePresented(COOKIE))
        converter.receives(CONNECT4 + "474554")
        converter.reports(REQUESTED, EarlyData(b"GET"))
        converter.receives(b" /")
        converter.reports(EarlyData(b" /"))
        assert converter.machine.accept(SYNACK).hex() == "0105226314040000" + SYNACK.hex()
        converter.receives(b"more")
        converter.reports(EarlyData(b"more"))


def test_cookie_is_presented_at_its_last_byte() -> None:
    machine = ConverterMachine()
    front = bytes.fromhex(FRONT)
    assert machine.receive(front[:-1]) == []
    assert machine.receive(front[-1:]) == [CookiePresented(COOKIE)]


def test_cookie_behind_other_tlvs_is_presented_too() -> None:
    wire = encode((Info(), Connect(443, SERVER4), Cookie(COOKIE)))
    with conversation(ConverterMachine(requires_cookie=True)) as converter:
        converter.receives(wire[:30])
        converter.reports()
        converter.receives(wire[30:])
        converter.reports(CookiePresented(COOKIE), ConnectRequested(SERVER4, 443, (), True))


def test_invalid_cookie_is_refused_at_once_and_the_rest_ignored() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(FRONT)
        converter.reports(CookiePresented(COOKIE))
        assert converter.machine.reject(ErrorCode.NOT_AUTHORIZED) == bytes.fromhex("01022263 1e012000")
        converter.receives(CONNECT4)
        converter.reports()
        converter.receives_eof()
        converter.reports()


def test_warm_client_that_goes_away_connects_nothing() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(FRONT)
        converter.reports(CookiePresented(COOKIE))
        converter.receives_eof()
        converter.reports(ClosedEarly())


def test_end_after_the_message_is_a_half_close() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(f"01062263 {CONNECT4}")
        converter.reports(REQUESTED)
        converter.receives_eof()
        converter.reports()
    assert converter.machine.accept()


@pytest.mark.parametrize("tlvs", [(Connect(443, SERVER6),), (Info(),)], ids=["Connect", "Info"])
def test_stranger_without_a_cookie_is_not_authorized(tlvs) -> None:
    (failed,) = ConverterMachine(requires_cookie=True).receive(encode(tlvs))
    assert failed.code == ErrorCode.NOT_AUTHORIZED
    assert failed.reply == bytes.fromhex("01022263 1e012000")


def test_options_that_the_rfc_ignores_are_left_out() -> None:
    connect = "0a0801bb 00000000 00000000 0000ffff c0000201 01020405 b4030307 05021e02"
    with conversation(ConverterMachine()) as converter:
        converter.receives(f"01092263 {connect}")
        converter.reports(ConnectRequested(SERVER4, 443, (TcpOption(30),), False))


def test_end_of_options_hides_what_follows() -> None:
    connect = "0a0701bb 00000000 00000000 0000ffff c0000201 0402001d ff1dffff"
    with conversation(ConverterMachine()) as converter:
        converter.receives(f"01082263 {connect}")
        converter.reports(ConnectRequested(SERVER4, 443, (TcpOption(4),), False))


def test_option_not_offered_here_is_refused() -> None:
    wire = encode((Connect(443, SERVER4, (TcpOption(30), TcpOption(8), TcpOption(8))),))
    (failed,) = ConverterMachine((30, 4)).receive(wire)
    assert failed.code == ErrorCode.UNSUPPORTED_TCP_OPTION
    assert failed.reply == bytes.fromhex("01022263 1e012108")


@pytest.mark.parametrize("kind", [29, 34, 28, 254])
def test_options_user_space_cannot_send_are_refused(kind: int) -> None:
    (failed,) = ConverterMachine().receive(encode((Connect(443, SERVER4, (TcpOption(kind),)),)))
    assert failed.code == ErrorCode.UNSUPPORTED_TCP_OPTION


def test_only_convertible_options_can_be_offered() -> None:
    with pytest.raises(Misuse):
        ConverterMachine((30, 34))


def test_info_alone_is_answered_with_what_is_offered() -> None:
    with conversation(ConverterMachine((30,))) as converter:
        converter.receives(encode((Info(),)) + b"data without a server")
        converter.reports(InfoRequested())
        converter.receives(b"more")
        converter.reports()
    assert converter.machine.answer_info() == bytes.fromhex("01032263 15020000 1e000000")
    with pytest.raises(Misuse):
        converter.machine.answer_info()


def test_every_error_is_one_word_with_its_value() -> None:
    for code, value, word in (
        (ErrorCode.RESOURCE_EXCEEDED, error_value.retry(5), "1e014005"),
        (ErrorCode.NETWORK_FAILURE, error_value.retry(1000), "1e0141ff"),
        (ErrorCode.CONNECTION_RESET, b"", "1e016000"),
        (ErrorCode.DESTINATION_UNREACHABLE, error_value.unreachable(13), "1e01610d"),
    ):
        machine = ConverterMachine()
        machine.receive(encode((Connect(443, SERVER4),)))
        assert machine.reject(code, value) == bytes.fromhex("01022263" + word)


def test_one_answer_a_connection() -> None:
    machine = ConverterMachine()
    with pytest.raises(Misuse):
        machine.accept()
    machine.receive(encode((Connect(443, SERVER4),)))
    with pytest.raises(Misuse):
        machine.answer_info()
    machine.accept()
    for again in (machine.accept, machine.answer_info, lambda: machine.reject(ErrorCode.CONNECTION_RESET)):
        with pytest.raises(Misuse):
            again()


def test_options_too_long_for_a_reply_leave_the_answer_open() -> None:
    machine = ConverterMachine()
    machine.receive(encode((Connect(443, SERVER4),)))
    with pytest.raises(Misuse):
        machine.accept(bytes(1016))
    assert machine.accept(SYNACK)


def test_cookie_of_a_malformed_message_is_presented_first() -> None:
    wire = encode((Cookie(COOKIE), Connect(0, SERVER4)))
    cookie, failed = ConverterMachine(requires_cookie=True).receive(wire)
    assert cookie == CookiePresented(COOKIE)
    assert isinstance(failed, Failed)
    assert failed.code == ErrorCode.MALFORMED_MESSAGE


def test_header_is_judged_before_the_rest_arrives() -> None:
    machine = ConverterMachine()
    assert machine.receive(b"GET") == []
    (failed,) = machine.receive(b" / HTTP/1.1")
    assert failed.reset
    assert failed.code is None


def test_early_data_is_a_view_of_what_was_received() -> None:
    chunk = encode((Connect(443, SERVER4),)) + b"body"
    _, early = ConverterMachine().receive(chunk)
    assert early.data.obj is chunk
