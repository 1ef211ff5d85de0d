import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wherewhen
from tests.fakes import names_in
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.ingest import Shard, build, engine
from wherewhen.maps import file_name
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

RGB = load_sensor("rgb8")
HEADER = StoreHeader(RGB.bands, ("even", "odd"), "one", pixel_size=10, provenance="made up", licence="CC0")


def plan_of(n: int = 23) -> pd.DataFrame:
    number = np.arange(n)
    split = np.where(number % 3 == 0, "test", "train")
    return pd.DataFrame({"id": [f"p{i:03d}" for i in number], "label": number % 2, "split": split, "seed": number})


@dataclass(frozen=True)
class Make:
    """Pixels and places from the seed in the plan; some patches are skipped, some end badly."""

    skip: tuple[int, ...] = ()
    fail: Callable[[], Any] | None = None
    pause: float = 0.0

    def __call__(self, plan: pd.DataFrame) -> Shard:
        time.sleep(self.pause)
        if self.fail is not None and 7 in plan["seed"].tolist():
            self.fail()
        kept = plan[~plan["seed"].isin(self.skip)]
        pixels = [np.random.default_rng(seed).integers(0, 256, (3, 4, 4), np.uint8) for seed in kept["seed"]]
        skipped = [(row, "unlucky") for row in plan["id"][plan["seed"].isin(self.skip)]]
        rows = kept.assign(lat=kept["seed"].to_numpy() / 2, lon=10.0)
        masks = np.stack([pixel[0] % 2 for pixel in pixels]) if pixels else None
        return Shard(rows, np.stack(pixels) if pixels else np.empty(0), masks, skipped)


