"""The manual page and the completions know every verb; bash can read what is made for it."""

import gzip
import subprocess

import manual
from typer.main import get_command

from hagw.cli.app import app


def _verbs() -> list[str]:
    return sorted(vars(get_command(app))["commands"])


def test_the_manual_page_has_a_section_for_every_verb() -> None:
    page = gzip.decompress(manual.manual()).decode()
    assert page.startswith(".TH HAGW 1")
    for verb in _verbs():
        assert f".SS hagw {verb}".replace("-", "\\-") in page


def test_completions_know_every_verb() -> None:
    for path, data in manual.completions().items():
        for verb in _verbs():
            assert verb in data.decode(), (path, verb)


def test_bash_completes_a_verb_and_an_option() -> None:
    script = manual.completions()["usr/share/bash-completion/completions/hagw"].decode()
    assert _completed(script, "hagw stat") == ["status"]
    assert _completed(script, "hagw status --js") == ["--json"]


def test_bash_completes_the_verbs_below_a_verb_and_their_options() -> None:
    script = manual.completions()["usr/share/bash-completion/completions/hagw"].decode()
    assert _completed(script, "hagw customer inv") == ["invite"]
    assert "--month-bytes" in _completed(script, "hagw customer add miller --")
    assert _completed(script, "hagw customer add --month") == ["--month-bytes"]
    assert _completed(script, "hagw rollback --js") == ["--json"]


def _completed(script: str, line: str) -> list[str]:
    asked = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _hagw; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split()
