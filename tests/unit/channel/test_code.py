"""Enrolment codes survive being read out, and are refused when they are something else."""

import pytest

from hagw.channel.code import MARK_SIZE, new_code, parse_code
from hagw.errors import Refused


def test_a_code_is_read_back_however_it_is_written() -> None:
    code = new_code(bytes(range(200, 232)))
    assert code.mark == bytes(range(200, 200 + MARK_SIZE))
    for written in (str(code), str(code).lower(), str(code).replace("-", " "), str(code).replace("O", "0")):
        assert parse_code(written) == code


def test_two_codes_differ() -> None:
    assert new_code(bytes(32)).secret != new_code(bytes(32)).secret


@pytest.mark.parametrize("text", ["", "ABCD", "é" * 32, "?" * 32, "A" * 33])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not an enrolment code"):
        parse_code(text)