def build_it(out: Path, make: Make | None = None, plan: pd.DataFrame | None = None, **options: Any) -> PatchStore:
    usual: dict[str, Any] = {"header": HEADER, "shard_size": 5, "workers": 1, "title": "test"}
    return build(out, plan_of() if plan is None else plan, make or Make(), **usual | options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def die() -> None:
    os._exit(9)


def complain() -> None:
    raise UserError("seed 7: bad luck; take another")


def test_a_plan_becomes_a_store_in_its_order(tmp_path: Path) -> None:
    store = build_it(tmp_path / "s")
    assert store.table["id"].tolist() == plan_of()["id"].tolist()
    assert store.table["shard"].tolist() == [i // 5 for i in range(23)]
    assert store.labels().tolist() == [i % 2 for i in range(23)]
    np.testing.assert_array_equal(store.place()[:, 0], np.arange(23) / 2)
    whole = Make()(plan_of())
    np.testing.assert_array_equal(store.pixels(np.arange(23)), whole.pixels)
    np.testing.assert_array_equal(store.masks(np.arange(23)), whole.masks)
    np.testing.assert_allclose(store.mean, whole.pixels[plan_of()["split"] == "train"].mean((0, 2, 3)))
    assert names_in(store.path) == sorted(["store.json", "patches.parquet", *store.header.files])


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    one, two = build_it(tmp_path / "one"), build_it(tmp_path / "two", workers=2)
    assert contents(one.path) == contents(two.path)


def test_skipped_patches_leave_no_holes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skip = (1, *range(5, 10), 22)  # one in the first shard, the whole second shard, the last of all
    store = build_it(tmp_path / "s", Make(skip))
    kept = [i for i in range(23) if i not in skip]
    assert store.table["id"].tolist() == [f"p{i:03d}" for i in kept]
    np.testing.assert_array_equal(store.pixels(np.arange(len(kept))), Make()(plan_of()).pixels[kept])
    assert store.header.skipped == tuple((f"p{i:03d}", "unlucky") for i in skip)
    assert [file_name("pixels", i) in names_in(store.path) for i in range(5)] == [True, False, *[True] * 3]
    message = capsys.readouterr().err
    assert "skipped 7 of 23 patches" in message
    assert "p022: unlucky" in message


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no patch could be made"):
        build_it(tmp_path / "s", Make(tuple(range(23))))
    assert "store.json" not in names_in(tmp_path / "s")


@pytest.mark.parametrize("workers", [1, 2])
def test_after_an_error_the_same_call_continues(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "s"
    with pytest.raises(UserError, match=r"seed 7: bad luck"):
        build_it(out, Make(fail=complain), workers=workers)
    assert not [name for name in names_in(out) if name.endswith(".part")]
    with pytest.raises(UserError, match=r"unfinished store.*same.*again"):
        PatchStore.open(out)
    before = (out / "pixels-00000.npy").stat().st_mtime_ns
    store = build_it(out)
    assert (out / "pixels-00000.npy").stat().st_mtime_ns == before
    assert contents(store.path) == contents(build_it(tmp_path / "whole").path)


def test_a_killed_worker_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"worker process was killed.*fewer workers"):
        build_it(tmp_path / "s", Make(fail=die), workers=2)
    assert contents(build_it(tmp_path / "s").path) == contents(build_it(tmp_path / "whole").path)


def test_a_finished_store_is_returned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(build_it(tmp_path / "s").path)
    (tmp_path / "s" / "shard-00000.parquet").write_text("left by a kill at the very end")
    store = build_it(tmp_path / "s", Make(fail=complain))
    assert "already prepared: 23 patches" in capsys.readouterr().err
    assert contents(store.path) == before


def test_another_plan_does_not_mix_in(tmp_path: Path) -> None:
    build_it(tmp_path / "whole")
    with pytest.raises(UserError, match="bad luck"):
        build_it(tmp_path / "part", Make(fail=complain))
    others: list[dict[str, Any]] = [
        {"plan": plan_of(22)},
        {"plan": plan_of().assign(seed=1)},
        {"shard_size": 6},
        {"header": replace(HEADER, provenance="other")},
        {"targets": TARGETS},
    ]
    for other in others:
        with pytest.raises(UserError, match=r"holds another store.*choose another"):
            build_it(tmp_path / "whole", **other)
        with pytest.raises(UserError, match=r"unfinished store of another plan.*remove the folder"):
            build_it(tmp_path / "part", **other)
    assert contents(build_it(tmp_path / "part").path) == contents(tmp_path / "whole")


def test_a_folder_where_nothing_was_made_may_be_taken_over(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bad luck"):
        build_it(tmp_path / "s", Make(fail=complain), shard_size=23)
    assert names_in(tmp_path / "s") == ["building.json"]
    assert len(build_it(tmp_path / "s", plan=plan_of(4))) == 4


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        build_it(tmp_path)
    assert names_in(tmp_path) == ["precious"]


BAD_PLANS: list[tuple[dict[str, Any], str]] = [
    ({"id": ["p"] * 23}, r"names 'p' twice"),
    ({"label": [2] * 23}, r"shard 0: patch 'p000': label 2 is no index into the 2 classes"),
    ({"split": ["dev"] * 23}, r"split 'dev' is none of"),
    ({"seed": [200 + i for i in range(23)]}, r"latitude 100\.0 is outside"),
    ({"time": ["yesterday"] * 23}, r"column 'time'"),
]


@pytest.mark.parametrize(("columns", "message"), BAD_PLANS)
def test_bad_rows_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_it(tmp_path / "s", plan=plan_of().assign(**columns))
    assert not (tmp_path / "s" / "store.json").exists()
    assert not list(tmp_path.glob("s/*.npy"))


def test_an_empty_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no patches"):
        build_it(tmp_path / "s", plan=plan_of(0))
    assert names_in(tmp_path) == []


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*choose an output folder"):
        build_it(tmp_path / "file" / "s")
    with pytest.raises(UserError, match=r"not an empty folder"):
        build_it(tmp_path / "file")


def test_a_disk_that_fills_up_leaves_whole_shards(small_disk: Path, tmp_path: Path) -> None:
    plan, out = plan_of(5000).assign(seed=np.arange(5000) % 100), small_disk / "s"
    with pytest.raises(UserError, match=r"cannot write .*s/.*No space left.*free some space"):
        build_it(out, plan=plan, shard_size=500)
    assert not [name for name in names_in(out) if name.startswith(".")]
    for path in out.glob("pixels-*.npy"):
        assert np.load(path).shape == (500, 3, 4, 4)
    assert not (out / "store.json").exists()


def test_a_full_disk_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(UserError, match=r"cannot write .*pixels-00000\.npy: No space left.*free some space"):
        build_it(tmp_path / "s")
    assert names_in(tmp_path / "s") == ["building.json"]


MASK = np.zeros((4, 4), np.uint8)
TARGETS = pd.DataFrame(
    {
        "id": ["t0", "t1", "t2", "t3"],
        "kind": "change",
        "members": [["p000", "p001"], ["p002", "p003"], ["p004", "p005"], ["p006", "p007", "p008"]],
        "mask": [MASK, None, MASK + 1, MASK + 255],
    }
)


def test_targets_of_several_patches(tmp_path: Path) -> None:
    store = build_it(tmp_path / "s", Make(skip=(1,)), targets=TARGETS, shard_size=2)
    assert store.targets["id"].tolist() == ["t1", "t2", "t3"]  # t0 lost a member
    assert store.targets["members"].map(list).tolist() == TARGETS["members"].tolist()[1:]
    np.testing.assert_array_equal(store.target_masks(np.array([2, 0, 1])), np.stack([MASK - 1, MASK - 1, MASK + 1]))
    assert store.targets["mask_row"].isna().tolist() == [True, False, False]
    store.verify()
    assert len(build_it(tmp_path / "none").targets) == 0


def test_wrong_targets_are_refused(tmp_path: Path) -> None:
    small: list[Any] = [np.zeros((2, 2), np.uint8)] * 4
    with pytest.raises(UserError, match=r"masks of targets must be uint8 of shape \(4, 4\)"):
        build_it(tmp_path / "a", targets=TARGETS.assign(mask=small))
    with pytest.raises(UserError, match=r"'t' appears 4 times"):
        build_it(tmp_path / "b", targets=TARGETS.assign(id="t"))
    store = build_it(tmp_path / "c", targets=TARGETS)
    frame = pd.read_parquet(store.path / "targets.parquet")
    frame["members"] = [["p000", "stranger"]] * 4
    frame.to_parquet(store.path / "targets.parquet")
    with pytest.raises(UserError, match=r"names the patch 'stranger'"):
        PatchStore.open(store.path)


SLOW_BUILD = """
import signal
import sys
from pathlib import Path
from tests.ingest.test_engine import Make, build_it, plan_of
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    build_it(Path(sys.argv[1]), Make(pause=0.2), plan_of(60), shard_size=2, workers=int(sys.argv[2]))
"""


def start_slow_build(tmp_path: Path, workers: int) -> subprocess.Popen[bytes]:
    script = tmp_path / "slow_build.py"
    script.write_text(SLOW_BUILD)
    root, package = Path(__file__).parents[2], Path(wherewhen.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{package}"}
    command = [sys.executable, str(script), str(tmp_path / "killed"), str(workers)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_shards(folder: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 60
    while len(list(folder.glob("shard-*.parquet"))) < number:
        assert process.poll() is None, "the build ended too early"
        assert time.monotonic() < limit, "the build made no shard"
        time.sleep(0.005)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_continued_gives_the_same_bytes(tmp_path: Path, workers: int) -> None:
    process = start_slow_build(tmp_path, workers)
    wait_for_shards(tmp_path / "killed", 3, process)
    process.kill()
    process.wait()
    limit = time.monotonic() + 20
    while group_lives(process.pid):
        assert time.monotonic() < limit, "worker processes stayed behind"
        time.sleep(0.02)
    assert not (tmp_path / "killed" / "store.json").exists()
    done = len(list((tmp_path / "killed").glob("shard-*.parquet")))
    assert 3 <= done < 30
    (tmp_path / "killed" / ".pixels-00029.npy.1.part").write_text("half a shard, as a kill may leave it")
    continued = build_it(tmp_path / "killed", plan=plan_of(60), shard_size=2)
    whole = build_it(tmp_path / "whole", plan=plan_of(60), shard_size=2)
    assert contents(continued.path) == contents(whole.path)


def test_a_plan_is_digested_piece_by_piece_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, targets = plan_of(20), pd.DataFrame({"id": ["t"], "kind": ["series"], "members": [["p001", "p002"]]})
    text = "\n".join([plan.to_csv(), json.dumps(HEADER.to_json()), "5", targets.to_csv()])
    for piece in (3, 20, 1000):
        monkeypatch.setattr(engine, "_PIECE", piece)
        assert engine._digest(plan, HEADER, 5, targets) == hashlib.sha256(text.encode()).hexdigest()


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_leaves_whole_shards_only(tmp_path: Path) -> None:
    process = start_slow_build(tmp_path, workers=2)
    wait_for_shards(tmp_path / "killed", 3, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, message = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in message
    assert not [name for name in names_in(tmp_path / "killed") if name.startswith(".")]
    continued = build_it(tmp_path / "killed", plan=plan_of(60), shard_size=2)
    assert contents(continued.path) == contents(build_it(tmp_path / "whole", plan=plan_of(60), shard_size=2).path)
