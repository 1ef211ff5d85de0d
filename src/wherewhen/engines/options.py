"""The engine that a command line asks for."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from wherewhen.engines import Engine, Local
from wherewhen.errors import UserError

ENGINES = ("local", "ray")


def add_arguments(parser: argparse.ArgumentParser, workers: int = 2) -> None:
    """Add `--workers`, `--engine` and `--address`.

    Args:
        parser: Of the verb.
        workers: Processes of the local engine, unless the user says otherwise.
    """
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--workers", type=int, metavar="N",
        help=f"processes (default {workers}); with ray, tasks at a time (default: those that fit, and as many waiting)",
    )  # fmt: skip
    group.add_argument("--engine", choices=ENGINES, default="local", help="this machine (default), or a Ray cluster")
    group.add_argument(
        "--address", metavar="A", help="of the cluster (default: the one that Ray finds, else a new one)"
    )
    group.set_defaults(own_workers=workers)


@contextmanager
def opened(args: argparse.Namespace, gpu: bool = False) -> Iterator[Engine]:
    """The engine that the arguments ask for, while the block lasts.

    Args:
        args: As parsed.
        gpu: Each task of a cluster gets a GPU.

    Raises:
        UserError: Options do not fit together, Ray is not installed, or there is no such cluster.
    """
    if args.engine == "ray":
        if args.workers is not None and args.workers < 1:
            raise UserError(f"--workers {args.workers} is out of range: it must be at least 1; change it")
        from wherewhen.engines import ray

        with ray.connected(args.address, args.workers, gpu) as engine:
            yield engine
        return
    if args.address is not None:
        raise UserError(f"--address {args.address} is of a Ray cluster; add --engine ray, or leave it out")
    yield Local(args.own_workers if args.workers is None else args.workers)
