"""The command line: exit codes, one document with --json, one sentence for an error."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

import pytest

from hagw import __version__
from hagw.cli.app import run
from hagw.cli.explain import endpoint
from hagw.cli.output import rate, size
from hagw.cli.quick import run as run_quick
from hagw.cli.status import show as show_status
from hagw.control.status import flows_document, status_document
from hagw.control.status_documents import ChannelStatus, CpeVersionStatus
from tests.fakes import FLOW, HAG, STATUS_INPUTS

ANSWERS: dict[str, tuple[int, Any]] = {
    "/api/v1/status": (200, status_document(STATUS_INPUTS)),
    "/api/v1/flows?recent=60": (200, flows_document([FLOW], (1,))),
    "/api/v1/explain?client=192.168.77.11&server=203.0.113.10&port=443&protocol=17&domain=a.example": (
        200,
        {"schema": 1, "text": ["one", "two"]},
    ),
    "/api/v1/flows/7": (200, {"schema": 1, "text": ["Flow 7"]}),
    "/api/v1/flows?recent=5": (500, {"detail": "The daemon failed to answer; its log says why."}),
    "/api/v1/flows?recent=6": (403, {"detail": "Only root may ask."}),
}


APPLIED = {
    "result": "in force",
    "generation": 7,
    "changes": ["a rule comes"],
    "pending_confirm_s": None,
    "detail": "no",
}


class Handler(BaseHTTPRequestHandler):
    """A daemon that answers from a table."""

    def do_GET(self) -> None:
        status, document = ANSWERS[self.path]
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert self.path == "/api/v1/config/apply"
        body = json.dumps({**APPLIED, "notice": f"{asked['filename']} {asked['note']} {asked['write_file']}"}).encode()
        self.send_response(200 if asked["text"] else 409)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Say nothing: the test's stderr is the command's."""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(tmp_path))
    with ThreadingUnixStreamServer(str(tmp_path / "hagw.sock"), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield tmp_path
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("verb", ["status", "flows"])
def test_no_daemon_is_exit_3_and_one_sentence(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(tmp_path / "nowhere"))
    assert run([verb, "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hagw: No hagw daemon is running")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["status", "--nonsense"], ["nonsense"], ["flows", "--recent", "soon"], ["check"], []]
)
def test_usage_errors_are_exit_2(argv: list[str]) -> None:
    assert run(argv) == 2


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_json_is_the_daemons_document(daemon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == status_document(STATUS_INPUTS)
    assert run(["flows", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_tables_are_plain_without_a_terminal(daemon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "hagw 0.1.0 (cpe): bonded. All 2 uplinks are in use."
    assert lines[2].split()[:4] == ["dsl", "dsl", "dsl0", "up"]
    assert run(["flows"]) == 0
    out = capsys.readouterr().out
    assert "192.168.77.10:40000  example.org:443  converted" in out
    assert "Workers 1 did not answer" in out


def test_another_version_at_the_other_end_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    channel = ChannelStatus(
        state="connected", reason="", uplink="dsl", version="0.0.1", version_differs=True, limits={}
    )
    older: CpeVersionStatus = {"version": "0.0.1", "cpes": 2, "differs": True}
    same: CpeVersionStatus = {"version": "0.1.0", "cpes": 3, "differs": False}
    show_status(dict(status_document(replace(STATUS_INPUTS, channels={"hag1": channel}))))
    show_status(dict(status_document(replace(STATUS_INPUTS, intent=HAG, cpe_versions=[older, same]))))
    shown = capsys.readouterr().out
    assert "dsl, 0.0.1 (not ours)" in shown
    assert "CPEs with a control channel: 2 of version 0.0.1 (not ours), 3 of version 0.1.0\n" in shown


def test_the_daemons_answer_decides_the_exit_code(daemon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["flows", "--recent", "5"]) == 1
    assert capsys.readouterr().err == "hagw: The daemon failed to answer; its log says why.\n"
    assert run(["flows", "--recent", "6"]) == 5


def test_a_valid_configuration_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(Path(__file__).parents[3] / "config" / "cpe.yaml")]) == 0
    assert "valid CPE configuration" in capsys.readouterr().out


def test_a_wrong_configuration_is_exit_2_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nrole: cpe\nuplink: []\n")
    assert run(["check", str(wrong)]) == 2
    err = capsys.readouterr().err
    assert f"{wrong}:3: uplink" in err
    assert all(line.startswith("hagw: ") for line in err.splitlines())


def test_help_lists_the_verbs_but_not_the_daemons_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for verb in ("status", "flows", "check", "lab", "version"):
        assert f"\n  {verb} " in out
    assert "\n  worker" not in out


def test_the_labs_verbs_are_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "--help"]) == 0
    assert "hagw lab" in capsys.readouterr().out


