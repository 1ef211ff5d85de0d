"""Tasks on a real Ray cluster: the local engine's bytes, whatever is lost on the way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import wherewhen
from tests.engines.clusters import cluster, kill_workers, once
from tests.ingest.test_engine import Make, build_it, complain, contents, plan_of, wait_for_shards
from wherewhen.cli import main
from wherewhen.errors import UserError

pytest.importorskip("ray", reason="ray is not installed; run: pip install 'wherewhen[ray]'")

from wherewhen.engines.ray import RETRIES, Home, connected


@dataclass(frozen=True)
class KilledUntil:
    """Makes shards like `Make`, but kills its process until it has done so as often as wanted."""

    marks: Path
    times: int

    def __call__(self, plan: Any) -> Any:
        made = len(list(self.marks.iterdir()))
        if 7 in plan["seed"].tolist() and made < self.times:
            (self.marks / str(made)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Make()(plan)


@dataclass(frozen=True)
class Where:
    """Tells where a task runs."""

    def __call__(self, number: int) -> Iterable[dict[str, Any]]:
        import ray

        yield {"folder": str(Path.cwd()), "gpus": ray.get_gpu_ids()}


class Gone:
    """Something of a library that other nodes do not have."""

    def __reduce__(self) -> Any:
        return __import__, ("a_module_that_is_not_there",)

    def __call__(self, item: int) -> Iterable[int]:
        yield item


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A head with one core, and a GPU that is none."""
    with cluster(num_gpus=1) as made:
        yield made.address


