"""Maps and tables from several workers are those of one, byte by byte, whatever is lost on the way."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import rasterio
import rasterio.shutil
import torch

from tests.engines.clusters import cluster, kill_workers, once
from tests.predict.test_predict import picture, write_scene
from tests.students import Runs
from wherewhen.cli import main
from wherewhen.engines.local import Local, drawn
from wherewhen.errors import UserError
from wherewhen.predict import network

WINDOWS = ["--window", "64", "--overlap", "16", "--probabilities"]
BATCHES = ["--batch", "7"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As workers have: another number changes the last bits of some networks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, one of several parts, and one that is damaged in its lower half."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, (height, width) in {"large": (400, 150), "small": (70, 90), "torn": (300, 70)}.items():
        path = write_scene(folder / f"{name}.tif", picture(height, width))
    plain = path.rename(folder / "plain")
    rasterio.shutil.copy(plain, path, driver="GTiff", compress="deflate", interleave="band")
    plain.unlink()
    with rasterio.open(path) as raster:  # a strip of the last band: only the first is looked at before any work
        height = raster.block_shapes[2][0]
        start, size = (
            int(raster.get_tag_item(f"BLOCK_{of}_0_{200 // height}", "TIFF", 3)) for of in ("OFFSET", "SIZE")
        )
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * size)
    return folder


def predicted(run: Path, scenes: Path, out: Path, *words: str) -> dict[str, bytes]:
    """What lies in the folder of maps; of the torn scene nothing but hidden parts."""
    assert (
        main(["predict", "--run", str(run), "--scenes", str(scenes), "--out", str(out), "--device", "cpu", *words]) == 1
    )
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if not path.name.startswith(".torn")}


def table(run: Path, out: Path, *words: str) -> bytes:
    call = ["predict", "--run", str(run / "run"), "--store", str(run / "store"), "--out", str(out), "--device", "cpu"]
    assert main([*call, *BATCHES, *words]) == 0
    return out.read_bytes()


def shuffled_and_twice(self: Local, function: Any, items: Iterable[Any], folder: Path) -> Iterator[Any]:
    """Tasks in this process, the last drawn first; each twice, as when a worker dies before it says that it is done."""
    rest, waiting = iter(items), list[Any]()
    while True:
        waiting += islice(drawn(rest), 4 - len(waiting))
        if not waiting:
            return
        item = waiting.pop()
        list(function(item))
        yield from function(item)


def test_parts_may_be_made_in_any_order_and_twice(
    runs: Runs, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs("unet") / "run"
    capsys.readouterr()  # of the training
    alone = predicted(run, scenes, tmp_path / "one", *WINDOWS)
    assert len(alone) == 6
    said = capsys.readouterr().out
    assert said.count("failed: torn: ") == 1
    assert said.count("_classes.tif") == 2
    monkeypatch.setattr(Local, "flat_map", shuffled_and_twice)
    assert predicted(run, scenes, tmp_path / "two", *WINDOWS, "--workers", "2") == alone
    assert sorted(capsys.readouterr().out.replace("/two/", "/one/").splitlines()) == sorted(said.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "taught"])
def test_processes_give_what_one_gives(
    runs: Runs, name: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, words = runs(name) / "run", WINDOWS if name == "unet" else ["--step", "8", *BATCHES]
    alone = predicted(run, scenes, tmp_path / "one", *words)
    assert predicted(run, scenes, tmp_path / "two", *words, "--workers", "2") == alone
    monkeypatch.setattr(Local, "flat_map", shuffled_and_twice)
    assert predicted(run, scenes, tmp_path / "twice", *words, "--workers", "2") == alone


def test_weights_that_changed_are_not_mixed_in(runs: Runs) -> None:
    weights = network.Weights(runs("unet") / "run", "of others", device="cpu")
    with pytest.raises(UserError, match="changed since this began, or is another one on this machine"):
        weights.network()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("ray", reason="ray is not installed; run: pip install 'wherewhen[ray]'")
    with cluster() as made:
        yield made.address


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "taught", "many"])
def test_a_cluster_gives_what_one_process_gives(
    runs: Runs, name: str, scenes: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, there = runs(name), ["--engine", "ray", "--address", address]
    words = WINDOWS if name == "unet" else ["--step", "8", *BATCHES]
    alone = predicted(run / "run", scenes, tmp_path / "alone", *words)
    assert predicted(run / "run", scenes, tmp_path / "ray", *words, *there) == alone
    assert capsys.readouterr().out.count("failed: torn: ") == 2
    if name != "unet":
        assert table(run, tmp_path / "ray.parquet", *there) == table(run, tmp_path / "alone.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["node", "worker"])
def test_a_loss_while_a_map_is_made_costs_only_its_task(
    runs: Runs, tmp_path: Path, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="ray is not installed; run: pip install 'wherewhen[ray]'")
    run, scene = runs("unet") / "run", write_scene(tmp_path / "tall.tif", picture(2000, 200))
    call = ["predict", "--run", str(run), "--scenes", str(scene), "--device", "cpu", *WINDOWS, "--out"]
    assert main([*call, str(tmp_path / "alone")]) == 0
    with cluster(nodes=2) as made:
        (node,) = made.worker_nodes

        def due() -> bool:
            return len(list((tmp_path / "ray").glob(".tall.*.strips/*.npz"))) >= 5

        def lose() -> Any:
            return made.remove_node(node, allow_graceful=False) if loss == "node" else kill_workers(node)

        with once(due, lose) as lost:
            assert main([*call, str(tmp_path / "ray"), "--engine", "ray", "--address", made.address]) == 0
    assert lost
    assert "its task is run again" in capsys.readouterr().err
    maps = sorted(path.name for path in (tmp_path / "ray").iterdir())
    assert maps == ["tall_classes.tif", "tall_confidence.tif", "tall_probabilities.tif"]
    for name in maps:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
