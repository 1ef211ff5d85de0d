import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakeEuroSAT
from tests.tasks.conftest import CLASSES, make_store, settings, write_config
from tests.tasks.dense_stores import masked_store
from wherewhen.bands import load_sensor
from wherewhen.cli import main as cli
from wherewhen.doctor import main
from wherewhen.errors import UserError
from wherewhen.files import sha256_of, write_json
from wherewhen.ingest.eurosat import prepare
from wherewhen.store import PatchStore


def make(path: Path, n: int = 6, **changes: Any) -> Path:
    """A store with one training patch of `a` and the rest `b`, half of it placed, none dated."""
    pixels = np.random.default_rng(0).integers(1, 9000, (n, 2, 4, 4), dtype=np.uint16)
    place = np.full((n, 2), np.nan)
    place[: n // 2] = 45, 10
    value: dict[str, Any] = {
        "bands": load_sensor("sentinel2_l2a").select(["B04", "B08"]),
        "labels": np.array([0, *[1] * (n - 1)]),
        "classes": ("a", "b"),
        "split": ["train"] * (n - 2) + ["test"] * 2,
        "place": place,
        "pixel_size": 10.0,
        "provenance": "invented",
    }
    value |= changes
    return PatchStore.from_arrays(path, value.pop("pixels", pixels), **value).path


def run(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[int, str]:
    code = main([str(word) for word in argv])
    return code, capsys.readouterr().out


def test_it_describes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, make(tmp_path / "s"))
    assert code == 0
    rows = [line.split() for line in text.splitlines()]
    assert "6 patches, 2 × 4 × 4 uint16), 10 m a pixel" in text
    assert "from: invented; licence: unknown" in text
    assert "known: place of 50.0%, time of 0.0%, mask of 0.0%" in text
    assert ["test", "train", "all"] in rows
    assert ["a", "0", "1", "1"] in rows
    assert ["b", "2", "3", "5"] in rows
    assert next(row for row in rows if row[:1] == ["B08"])[1:6] == ["832.8", "10.0", "reflectance", "0.0001", "0.0"]
    assert text.splitlines()[-2] == ""
    assert text.splitlines()[-1].startswith("warning: 50.0% of the patches have no place")
    _, text = run(capsys, make(tmp_path / "whole", place=np.full((6, 2), 45.0), split=["train"] * 6))
    assert text.endswith("nothing wrong was found\n")


def test_it_counts_many_labels_and_those_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, many = run(capsys, make(tmp_path / "many", labels=np.array([[1, 1], [1, 0], [-1, -1]] * 2)))
    rows = [line.split() for line in many.splitlines()]
    assert ["a", "1", "3", "4"] in rows
    assert ["b", "0", "2", "2"] in rows
    _, none = run(capsys, make(tmp_path / "none", labels=None, split=None))
    assert ["no", "label", "6", "6"] in [line.split() for line in none.splitlines()]


FINDINGS: list[tuple[dict[str, Any], int, str]] = [
    ({"pixels": np.ones((6, 2, 4, 4), np.uint16)}, 1, "error: band B04 has the same value everywhere"),
    ({"time": np.full(6, np.datetime64("2200-01-01", "ns"))}, 1, "error: 6 patches are dated in the future, first 0"),
    ({"labels": np.ones(6, int)}, 0, "warning: class a has no patch for training"),
    ({"places": ["here"] * 6}, 0, "warning: 1 places have patches in several splits, such as here"),
]


@pytest.mark.parametrize(("changes", "code", "message"), FINDINGS)
def test_it_finds_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, message: str
) -> None:
    found, text = run(capsys, make(tmp_path / "s", **changes))
    assert message in text
    assert found == code
    assert "nothing wrong" not in text


def test_it_lists_what_was_skipped(
    fake_eurosat: FakeEuroSAT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake_eurosat.folder / "River" / "River_2.jpg").write_bytes(b"broken")
    prepare(fake_eurosat.folder, tmp_path / "s", on_error="skip")
    code, text = run(capsys, tmp_path / "s", "--full")
    assert code == 0
    assert "warning: 1 patches were skipped, first River_2: River/River_2.jpg: cannot identify" in text


def test_full_finds_a_changed_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "s")
    assert run(capsys, path, "--full")[0] == 0
    shard = path / "pixels-00000.npy"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert run(capsys, path)[0] == 0
    with pytest.raises(UserError, match=r"pixels-00000\.npy has changed since it was made; restore"):
        main([str(path), "--full"])