@pytest.mark.alone
def test_status_is_quick_and_loads_neither_server_nor_lab(daemon: Path) -> None:
    """By the processor's time: by the clock, a busy machine would be what is measured."""
    code = (
        "import sys; from hagw.cli.app import run; code = run(['status', '--json']);"
        "print(sorted(m for m in ('fastapi', 'uvicorn', 'hagw.lab', 'structlog', 'httpx') if m in sys.modules)"
        ", file=sys.stderr); sys.exit(code)"
    )
    took_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert (done.returncode, done.stderr) == (0, "[]\n")
    assert min(took_s) < 0.4


def test_the_plain_apply_does_what_the_one_with_options_does(daemon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = daemon / "new.yaml"
    file.write_text("version: 1")
    said = []
    for go in (run_quick, run):
        assert go(["apply", str(file)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == f"  a rule comes\nGeneration 7 is in force.\n{file}  True\n"
    assert run_quick(["apply", str(file), "--note", "why"]) == 0
    assert "why" in capsys.readouterr().out
    file.write_text("")
    for go in (run_quick, run):
        assert go(["apply", str(file)]) == 5
        assert go(["apply", str(daemon / "none.yaml")]) == 2
        said.append(capsys.readouterr().err)
    assert said[2] == said[3] == f"hagw: no\nhagw: {daemon / 'none.yaml'}: cannot be read: No such file or directory\n"
    assert run_quick(["apply", str(file), "too", "many"]) == 2
    assert run_quick(["apply", "--help"]) == 0


def test_the_plain_apply_loads_no_command_line_library(daemon: Path) -> None:
    (daemon / "new.yaml").write_text("version: 1")
    code = (
        f"import sys; from hagw.cli.quick import run; code = run(['apply', {str(daemon / 'new.yaml')!r}]);"
        "print(sorted(m for m in ('typer', 'pydantic', 'yaml') if m in sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_sizes_and_rates_have_units() -> None:
    assert [size(n) for n in (None, 0, 999, 1500, 2_000_000, 5e13)] == [
        "-",
        "0 B",
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "50.0 TB",
    ]
    assert rate(16_000_000) == "16.0 Mbit/s"


def test_explain_prints_the_daemons_text(daemon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "192.168.77.11", "203.0.113.10:443", "--proto", "udp", "--domain", "a.example"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert run(["explain", "--flow", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == ["Flow 7"]


@pytest.mark.parametrize(
    "words", [[], ["192.168.77.11"], ["192.168.77.11", "203.0.113.10:x"], ["a", "b", "--proto", "tpc"]]
)
def test_explain_of_no_flow_is_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("203.0.113.10", ("203.0.113.10", 0)),
        ("203.0.113.10:443", ("203.0.113.10", 443)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("2001:db8::1", ("2001:db8::1", 0)),
    ],
)
def test_an_endpoint_is_an_address_with_or_without_a_port(text: str, found: tuple[str, int]) -> None:
    assert endpoint(text) == found
