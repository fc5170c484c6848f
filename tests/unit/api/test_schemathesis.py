"""Whatever is asked of the API in whatever way: answers are as described, and never an error of ours."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pretended import pretended
from tests.relay import relayed

HAG = Path(__file__).parents[3] / "hagw" / "pretend" / "hag.yaml"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
# A stream has no end, and what applies a configuration would leave another gateway than the one asked.
LEFT_OUT = ("/api/v1/stream", "/api/v1/config/apply")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["cpe", "hag"])
def test_schemathesis_finds_nothing(tmp_path: Path, role: str) -> None:
    options = ("--config", str(HAG)) if role == "hag" else ()
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    with pretended(tmp_path, *options) as box, relayed(box.socket) as port:
        command = [program, "run", f"http://127.0.0.1:{port}/api/v1/openapi.json", "--no-color", "--seed", "1"]
        command += ["--phases", "coverage,fuzzing", "--max-examples", "8", "--continue-on-failure", "--checks", CHECKS]
        command += [argument for path in LEFT_OUT for argument in ("--exclude-path", path)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout[-8000:]
        assert box.get("/health")["state"] in ("bonded", "degraded")
