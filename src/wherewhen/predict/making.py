"""Maps of many scenes, made part by part on an engine.

A part is a file or some in a hidden folder beside the map, made by any worker in any order; when the last is there,
a worker puts the map together. So nothing of a map goes through this process, and a killed run goes on.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from wherewhen.engines import Engine
from wherewhen.predict.network import Network, Weights


class Part(NamedTuple):
    """What one task makes of a map.

    Args:
        panel: Number of the columns that are done together.
        rows: Numbers of the rows of windows or cells, the units of progress.
    """

    panel: int
    rows: tuple[int, ...]


class Map(Protocol):
    """What is to be made of a scene; picklable."""

    @property
    def name(self) -> str:
        """Of the scene."""

    @property
    def units(self) -> int:
        """Rows of all parts."""

    def parts(self, split: bool) -> list[Part]:
        """What is not there yet; larger parts where it need not be split among workers."""

    def make(self, part: Part, network: Network) -> Iterator[None]:
        """Make a part, and tell of each row."""

    def finish(self) -> list[Path]:
        """Put the map together when all parts are there, and remove them; the files."""


class Order(NamedTuple):
    """A task: a part of a map, or with None what is left to do when all parts are there."""

    number: int
    map: Map
    part: Part | None


class News(NamedTuple):
    """What a task tells of a map: a row is done, or the part, or all, or that the scene cannot be read."""

    number: int
    row: bool = False
    files: Sequence[Path] = ()
    problem: str = ""


@dataclass(frozen=True)
class Making:
    """Carries out orders."""

    weights: Weights

    def __call__(self, order: Order) -> Iterator[News]:
        """Work, and tell of it."""
        try:
            if order.part is None:
                yield News(order.number, files=order.map.finish())
                return
            for _ in order.map.make(order.part, self.weights.network()):
                yield News(order.number, row=True)
            yield News(order.number)
        except ValueError as error:
            yield News(order.number, problem=str(error))


class Listener(NamedTuple):
    """Whom to tell how it goes.

    Args:
        share: Takes the share that is done.
        line: Takes a line about a map.
    """

    share: Callable[[float], None]
    line: Callable[[str], None]


def make(maps: Sequence[Map], weights: Weights, engine: Engine, out: Path, listener: Listener) -> int:
    """Make maps, and tell the files of each, or why it failed; the number of failed ones.

    Raises:
        UserError: A map of other settings is there, nothing can be written, or as the engine says.
    """
    parts = [one.parts(split=engine.workers > 1) for one in maps]
    left = [len(some) for some in parts]
    total = sum(one.units for one in maps)
    done = total - sum(len(part.rows) for some in parts for part in some)
    ready = deque(number for number, count in enumerate(left) if not count)
    unfinished, failed = set(range(len(maps))), set[int]()

    def finishing() -> Iterator[Order]:
        while ready:
            unfinished.discard(number := ready.popleft())
            yield Order(number, maps[number], None)

    def orders() -> Iterator[Order | None]:
        for number, some in enumerate(parts):
            for part in some:
                yield from finishing()
                if number not in failed:
                    yield Order(number, maps[number], part)
        while unfinished:
            yield from finishing()
            if unfinished:
                yield None

    listener.share(done / total)
    with closing(engine.flat_map(Making(weights), orders(), out)) as told:
        for news in told:
            number = news.number
            if news.row:
                done += 1
                listener.share(done / total)
            elif news.problem:
                if number not in failed:
                    listener.line(f"failed: {maps[number].name}: {news.problem}")
                failed.add(number)
                unfinished.discard(number)
            elif news.files:
                listener.line("\n".join(map(str, news.files)))
            else:
                left[number] -= 1
                if not left[number] and number not in failed:
                    ready.append(number)
    return len(failed)
