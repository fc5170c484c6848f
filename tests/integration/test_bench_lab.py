"""`lab bench` runs a scenario for real: figures, proof, JSON and HTML; and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hagw.lab import netns
from hagw.lab.lab import ROOT

SOURCE = Path(__file__).parents[2]
SHORT = """
version: 1
name: short
measure: goodput
systems: [hagw, direct]
params: {lasts_s: 3, ramp_s: 1}
cases: {download: {events: [{at_s: 2, link: wifi, set: {delay: 30ms}}]}}
"""


@pytest.mark.netns
@pytest.mark.timeout(90)
def test_a_bench_measures_proves_and_reports(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    name = f"b{os.getpid()}"
    argv = [sys.executable, "-P", "-m", "hagw", "lab", "--name", name, "bench", str(tmp_path / "short.yaml")]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    argv += ["--repeat", "1", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=80)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    (entry,) = document["scenarios"]
    hagw, direct = entry["systems"]["hagw"], entry["systems"]["direct"]
    assert (hagw["why_not"], direct["why_not"]) == (None, None)
    assert 1e6 < direct["median"] < 18e6  # one line carries it
    assert hagw["median"] > 1.5 * direct["median"]
    assert hagw["unproven"] == 0, hagw["proof"]
    assert len(hagw["proof"]) == 1
    assert [words for _, words in hagw["timeline"]["events"]] == ["wifi delay 30ms"]
    assert all(max(rates) > 1e6 for rates in hagw["timeline"]["lines"].values())
    assert "<polygon" in (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "short" in done.stdout
    assert not (ROOT / f"{name}-bench").exists()
    assert not list(netns.DIRECTORY.glob(f"hagw-{name}-*"))
