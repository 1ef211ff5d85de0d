"""Tasks on a Ray cluster, whose nodes share a file system with this one.

Ray schedules tasks and says when a worker or a node is lost; running a lost task again is ours, so that it is counted
and told, and ends.
"""

import logging
import os
import pickle
import platform
import socket
import sys
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import wherewhen
from wherewhen.engines.local import READY, drawn
from wherewhen.errors import UserError
from wherewhen.files import cannot_write, make_folder

try:
    import ray
    from ray import cloudpickle, exceptions
except ImportError as error:
    raise UserError("ray is not installed; run: pip install 'wherewhen[ray]'") from error

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3  # of one task whose worker died
_ANSWER = 10  # seconds that a cluster has to answer at its address
_PATIENCE = 30  # seconds that tasks under way have to end when all is stopped
_LOST = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
)


class Home(NamedTuple):
    """What a worker must share with the process that sends it tasks.

    Args:
        working: Folder that relative paths begin at.
        token: A file that is there as long as tasks are wanted.
        version: Of this library.
        path: Where modules are looked for; what a worker has of its own comes first.
    """

    working: str
    token: str
    version: str
    path: tuple[str, ...]

    def enter(self) -> None:
        """Go there.

        Raises:
            UserError: This node has another version, or does not see the folders.
        """
        node = platform.node()
        if wherewhen.__version__ != self.version:
            raise UserError(
                f"node {node} has wherewhen {wherewhen.__version__}, not {self.version}; install one version everywhere"
            )
        for path in (self.working, self.token):
            if not Path(path).exists():
                raise UserError(
                    f"node {node} does not see {Path(path).parent if path == self.token else path}; "
                    "the nodes of a cluster need a shared file system, mounted at the same path"
                )
        os.chdir(self.working)
        sys.path.extend(folder for folder in self.path if folder not in sys.path)


def _run(function: bytes, item: bytes, home: Home) -> list[Any]:
    """A task; what it needs is unpickled here, so that a library that lacks is an error of the task."""
    home.enter()
    return list(pickle.loads(function)(pickle.loads(item)))


class Ray:
    """The cluster that this process is connected to; when stopped, tasks under way are interrupted.

    Args:
        limit: Tasks that run or wait at a time; None is twice what the cluster has room for, so that a free
            worker finds its next one there and an autoscaler sees that more nodes are wanted.
        gpu: Each task gets a GPU; else a processor core.

    Attributes:
        retried: Times that a task was run again because its worker died.
    """

    def __init__(self, limit: int | None = None, gpu: bool = False) -> None:
        self._limit, self._unit = limit, "GPU" if gpu else "CPU"
        self._send = ray.remote(_run).options(max_retries=0, num_cpus=1, num_gpus=int(gpu))
        self.retried = 0

    @property
    def workers(self) -> int:
        """Tasks that the cluster has room for now, or the limit."""
        return self._limit or max(1, int(ray.cluster_resources().get(self._unit, 0)))

    def flat_map(
        self, function: Callable[[Item], Iterable[Result]], items: Iterable[Item | None], folder: Path
    ) -> Generator[Result]:
        """See `wherewhen.engines.Engine`.

        Raises:
            UserError: A node does not see `folder`, lacks a library, or a task lost its worker again and again.
        """
        # Named as what `wherewhen.files` sweeps away if this process is killed; new each time, for caches of NFS.
        token = make_folder(folder).absolute() / f".{uuid.uuid4().hex}.{platform.node()}-{os.getpid()}.part"
        try:
            token.touch()
        except OSError as error:
            raise cannot_write(folder, error) from error
        home = Home(str(Path.cwd()), str(token), wherewhen.__version__, tuple(sys.path))
        shared = ray.put(cloudpickle.dumps(function))
        rest, again = iter(items), deque[tuple[Item, int]]()
        running: dict[Any, tuple[Item, int]] = {}  # with the times that it was tried before

        def waiting() -> Iterator[tuple[Item, int]]:
            while again:
                yield again.popleft()
            yield from ((item, 0) for item in drawn(rest))

        try:
            while True:
                room = (self._limit or READY * self.workers) - len(running)
                for item, tries in islice(waiting(), max(room, 0)):
                    running[self._send.remote(shared, cloudpickle.dumps(item), home)] = (item, tries)
                if not running:
                    return
                (ended,), _ = ray.wait(list(running), num_returns=1)
                item, tries = running.pop(ended)
                try:
                    results = ray.get(ended)
                except _LOST as error:
                    again.append((item, self._once_more(tries, error)))
                except exceptions.RayTaskError as error:
                    raise _cause(error) from error
                else:
                    yield from results
        finally:
            token.unlink(missing_ok=True)
            _stop(list(running))

    def _once_more(self, tries: int, error: Exception) -> int:
        """Count and tell that a task is tried again."""
        if tries == RETRIES:
            raise UserError(
                f"a task lost its worker {RETRIES + 1} times ({type(error).__name__}), perhaps for lack of memory; "
                "run the same command again with fewer --workers or larger nodes, it continues"
            ) from error
        self.retried += 1
        print(f"a worker died ({type(error).__name__}); its task is run again", file=sys.stderr)
        return tries + 1


def _cause(error: Any) -> Exception:
    """What a task raised."""
    cause: Exception = error.cause
    if isinstance(cause, ImportError):
        return UserError(f"a node of the cluster lacks a library ({cause}); install one environment everywhere")
    return cause


def _stop(running: list[Any]) -> None:
    with suppress(exceptions.RayError):
        for task in running:
            ray.cancel(task)
        if running:
            ray.wait(running, num_returns=len(running), timeout=_PATIENCE)


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would ask for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()


@contextmanager
def connected(address: str | None = None, limit: int | None = None, gpu: bool = False) -> Iterator[Ray]:
    """The engine of a cluster, while the block lasts.

    Args:
        address: HOST:PORT, or what `ray.init` takes; by default RAY_ADDRESS, else a cluster that runs on this machine,
            else one that is started on it and ends with the block. This machine must be one of its nodes.
        limit: See `Ray`.
        gpu: See `Ray`.

    Raises:
        UserError: There is no such cluster, or it has no GPU where one is wanted.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: it would call home
    ours = not ray.is_initialized()
    if ours:
        address = address or os.environ.get("RAY_ADDRESS")
        try:
            _knock(address)
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray has a class for every reason, and no common one
            raise UserError(
                f"no Ray cluster at {address or 'the default address'} ({error}); "
                "start one with `ray start --head`, here or with this machine as a node, and give its --address"
            ) from error
        # A raylet's last words are forty lines on stdout, where our results are; we say in one line what was lost.
        ray._private.worker._worker_logs_enabled = False
    try:
        if gpu and not ray.cluster_resources().get("GPU"):
            raise UserError("the cluster has no GPU; start a node that has one, or give --device cpu")
        yield Ray(limit, gpu)
    finally:
        if ours:
            ray.shutdown()
