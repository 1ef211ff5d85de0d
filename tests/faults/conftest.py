"""The zygote and what the verbs need, for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.verbs import Verbs
from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote") / "log.txt")
    yield made
    made.close()


@pytest.fixture(scope="session")
def verbs(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Verbs:
    return Verbs(Path(tmp_path_factory.mktemp("verbs")) / "made", zygote)
