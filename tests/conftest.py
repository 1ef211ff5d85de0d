"""Fixtures that several tests share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import FakeEuroSAT, make_eurosat

if TYPE_CHECKING:
    from tests.students import Runs


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real samples: WHEREWHEN_DATA, else `../shared/data` beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WHEREWHEN_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"the real samples are not at {folder}; set WHEREWHEN_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> "Runs":
    """Finished runs of every kind of student."""
    from tests.students import Runs

    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def fake_eurosat(tmp_path: Path) -> FakeEuroSAT:
    """Fifty generated pictures in EuroSAT's layout."""
    where = tmp_path / "source"
    where.mkdir()
    return make_eurosat(where)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 256 KiB; skips where none can be mounted (a monkeypatched twin runs everywhere)."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