def test_a_cluster_gives_what_one_process_gives(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stores, errors, back-pressure, lost workers: together, since to connect takes seconds."""
    whole = contents(build_it(tmp_path / "local").path)
    monkeypatch.chdir(tmp_path)  # a relative output is the same folder on all nodes
    with connected(address) as engine:
        assert engine.workers == 1
        assert contents(build_it(Path("ray"), workers=engine).path) == whole

        with pytest.raises(UserError, match=r"^seed 7: bad luck; take another$"):
            build_it(Path("bad"), Make(fail=complain), workers=engine)
        assert not list(Path("bad").glob(".*"))
        assert engine.retried == 0
        assert contents(build_it(Path("bad"), workers=engine).path) == whole

        Path("marks").mkdir()
        killed: Any = KilledUntil(tmp_path / "marks", 1)
        assert contents(build_it(Path("killed"), killed, workers=engine).path) == whole
        assert engine.retried == 1
        assert capsys.readouterr().err.count("a worker died (WorkerCrashedError); its task is run again") == 1

        drawn, done = 0, 0

        def items() -> Iterator[int]:
            nonlocal drawn
            for number in range(12):
                drawn += 1
                yield number

        with closing(engine.flat_map(Where(), items(), Path("out"))) as results:
            for told in results:
                done += 1
                assert drawn - done < 2
                assert (told["folder"], told["gpus"]) == (str(tmp_path), [])
        assert done == 12
        assert list(Path("out").iterdir()) == []
        with pytest.raises(UserError, match=r"lacks a library \(No module named 'a_module_that_is_not_there'\)"):
            list(engine.flat_map(Gone(), [1], Path("out")))
    with connected(address, limit=1, gpu=True) as engine:
        (told,) = engine.flat_map(Where(), [0], Path("out"))
        assert [int(gpu) for gpu in told["gpus"]] == [0]


def test_a_node_must_see_the_folders_and_have_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    token = tmp_path / "out" / "token"
    token.parent.mkdir()
    token.touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    home = Home(str(tmp_path), str(token), wherewhen.__version__, (str(tmp_path), "more"))
    home.enter()
    assert sys.path == [str(tmp_path), "more"]
    for wrong, message in (
        (home._replace(token=str(tmp_path / "elsewhere" / "token")), r"does not see .*elsewhere; .*shared file system"),
        (home._replace(working=str(tmp_path / "absent")), r"does not see .*absent; .*shared file system"),
        (home._replace(version="0.0.1"), "has wherewhen .*, not 0.0.1; install one version"),
    ):
        with pytest.raises(UserError, match=message):
            wrong.enter()


def test_without_ray_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "wherewhen.engines.ray")
    monkeypatch.delattr("wherewhen.engines.ray")
    assert main(["prepare", "world", str(tmp_path / "s"), "--patches", "2", "--engine", "ray"]) == 2
    assert "ray is not installed; run: pip install 'wherewhen[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_ray_is_imported_only_when_asked_for() -> None:
    code = "import sys, wherewhen.prepare, wherewhen.predict.verb, wherewhen.ingest.world; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"


def test_no_cluster_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "world", str(tmp_path / "s"), "--patches", "2", "--engine", "ray", "--address", "127.0.0.1:1"]
    assert main(words) == 2
    assert "no Ray cluster at 127.0.0.1:1 ([Errno 111] Connection refused); start one" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_task_that_always_kills_its_worker_ends(address: str, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    hopeless: Any = KilledUntil(tmp_path / "marks", 100)
    message = rf"lost its worker {RETRIES + 1} times \(WorkerCrashedError\).*it continues"
    with connected(address) as engine, pytest.raises(UserError, match=message):
        build_it(tmp_path / "s", hopeless, workers=engine)
    assert engine.retried == RETRIES
    assert len(list((tmp_path / "marks").iterdir())) == RETRIES + 1
    assert contents(build_it(tmp_path / "s").path) == contents(build_it(tmp_path / "whole").path)


@pytest.mark.slow
def test_a_cluster_without_a_gpu_is_refused() -> None:
    with cluster() as made, pytest.raises(UserError, match="the cluster has no GPU"), connected(made.address, gpu=True):
        pass


Loss = Callable[[Any, Any], Any]
LOSSES: dict[str, Loss] = {
    "node": lambda made, node: made.remove_node(node, allow_graceful=False),
    "worker": lambda made, node: kill_workers(node),
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_while_a_store_is_made_costs_only_its_task(tmp_path: Path, loss: str) -> None:
    plan, out = plan_of(60), tmp_path / "ray"
    with cluster(nodes=2) as made:
        (node,) = made.worker_nodes
        with connected(made.address) as engine:
            assert engine.workers == 2

            def due() -> bool:
                return len(list(out.glob("shard-*.parquet"))) >= 5

            with once(due, lambda: LOSSES[loss](made, node)) as lost:
                store = build_it(out, Make(pause=0.3), plan, shard_size=2, workers=engine)
    assert lost
    assert engine.retried >= 1
    assert contents(store.path) == contents(build_it(tmp_path / "local", plan=plan, shard_size=2).path)


STOPPED = """
import sys
from pathlib import Path
from tests.ingest.test_engine import Make, build_it, plan_of
from wherewhen.engines.ray import connected
if __name__ == "__main__":
    with connected(sys.argv[2]) as engine:
        build_it(Path(sys.argv[1]), Make(pause=0.3), plan_of(60), shard_size=2, workers=engine)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_it_goes_on_elsewhere(address: str, tmp_path: Path, sign: signal.Signals) -> None:
    """The process that sends the tasks is stopped, or killed; the local engine goes on to the same bytes."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "killed"), address]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    wait_for_shards(tmp_path / "killed", 3, process)
    process.send_signal(sign)
    _, message = process.communicate(timeout=60)
    assert process.returncode != 0
    if sign is signal.SIGINT:
        assert b"KeyboardInterrupt" in message
        assert not list((tmp_path / "killed").glob(".*.part"))
    assert "plan" in json.loads((tmp_path / "killed" / "building.json").read_text())
    continued = build_it(tmp_path / "killed", plan=plan_of(60), shard_size=2)
    whole = build_it(tmp_path / "whole", plan=plan_of(60), shard_size=2)
    assert contents(continued.path) == contents(whole.path)