def test_full_finds_masks_of_no_class_and_blank_patches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(1, 9000, (6, 2, 4, 4), dtype=np.uint16)
    pixels[3] = 7
    path = make(tmp_path / "s", pixels=pixels, masks=np.ones((6, 4, 4), np.uint8))
    code, text = run(capsys, path, "--full")
    assert (code, "warning: 1 patches have one value in every pixel and band, first 3" in text) == (0, True)
    np.save(path / "masks-00000.npy", np.full((6, 4, 4), 2, np.uint8))
    header = json.loads((path / "store.json").read_text())
    header["files"]["masks-00000.npy"]["sha256"] = sha256_of(path / "masks-00000.npy")
    write_json(path / "store.json", header)
    code, text = run(capsys, path, "--full")
    assert (code, "error: masks of patches 0 to 5 hold 2, which is no class" in text) == (1, True)


def test_a_store_that_does_not_open_is_a_clear_error(tmp_path: Path) -> None:
    path = make(tmp_path / "s")
    frame = pd.read_parquet(path / "patches.parquet")
    frame.drop(columns="time").to_parquet(path / "patches.parquet")
    with pytest.raises(UserError, match=r"column 'time' is missing"):
        main([str(path)])
    with pytest.raises(UserError, match="not a folder"):
        main([str(tmp_path / "absent")])
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


def far_and_near(path: Path, **changes: Any) -> Path:
    """Twelve patches of 10 m; the last, a test patch, lies beside a training patch."""
    place = np.column_stack((np.linspace(40, 50, 12), np.full(12, 10.0)))
    place[-1] = place[0] + (0, 0.0002)
    pixels = np.random.default_rng(0).integers(1, 9000, (12, 2, 8, 8), dtype=np.uint16)
    split = ["train"] * 8 + ["test"] * 4
    return make(path, 12, pixels=pixels, place=place, split=split, **changes)


def test_tests_beside_training_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = run(capsys, far_and_near(tmp_path / "s"))
    assert "25% of the test patches overlap or touch a training patch (nearer than 0.08 km)" in text
    assert "data.block_km" in text
    assert "have no place" not in text
    place = np.column_stack((np.linspace(40, 50, 12), np.full(12, 10.0)))
    _, text = run(capsys, make(tmp_path / "t", 12, place=place))
    assert "overlap or touch" not in text


def test_unknown_places_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = run(capsys, make(tmp_path / "s"))
    assert "50.0% of the patches have no place; a teacher needs metadata_dropout" in text
    assert "have no time" not in text  # of none it is known: nothing to warn of


def test_twins_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(1, 9000, (6, 2, 4, 4), dtype=np.uint16)
    pixels[1] = pixels[0]
    code, text = run(capsys, make(tmp_path / "same", pixels=pixels.copy()), "--full")
    assert code == 0
    assert "warning: 1 patches have a twin in the store" in text
    pixels[5] = pixels[2]
    code, text = run(capsys, make(tmp_path / "leak", pixels=pixels), "--full")
    assert code == 1
    assert "error: 1 patches have a twin in another split" in text


def test_a_store_is_held_against_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = make_store(tmp_path / "trained").path
    config = settings(trained, algorithm=None, teacher=None)
    config["trainer"] |= {"max_steps": 1, "val_check_interval": 1}
    words = ["--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(tmp_path / "run")]
    assert cli(["fit", *words]) == 0
    code, text = run(capsys, trained, "--run", tmp_path / "run")
    assert code == 0
    assert "in the run's training" not in text
    pixels = np.random.default_rng(0).integers(240, 256, (9, 3, 16, 16)).astype(np.uint8)
    about: dict[str, Any] = {"bands": load_sensor("rgb8").bands, "labels": np.arange(9) % 3, "classes": CLASSES}
    code, text = run(
        capsys, PatchStore.from_arrays(tmp_path / "bright", pixels, **about).path, "--run", tmp_path / "run"
    )
    assert code == 0
    assert "band red has mean 24" in text
    code, text = run(capsys, make(tmp_path / "other"), "--run", tmp_path / "run")
    assert code == 1
    assert "error: the model was trained on bands red, green, blue" in text
    code, text = run(
        capsys, make_store(tmp_path / "names", classes=("water", "field", "forest")).path, "--run", tmp_path / "run"
    )
    assert code == 1
    assert "in another order" in text


def test_the_map_shows_every_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, far_and_near(tmp_path / "s"), "--map", tmp_path / "map.png")
    picture = matplotlib.image.imread(tmp_path / "map.png")
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 20
    with pytest.raises(UserError, match="no patch of"):
        main([str(make(tmp_path / "t", place=np.full((6, 2), np.nan))), "--map", str(tmp_path / "x.png")])


def test_classes_of_masks_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = np.full((60, 16, 16), 255, np.uint8)
    masks[:9, 3, 3], masks[0, 5, 5] = 1, 2
    _, text = run(capsys, masked_store(tmp_path / "s", masks=masks).path)
    rows = [line.split() for line in text.splitlines()]
    assert ["forest", "3", "6", "9"] in rows  # test, train, all
    assert ["water", "0", "1", "1"] in rows
    assert "class field has no patch for training" in text
