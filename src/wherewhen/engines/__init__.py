"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster.

A task is a function of an item that may give several results; what it gives must not depend on where it runs, how
often, or what ran before. Whatever is written on the way is whole or absent (`wherewhen.files`), so that a task whose
worker died is run again.
"""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from wherewhen.engines.local import Local

__all__ = ["Engine", "Local", "Workers", "of"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs tasks."""

    @property
    def workers(self) -> int:
        """Tasks that run at a time."""

    def flat_map(
        self, function: Callable[[Item], Iterable[Result]], items: Iterable[Item | None], folder: Path
    ) -> Generator[Result]:
        """What the function gives for all items, in no order.

        Only a few tasks wait beside those that run, and items are drawn when there is room: a generator of items may
        depend on results, and give None where it can go on only with more of them. Tasks of other processes give
        their results when they end; those here, one by one. Close the generator to stop: no task begins any more.

        Args:
            function: Picklable, as are items and results.
            items: The tasks.
            folder: Where tasks write; all workers must see it.

        Raises:
            UserError: A worker cannot work, or dies again and again.
            Exception: Whatever a task raised first.
        """


Workers = int | Engine


def of(workers: Workers) -> Engine:
    """The engine itself, or so many processes of this machine; 1 works in this one.

    Raises:
        UserError: The number is below 1.
    """
    return Local(workers) if isinstance(workers, int) else workers
