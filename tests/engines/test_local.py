"""Tasks in this process and in processes of this machine."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from wherewhen import engines
from wherewhen.cli import main
from wherewhen.engines import Local
from wherewhen.engines.local import READY
from wherewhen.errors import UserError


def squares(number: int) -> Iterable[tuple[int, int, int]]:
    """As many results as the item says, with the process that gave them."""
    return [(number, place, os.getpid()) for place in range(number)]


def picky(number: int) -> Iterable[int]:
    if number == 3:
        raise UserError("3 is bad; leave it out")
    yield number


def same(number: int) -> Iterable[int]:
    return [number]


def die(number: int) -> Iterable[int]:
    os._exit(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_gives_all_its_results(tmp_path: Path, workers: int) -> None:
    found = list(Local(workers).flat_map(squares, range(5), tmp_path))
    assert sorted((number, place) for number, place, _ in found) == [(n, p) for n in range(5) for p in range(n)]
    processes = {process for _, _, process in found}
    assert (processes == {os.getpid()}) == (workers == 1)
    assert list(tmp_path.iterdir()) == []


def counting(drawn: list[int], count: int) -> Iterator[int]:
    for number in range(1, count):
        drawn.append(number)
        yield number


def test_items_are_drawn_when_there_is_room(tmp_path: Path) -> None:
    drawn: list[int] = []
    with closing(Local(2).flat_map(picky, counting(drawn, 3), tmp_path)) as results:
        assert next(results) in (1, 2)
    drawn.clear()
    with pytest.raises(UserError, match="3 is bad"):
        list(Local(2).flat_map(picky, counting(drawn, 10_000), tmp_path))
    assert len(drawn) < 9_999  # the rest was never wanted
    drawn.clear()
    for done, _ in enumerate(Local(2).flat_map(same, counting(drawn, 50), tmp_path)):
        assert len(drawn) <= done + 2 * READY
    assert done == 48
    drawn.clear()
    for expected, result in enumerate(Local(1).flat_map(picky, counting(drawn, 3), tmp_path), 1):
        assert result == expected == len(drawn)  # not one ahead


@pytest.mark.parametrize("workers", [1, 2])
def test_items_may_wait_for_results(tmp_path: Path, workers: int) -> None:
    """A generator that gives None is asked again after the next result."""
    received: list[int] = []

    def chain() -> Iterator[int | None]:
        yield from (4, 5, 6)
        while len(received) < 3:
            yield None
        yield 10 * max(received)

    for result in Local(workers).flat_map(picky, chain(), tmp_path):
        received += [result]
    assert sorted(received) == [4, 5, 6, 60]


def test_a_killed_process_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"worker process was killed.*fewer workers"):
        list(Local(2).flat_map(die, [9], tmp_path))


def test_a_number_is_a_local_engine() -> None:
    assert engines.of(3) == Local(3)
    engine = Local(2)
    assert engines.of(engine) is engine
    with pytest.raises(UserError, match="--workers 0 is out of range: it must be at least 1"):
        engines.of(0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--workers 0", "--workers 0 is out of range"),
        ("--engine ray --workers -1", "--workers -1 is out of range"),
        ("--address somewhere:6379", "--address somewhere:6379 is of a Ray cluster; add --engine ray"),
    ],
)
@pytest.mark.parametrize("verb", ["prepare world out --patches 1", "predict --run r --scenes s --out out"])
def test_options_that_do_not_fit_are_refused_at_once(
    verb: str,
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*verb.split(), *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
