"""Released whole models, tested like any run: what is written is what their published networks say, slowly."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.encoders import foreign, saco_published
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.encoders.saco import EUROSAT, SacoClassifier
from wherewhen.encoders.sources import PASTIS
from wherewhen.files import read_json
from wherewhen.ingest.engine import Shard, build
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader
from wherewhen.tasks.run import AtomicCheckpoints

L1C, L2A = load_sensor("sentinel2_l1c"), load_sensor("sentinel2_l2a")
KINDS = tuple(f"kind {number}" for number in range(10))
SIDE = 32


def digital(count: int, bands: int, seed: int = 0) -> np.ndarray:
    """Digital numbers (count, bands, SIDE, SIDE), some far above what readers clip."""
    shape = (count, bands, SIDE, SIDE)
    rng = np.random.default_rng(seed)
    coarse = rng.gamma(1.5, 1500, size=(*shape[:2], SIDE // 8, SIDE // 8)).repeat(8, 2).repeat(8, 3)
    return (coarse + rng.gamma(2, 150, size=shape)).round().clip(0, 65535).astype(np.uint16)


def splits(count: int) -> np.ndarray:
    return np.array(["train", "test"], dtype=object)[np.arange(count) % 2]


def labelled_store(path: Path, count: int = 12, **overrides: Any) -> PatchStore:
    """Thirteen bands in the sensor's order, which is not that of EuroSAT's files."""
    found: dict[str, Any] = {
        "labels": np.arange(count) % len(KINDS),
        "classes": KINDS,
        "bands": L1C.bands,
        "split": splits(count),
    }
    return PatchStore.from_arrays(path, digital(count, 13), **found | overrides)


def masked_store(path: Path, classes: int = 19, size: int = SIDE, count: int = 6) -> PatchStore:
    masks = np.random.default_rng(1).integers(0, classes, (count, size, size), np.uint8)
    names = tuple(f"crop {number}" for number in range(classes))
    return PatchStore.from_arrays(
        path,
        digital(count, 10)[..., :size, :size],
        bands=L2A.select(PASTIS),
        classes=names,
        masks=masks,
        split=splits(count),
    )


def change_store(path: Path, count: int = 6) -> PatchStore:
    """Pairs of thirteen bands."""
    pixels = digital(2 * count, 13)
    plan = pd.DataFrame({"id": [f"{i}-{date}" for i in range(count) for date in "ab"], "number": np.arange(2 * count)})
    plan["split"] = splits(count).repeat(2)
    masks = np.random.default_rng(2).integers(0, 2, (count, SIDE, SIDE), np.uint8)
    pairs = [[f"{i}-a", f"{i}-b"] for i in range(count)]
    names = [str(i) for i in range(count)]
    targets = pd.DataFrame({"id": names, "kind": "change", "members": pairs, "mask": list(masks)})
    header = StoreHeader(bands=L1C.bands)

    def make(rows: pd.DataFrame) -> Shard:
        return Shard(rows, pixels[rows["number"]])

    return build(path, plan, make, header, shard_size=1000, workers=1, title="test", targets=targets)


def write_classifier(path: Path, store: PatchStore, bins: int) -> None:
    """A file of the released classifier, with a bias such that it does not take all images for the same class."""
    foreign.write_saco_classifier(path, foreign.resnet(4), bins)
    model, seen = SacoClassifier([band.name for band in store.bands], str(path)), []
    model.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(torch.from_numpy(store.pixels(np.arange(len(store))).astype(np.float32)))
    state = torch.load(path, weights_only=True)
    mean = seen[0].mean((0, 1))
    state["resnet.model.fc.bias"] = -state["resnet.model.fc.weight"] @ mean.detach()
    torch.save(state, path)


def write_dense(path: Path, channels: int, classes: int, *shown: torch.Tensor) -> torch.Tensor:
    """A file of a released model of pixels, and what that answers: no outcome everywhere, (N, K, H, W)."""
    net = saco_published.Dense(foreign.resnet(5, channels=channels), classes, kept=classes > 1).eval()
    said = torch.zeros(1, classes, 1, 1)
    if shown:
        with torch.no_grad():
            net.decoder[4].bias -= net(*shown).transpose(0, 1).flatten(1).median(1).values
            said = net(*shown)
    torch.save(net.state_dict(), path)
    return said


def adopted(tmp_path: Path, file: Path, store: PatchStore, *words: str) -> Path:
    """The run of a file, tested."""
    run = tmp_path / "run"
    cpu = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    assert main(["adopt", str(file), "--store", str(store.path), "--run", str(run), *words, *cpu]) == 0
    for verb in ("validate", "test"):
        assert main([verb, "--config", str(run / "config.yaml"), "--run", str(run)]) == 0
    return run


def refused(tmp_path: Path, file: Path, store: PatchStore, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is said; and nothing was written."""
    run = tmp_path / "refused"
    assert main(["adopt", str(file), "--store", str(store.path), "--run", str(run), *words]) == 2
    assert not list(tmp_path.glob("*refused*"))
    return capsys.readouterr().err


