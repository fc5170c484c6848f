"""Secrets are hidden however YAML lets one write them, and the text stays the same in all else."""

import pytest
import yaml

from hagw.config.secrets import masked

KEY = "0123456789abcdef" * 4
WRITTEN = (
    "secret: correct-horse",
    "secret: 'correct-horse'",
    'secret: "correct\\x2dhorse"',
    "secret: correct,horse}x",
    "secret: &it correct-horse",
    "secret: !!str correct-horse",
    "secret: |\n    correct-horse",
    "secret: >-\n    correct-horse\n",
    "secret:\n    correct-horse",
    "secret: correct\n    horse # in two lines",
    "'secret': correct-horse",
    "? secret\n  : correct-horse",
    '{"secret": "correct-horse", name: x}',
    "secret: [correct-horse]",
)


@pytest.mark.parametrize("written", WRITTEN)
def test_a_secret_is_hidden_in_every_way_of_writing_it(written: str) -> None:
    text = f"alerts:\n- {written}\nafter: 1\n"
    shown = masked(text)
    assert "horse" not in shown
    assert "correct" not in shown
    document = yaml.safe_load(shown)
    assert document["after"] == 1
    assert document["alerts"][0]["secret"].startswith("<secret ")


@pytest.mark.parametrize("written", WRITTEN)
def test_it_is_hidden_where_the_text_is_no_yaml_too(written: str) -> None:
    shown = masked(f"alerts:\n- {written}\nafter: 1\nbroken: [\n")
    assert "horse" not in shown
    assert "after: 1" in shown


@pytest.mark.parametrize(
    "written",
    [
        "https://hooks.example.net/T000/B000",
        '"https://hooks.example.net/T000/B000"',
        '"https:\\/\\/hooks.example.net/T000/B000"',
        ">-\n    https://hooks.example.net/T000/B000",
    ],
)
def test_a_webhooks_path_is_hidden(written: str) -> None:
    assert "T000" not in masked(f"webhooks:\n- url: {written}\n")


def test_hosts_of_urls_are_shown_and_passwords_in_them_are_not() -> None:
    assert masked('url: "https://a.example/b"\n').startswith('url: "https://a.example/<path ')
    assert masked("url: http://a.example\n") == "url: http://a.example\n"
    assert masked("url: postgresql://hagw:word@db.example.org/hagw\n") == (
        "url: postgresql://hagw:<password>@db.example.org/hagw\n"
    )


def test_marks_differ_as_what_they_stand_for_does() -> None:
    one, same, other = (masked(f"secret: {each}\n") for each in ("first-one", "first-one", "second-one"))
    assert one == same != other
    assert masked(f"key: {KEY}\n") != masked(f"key: {KEY[::-1]}\n")
    assert KEY not in masked(f"[{KEY}")


def test_what_is_no_secret_stays_to_the_byte() -> None:
    text = "# a secret of it, http://a.example/\nrules:\n- {name: secret-garden, key: short}\nsecret:\n"
    assert masked(text) == text


@pytest.mark.parametrize(
    "comment",
    ["#   secret: correct-horse", "#- {url: 'https://h.example/horse', name: x}", '#  secret: "correct horse"  # why'],
)
@pytest.mark.parametrize("before", ["", "  ", "lines: 1  "])
def test_what_is_out_of_use_in_a_comment_is_hidden_too(comment: str, before: str) -> None:
    shown = masked(f"role: cpe\n{before}{comment}\nafter: 1\n")
    assert "horse" not in shown
    assert yaml.safe_load(shown)["after"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://db/hagw?user=u&password=horse",
        "postgresql://u:ho@rse@db/hagw",
        "postgresql://u:ho/rse@db/hagw",
    ],
)
def test_passwords_are_hidden_wherever_a_url_has_them(url: str) -> None:
    shown = masked(f"registry: {{url: {url!r}}}\n")
    assert "horse" not in shown
    assert "rse@" not in shown
