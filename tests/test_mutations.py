"""The reference tests catch wrong code."""

import subprocess
import sys

import pytest

from tests.mutations import CONTRAST, MUTATIONS, ROOT


@pytest.mark.slow
def test_every_mutant_is_caught() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.mutations"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_edit_still_matches_the_code() -> None:
    for mutations in (MUTATIONS | CONTRAST).values():
        assert len(mutations) == 5
        for edit in mutations.values():
            code = (ROOT / "src" / "wherewhen" / edit.file).read_text(encoding="utf-8")
            assert code.count(edit.old) == 1, edit