# -- the classifier


@pytest.mark.parametrize(("bins", "named"), [(16, False), (18, True)])
def test_the_classifiers_run_says_what_the_published_one_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bins: int, named: bool
) -> None:
    file, store = tmp_path / "best_classification_model.pth", labelled_store(tmp_path / "store")
    write_classifier(file, store, bins)
    order = tuple(np.random.default_rng(3).permutation(KINDS)) if named else KINDS
    run = adopted(tmp_path, file, store, *(("--classes", *order) if named else ()), "--data.validation", "0.5")
    assert ("order of the model's classes is not published" in capsys.readouterr().err) != named
    state = torch.load(file, weights_only=True)
    head = state["resnet.model.fc.weight"], state["resnet.model.fc.bias"]
    tested = np.flatnonzero(store.table["split"] == "test")
    places = [[band.name for band in L1C.bands].index(name) for name in EUROSAT]
    images = store.pixels(tested)[:, places].astype(float)
    truth = np.array([saco_published.classify(image, foreign.resnet(4), *head, bins) for image in images])
    rows = list(csv.DictReader((run / "test_predictions.csv").open(encoding="utf-8")))
    assert [row["id"] for row in rows] == store.table["id"].iloc[tested].tolist()
    assert [row["prediction"] for row in rows] == [order[best] for best in truth.argmax(1)]
    assert len({row["prediction"] for row in rows}) > 2
    np.testing.assert_allclose([float(row["probability"]) for row in rows], truth.max(1), atol=2e-3)
    right = np.mean([row["prediction"] == row["label"] for row in rows])
    assert read_json(run / "test.json")["accuracy"] == pytest.approx(100 * right)
    assert (run / "confusion.png").is_file()


def test_what_the_classifier_is_shown_is_exact(tmp_path: Path) -> None:
    """The task's scale, and the least and greatest value of an image, leave every bit as digital numbers have it."""
    file = tmp_path / "best_classification_model.pth"
    foreign.write_saco_classifier(file, foreign.resnet(4))
    store = labelled_store(tmp_path / "store")
    run = adopted(tmp_path, file, store, "--data.validation", "0.5")
    kept = AtomicCheckpoints().load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    stored = torch.from_numpy(store.pixels(np.arange(4)).astype(np.float32))
    stored[0, 0, 0, :2] = torch.tensor([0.0, 65535.0])  # all that a store can hold
    shown = ((stored * kept["scale.gain"] + kept["scale.shift"]).clamp(0, 1) - 0.5) / 0.25

    def unit(images: torch.Tensor) -> torch.Tensor:
        least, greatest = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - least) / (greatest - least)

    assert torch.equal(unit(shown), unit(stored))


# -- models of pixels


def maps_of(run: Path) -> np.ndarray:
    maps: np.ndarray = np.load(run / "test_maps.npz")["maps"]
    return maps


