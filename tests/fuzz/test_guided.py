"""Coverage-guided searches, in processes of their own: Atheris ends the one that it runs in."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="Atheris is not installed: pip install atheris")

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["sensor", "list", "labels", "weights"])
def test_nothing_but_a_user_error_comes_out(reader: str, tmp_path: Path) -> None:
    words = [reader, "-runs=20000", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", *words], cwd=ROOT, capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Done 20000 runs" in done.stderr
