"""What every damaged input must end in: an answer, or a `UserError` of one line that names the file."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from wherewhen.errors import UserError

SECONDS, MEMORY = 10.0, 2 * 2**30
CASES: dict[str, tuple[int, int]] = {  # name -> how many by default, and in the slow suite
    "store.json": (40, 8_000),
    "patches.parquet": (40, 8_000),
    "pixels": (30, 4_000),
    "targets": (20, 1_000),
    "index": (40, 8_000),
    "geojson": (30, 4_000),
    "csv": (20, 2_000),
    "tiff": (20, 3_000),
    "zip": (30, 4_000),
    "sensor": (20, 2_000),
    "safetensors": (15, 3_000),
    "checkpoint": (15, 3_000),
    "checkpoint values": (10, 1_500),
    "weights": (20, 3_000),
    "onnx": (0, 1_000),  # writing the first one takes its time
    "config": (5, 1_000),
}


def cases(name: str) -> pytest.MarkDecorator:
    """A test with the parameter `count`, which is small by default and large in the slow suite."""
    few, many = CASES[name]
    return pytest.mark.parametrize("count", [*([few] if few else []), pytest.param(many, marks=pytest.mark.slow)])


def bear(
    count: int,
    inputs: st.SearchStrategy[Any],
    write: Callable[[Any], Path],
    read: Callable[[Path], object],
    named: bool = True,
) -> None:
    """Assert that whatever is written is read, or refused as it should be, in little time and memory.

    Args:
        count: How many inputs.
        inputs: Where they come from.
        write: Makes a file, or a folder with one, of an input; its name has to be in the refusal.
        read: Of which only a `UserError` may come.
        named: A refusal names the file; else the key and its value are enough.
    """
    before = memory()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def each(value: Any) -> None:
        path, began = write(value), time.process_time()
        there = set(path.parent.iterdir())
        try:
            read(path)
        except UserError as error:
            text = str(error)
            assert "\n" not in text
            # it, or a file beside it that does not fit to it
            assert not named or path.name in text or f"{path.parent}/" in text, text
        assert time.process_time() - began < SECONDS
        assert set(path.parent.iterdir()) == there, "reading made a file"

    each()
    assert memory() - before < MEMORY


def memory() -> int:
    """The most that this process ever held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