@pytest.mark.parametrize("named", [False, True])
def test_the_segmentations_run_says_what_the_published_one_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    file, store = tmp_path / "best_pixel_segmentation.pth", masked_store(tmp_path / "store")
    tested = store.pixels(np.flatnonzero(store.table["split"] == "test"))
    places = [[band.name for band in store.bands].index(name) for name in PASTIS]
    shown = torch.stack([saco_published.read_for_segmentation(image[places]) for image in tested])
    said = write_dense(file, 10, 20, shown)[:, :19].argmax(1).numpy()
    assert len(np.unique(said)) > 10
    order = np.random.default_rng(3).permutation(19) if named else np.arange(19)
    names = [store.classes[number] for number in order]
    run = adopted(tmp_path, file, store, *(("--classes", *names) if named else ()), "--data.validation", "0.5")
    assert "last outcome of 20, void, is no class of the store" in capsys.readouterr().err
    assert np.mean(maps_of(run) == order[said]) > 0.9995  # float32 ties
    assert main(["analyse", "pictures", str(run), "--out", str(tmp_path / "pictures.png")]) == 0
    assert (tmp_path / "pictures.png").stat().st_size > 1000


def test_the_change_models_run_says_what_the_published_one_says(tmp_path: Path) -> None:
    file, store = tmp_path / "best_change_model.pth", change_store(tmp_path / "store")
    places = [[band.name for band in store.bands].index(name) for name in ("B04", "B03", "B02")]
    tested = store.pixels(np.flatnonzero(store.table["split"] == "test"))[:, places]
    shown = torch.stack([saco_published.read_for_change(image) for image in tested])
    said = torch.sigmoid(write_dense(file, 3, 1, shown[::2], shown[1::2]))[:, 0] > 0.5
    run = adopted(tmp_path, file, store, "--data.validation", "0.5")
    assert np.mean(maps_of(run) == said.numpy()) > 0.9995
    assert "f1" in read_json(run / "test.json")
    assert main(["analyse", "pictures", str(run), "--out", str(tmp_path / "pictures.png")]) == 0


# -- refusals


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"{name}.pth" for name in ("classifier", "change", "pastis", "moco")}
    foreign.write_saco_classifier(files["classifier"], foreign.resnet())
    foreign.write_moco(files["moco"], foreign.resnet())
    write_dense(files["change"], 3, 1)
    write_dense(files["pastis"], 10, 20)
    stores = {
        "labels": labelled_store(tmp_path / "labels"),
        "few": labelled_store(tmp_path / "few", labels=np.arange(12) % 3, classes=KINDS[:3]),
        "many": labelled_store(tmp_path / "many", labels=np.eye(12, 10, dtype=np.int8)),
        "masks": masked_store(tmp_path / "masks"),
        "small": masked_store(tmp_path / "small", size=16),
        "crops": masked_store(tmp_path / "crops", classes=5),
    }
    for model, store, words, message in (
        ("moco", "labels", (), "laid out as MoCo v2; what can be adopted whole"),
        ("classifier", "masks", (), "needs B01, B09, B10, but the images have"),
        ("classifier", "many", (), "gives one label a patch"),
        ("classifier", "few", (), "tells 10 classes, and the store has 3"),
        ("classifier", "labels", ("--classes", "a", "b"), "--classes are a, b, but the store's are kind 0"),
        ("pastis", "labels", (), "has no masks of classes"),
        ("pastis", "small", (), "have 16 pixels a side"),
        ("pastis", "crops", (), "tells 20 classes, and the store has 5"),
        ("change", "masks", (), "no pairs of images"),
    ):
        assert message in refused(tmp_path, files[model], stores[store], capsys, *words), message


def test_a_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "best_classification_model.pth"
    foreign.write_saco_classifier(file, foreign.resnet())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("mine", encoding="utf-8")
    store = labelled_store(tmp_path / "store")
    assert main(["adopt", str(file), "--store", str(store.path), "--run", str(tmp_path / "run")]) == 2
    assert "not an empty folder" in capsys.readouterr().err
