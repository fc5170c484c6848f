"""`lab demo` shows the main job and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hagw.lab import netns
from hagw.lab.lab import ROOT

SOURCE = Path(__file__).parents[2]
LINES = {"dsl", "lte", "wifi"}


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_demo_bonds_all_lines_and_survives_a_black_hole() -> None:
    name = f"demo-{os.getpid()}"
    argv = [sys.executable, "-m", "hagw", "lab", "--name", name, "demo", "--json"]
    done = subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=220)
    document = json.loads(done.stdout)
    said = f"{done.stderr}\n{_state(document)}"
    assert document["reasons"] == [], said
    assert (document["schema"], document["ok"], done.returncode) == (1, True, 0), said
    assert set(document["lines"]) == set(document["bytes_by_uplink"]) == LINES
    for way in ("down", "up"):
        alone = [line[f"alone_{way}_bps"] for line in document["lines"].values()]
        assert document["single"][f"{way}_bps"] == max(alone)
        assert document[f"sum_{way}_bps"] == pytest.approx(sum(alone), abs=3)
        assert document["bonded"][f"{way}_bps"] > 1.5 * max(alone)
        assert 90 <= document[f"percent_{way}"] <= 102
        assert all(carried[way] > 0 for carried in document["bytes_by_uplink"].values())
    assert 0 < document["gap_ms"] < 500
    assert 0 < document["rejoin_ms"] < 3000
    assert document["sha256_equal"] is True
    assert document["duration_s"] < 120
    assert not (ROOT / name).exists()
    assert not list(netns.DIRECTORY.glob(f"hagw-{name}-*"))


def _state(document: dict[str, object]) -> str:
    file = document["state_file"]
    return Path(str(file)).read_text(encoding="utf-8") if file else ""
