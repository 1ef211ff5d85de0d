"""A training of many steps holds no more memory and no more files at its end than near its beginning."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_memory_and_files_stay_what_they_are() -> None:
    """The short twin of the run of 100,000 steps in docs/reliability.md."""
    words = [sys.executable, "-m", "tests.faults.long_run", "--steps", "4000"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
