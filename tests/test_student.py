"""A student in its user's hands."""

import contextlib
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import wherewhen
from tests.students import RECIPES, Runs, asked_of
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.images import check_numbers, positions, read, reflected
from wherewhen.student import Student

SIZES = {"many": 8, "unet": 64}  # S, where it is not 16


@pytest.fixture
def taught(runs: Runs) -> Student:
    return wherewhen.load(runs("taught") / "run", device="cpu")


# -- the same as `wherewhen test`


@pytest.mark.parametrize("name", RECIPES)
def test_a_student_says_what_test_has_written(runs: Runs, name: str) -> None:
    there = runs(name)
    student, images = wherewhen.load(there / "run", device="cpu"), asked_of(there, name)
    p = student.predict_proba(images, batch=7)
    assert p.dtype == np.float32
    if student.kind in ("mask", "change"):
        written = np.load(there / "run" / "test_maps.npz")["maps"]
        np.testing.assert_array_equal(student.predict(images), written)
        assert p.shape == (len(images), len(student.classes), *images.shape[-2:])
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
        return
    table = pd.read_csv(there / "run" / "test_predictions.csv")
    if student.kind == "many":
        np.testing.assert_allclose(p, table[list(student.classes)], atol=2e-6)
        np.testing.assert_array_equal(student.predict(images), table[list(student.classes)] >= 0.5)
    else:
        assert table["prediction"].tolist() == student.predict(images).tolist()
        np.testing.assert_allclose(p.max(1), table["probability"], atol=2e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_it_is(runs: Runs, name: str) -> None:
    student = wherewhen.load(runs(name) / "run")
    assert [band.name for band in student.bands] == ["red", "green", "blue"]
    assert student.image_size == SIZES.get(name, 16)
    assert student.about.patch_size == (64 if name == "unet" else 16)
    kinds = {"many": "many", "unet": "mask", "tokens": "mask", "change": "change"}
    assert student.kind == kinds.get(name, "one")
    assert student.stride == (32 if name in ("unet", "change") else None)


@pytest.mark.parametrize("name", ["cdmad", "many", "unet"])
def test_cdmad_takes_off_the_answer_to_nothing(runs: Runs, name: str) -> None:
    student, images = wherewhen.load(runs(name) / "run", device="cpu"), asked_of(runs(name), name)
    network: Any = student.answer
    with_it = student.predict_proba(images)
    assert network.nothing.abs().max() > 0
    network.nothing.zero_()
    assert abs(student.predict_proba(images) - with_it).max() > 1e-4


def test_its_average_answers_and_its_network_knows_no_place(runs: Runs) -> None:
    checkpoint = torch.load(runs("taught") / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    network: Any = wherewhen.load(runs("taught") / "run", device="cpu").answer
    ours = network.network.head.weight
    torch.testing.assert_close(ours, checkpoint["objective.student_ema.module.head.weight"], rtol=0, atol=0)
    assert not torch.equal(ours, checkpoint["objective.student.head.weight"])
    assert network.network.metadata is None


def test_loading_needs_no_lightning_and_draws_no_random_number(runs: Runs) -> None:
    code = (
        "import sys, numpy, torch, wherewhen, wherewhen.export_formats, wherewhen.model_card;"
        "torch.manual_seed(3); before = torch.get_rng_state();"
        f"student = wherewhen.load({str(runs('taught') / 'run')!r});"
        "student.predict_proba(numpy.zeros((1, 3, 16, 16), numpy.uint8));"
        "print(torch.equal(before, torch.get_rng_state()), [m for m in sys.modules if 'lightning' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_it_is_like_a_classifier_of_scikit_learn(taught: Student, runs: Runs) -> None:
    from sklearn.metrics import accuracy_score

    images = asked_of(runs("taught"), "taught")
    named, p = taught.predict(images), taught.predict_proba(images)
    assert named.tolist() == taught.classes_[p.argmax(1)].tolist()
    assert accuracy_score(named, taught.classes_[taught.predict(images, indices=True)]) == 1


# -- sizes


def test_patches_are_resized_as_in_training(taught: Student) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 30, 20), dtype=np.uint8)
    smaller = torch.nn.functional.interpolate(
        torch.from_numpy(images).float(), (16, 16), mode="bilinear", antialias=True, align_corners=False
    )
    by_hand = taught.predict_proba(smaller.round().numpy().astype(np.uint8))
    np.testing.assert_array_equal(taught.predict_proba(images), by_hand)


@pytest.mark.parametrize("shape", [(7, 45), (64, 32), (33, 1)])
def test_pixels_of_any_size_are_mirrored_up_to_the_stride(runs: Runs, shape: tuple[int, int]) -> None:
    student = wherewhen.load(runs("unet") / "run", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *shape), dtype=np.uint8)
    height, width = (-(-side // 32) * 32 for side in shape)
    # one pixel has no mirror image, so NumPy repeats it
    across = np.pad(images, ((0, 0),) * 3 + ((0, width - shape[1]),), "reflect" if shape[1] > 1 else "edge")
    padded = np.pad(across, ((0, 0),) * 2 + ((0, height - shape[0]), (0, 0)), "reflect")
    network: Any = student.answer
    with torch.no_grad():
        by_hand = network(torch.from_numpy(padded).float()).numpy()[..., : shape[0], : shape[1]]
    np.testing.assert_array_equal(student.predict_proba(images), by_hand)


def test_a_network_of_one_size_takes_smaller_images_and_no_larger(runs: Runs) -> None:
    student = wherewhen.load(runs("tokens") / "run", device="cpu")
    assert student.predict(np.zeros((2, 3, 11, 16), np.uint8)).shape == (2, 11, 16)
    with pytest.raises(UserError, match=r"16 × 17 pixels, but this network takes 16 × 16 at most"):
        student.predict(np.zeros((2, 3, 16, 17), np.uint8))


@given(st.integers(1, 40), st.integers(0, 60))
def test_mirrored_positions_are_numpys(length: int, more: int) -> None:
    expected = np.pad(np.arange(length), (0, more), "reflect") if length > 1 else np.zeros(1 + more, int)
    np.testing.assert_array_equal(reflected(length, length + more), expected)


# -- images as people have them


def test_every_kind_of_image_is_the_same_image(taught: Student, tmp_path: Path) -> None:
    import rasterio
    import xarray

    image = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    expected = taught.predict_proba(image)
    assert expected.shape == (1, 3)
    mixed = np.stack((image[2], image[0] // 2, image[0], image[1]))  # blue, something else, red, green
    names = ["blue", "other", "red", "green"]
    path = tmp_path / "image.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=16, height=16, count=4, dtype="uint8") as file:
            file.write(mixed)
            file.descriptions = names
        with rasterio.open(path) as opened:
            answers = [taught.predict_proba(opened), taught.predict_proba(path), taught.predict_proba(str(path))]
    frame = xarray.DataArray(mixed, dims=("band", "y", "x"), coords={"band": names})
    answers += [
        taught.predict_proba(mixed, bands=names),
        taught.predict_proba(mixed.astype(np.float64), bands=tuple(names)),
        taught.predict_proba(frame),
        taught.predict_proba(frame.transpose("y", "x", "band")),
        taught.predict_proba(xarray.DataArray(mixed, dims=("band", "y", "x"), attrs={"long_name": tuple(names)})),
        taught.predict_proba(image, bands=load_sensor("rgb8").bands),
    ]
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


def test_change_takes_pairs_in_their_order(runs: Runs) -> None:
    student, pairs = wherewhen.load(runs("change") / "run", device="cpu"), asked_of(runs("change"), "change")[:4]
    expected = student.predict_proba(pairs)
    np.testing.assert_array_equal(student.predict_proba((pairs[:, 0], pairs[:, 1])), expected)
    np.testing.assert_allclose(student.predict_proba((pairs[0, 0], pairs[0, 1])), expected[:1], atol=1e-6)
    turned = student.predict_proba(pairs[:, :, ::-1], bands=["blue", "green", "red"])
    np.testing.assert_array_equal(turned, expected)


def test_no_image_has_no_answer(taught: Student) -> None:
    assert taught.predict_proba(np.zeros((0, 3, 16, 16), np.uint8)).shape == (0, 3)


RGB = load_sensor("rgb8").bands
S2 = load_sensor("sentinel2_l2a").select(["B02", "B03", "B04", "B08"])
REFLECTANCE: tuple[Any, ...] = (S2, (0.08, 0.09, 0.1, 0.25), (0.03, 0.03, 0.05, 0.1))
BYTES: tuple[Any, ...] = (RGB, (100.0,) * 3, (40.0,) * 3)


@pytest.mark.parametrize(
    ("images", "bands", "message"),
    [
        (
            np.zeros((2, 4, 16, 16), np.uint8),
            None,
            "the array has 4 bands; the model was trained on 3: red, green, blue",
        ),
        (np.zeros((2, 3, 16, 16), np.uint8), ["red", "green", "nir"], "has no band blue, it has 'red', 'green', 'nir'"),
        (np.zeros((2, 3, 16, 16), np.uint8), ["red", "green"], "2 bands are named, but the array has 3"),
        (np.zeros((2, 4, 16, 16), np.uint8), ["red", "blue", "green", "blue"], "has 2 bands named blue"),
        (np.zeros((2, 3, 16, 16), np.uint8), S2[2::-1], "was trained on 8-bit in band red, but the array holds refl"),
        (np.zeros((16, 16), np.uint8), None, r"has shape \(16, 16\)"),
        (np.zeros((1, 2, 3, 16, 16), np.uint8), None, r"this student takes \(N, C, H, W\)"),
        (np.full((3, 16, 16), 900, np.uint16), None, "band red would be 8-bit from 900 to 900, which is none"),
        (np.full((3, 16, 16), 0.25), None, "the images hold fractions from 0.25 to 0.25"),
        (np.full((3, 16, 16), np.nan), None, "not finite"),
        (np.zeros((3, 16, 16), bool), None, "of type bool"),
        (np.zeros((3, 100, 16), np.uint8), None, r"100 × 16 pixels, but what is classified are patches of 16 × 16"),
        ([np.zeros((3, 16, 16), np.uint8)] * 2, None, "2 images in a list; give one array"),
        ("nowhere.tif", None, "nowhere.tif cannot be read as a raster"),
    ],
)
def test_what_it_was_not_trained_on_is_refused(taught: Student, images: Any, bands: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        taught.predict_proba(images, bands=bands)


def test_rasters_that_say_less_or_other_are_refused(taught: Student, tmp_path: Path) -> None:
    import rasterio
    import xarray

    path = tmp_path / "image.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        for count, scales, message in (
            (4, (1, 1, 1, 1), "does not name its 4 bands"),
            (3, (1, 0.1, 1), "band green is"),
        ):
            with rasterio.open(path, "w", driver="GTiff", width=16, height=16, count=count, dtype="uint8") as file:
                file.write(np.zeros((count, 16, 16), np.uint8))
                file.scales = scales
            with pytest.raises(UserError, match=message):
                taught.predict_proba(path)
    with pytest.raises(UserError, match="one must be named band"):
        taught.predict_proba(xarray.DataArray(np.zeros((3, 16, 16)), dims=("colour", "y", "x")))


@pytest.mark.parametrize(
    ("array", "trained", "message"),
    [
        (
            np.random.default_rng(0).random((2, 4, 8, 8)),
            REFLECTANCE,
            "fractions .* up to about 4500, where reflectance",
        ),
        (np.random.default_rng(0).normal(0, 1, (2, 4, 8, 8)), REFLECTANCE, "fractions"),
        (np.full((2, 4, 8, 8), 255, np.uint8), REFLECTANCE, "8-bit numbers"),
        (np.full((2, 4, 8, 8), -3.4e38), REFLECTANCE, "band B02 would be reflectance"),
        (np.full((2, 4, 8, 8), 2e5), REFLECTANCE, "band B02 would be reflectance"),
        (np.full((2, 3, 8, 8), -1, np.int16), BYTES, "band red would be 8-bit"),
    ],
)
def test_numbers_of_another_unit_are_named(array: np.ndarray, trained: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_numbers(array, *trained)


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.sampled_from([np.uint16, np.float32, np.int32]))
def test_no_digital_number_is_refused_however_dark_or_bright(low: int, high: int, dtype: Any) -> None:
    array = np.array([low, high, low, high], dtype).reshape(1, 4, 1, 1).repeat(3, -1)
    check_numbers(array, *REFLECTANCE)
    check_numbers(array[:, :3] // 257, *BYTES)


def test_bands_are_found_by_what_their_names_mean() -> None:
    assert positions(["B8", "B4", "B2", "B3"], S2, "it") == [2, 3, 1, 0]
    assert positions(["B04", "B4", "B02", "B03", "nir", "B08"], S2, "it") == [2, 3, 0, 5]  # its own name comes first
    array = np.arange(4)[None, :, None, None].astype(np.uint16)
    assert read(array, ["B8", "B4", "B2", "B3"], S2, 1).ravel().tolist() == [2, 3, 1, 0]


# -- files


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*last\.ckpt; give a run's folder"):
        wherewhen.load(tmp_path)
    for name, content, message in (
        ("model.pt2", b"", "may hold code that runs when it is read"),
        ("model.txt", b"", "is none of .ckpt, .safetensors, .onnx"),
        ("model.ckpt", b"nonsense", "cannot be read"),
        ("model.safetensors", b"nonsense", "cannot be read"),
        ("model.onnx", b"nonsense", "cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            wherewhen.load(tmp_path / name)
    for metadata in (None, {"wherewhen": json.dumps({"format": "wherewhen.student", "version": 99})}):
        save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors", metadata)
        with pytest.raises(UserError, match="holds no student of wherewhen"):
            wherewhen.load(tmp_path / "other.safetensors")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not one of wherewhen's"):
        wherewhen.load(tmp_path / "other.ckpt")


def test_another_checkpoint_of_a_run_and_a_run_without_its_store(runs: Runs, tmp_path: Path) -> None:
    run = runs("taught") / "run"
    best = wherewhen.load(run / "checkpoints" / "best.ckpt")
    assert best.about.patch_size == 16
    moved = tmp_path / "somewhere" / "checkpoints"
    moved.mkdir(parents=True)
    (moved / "last.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    student = wherewhen.load(tmp_path / "somewhere")
    assert student.about.patch_size is None
    assert student.predict(np.zeros((1, 3, 200, 200), np.uint8)).shape == (1,)  # who knows what a patch was


def test_the_example_of_the_docs(runs: Runs, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(runs("taught") / "run")
    names: dict[str, Any] = {"images": asked_of(runs("taught"), "taught")}
    with contextlib.chdir(tmp_path):
        exec(example, names)
    assert names["p"].shape == (len(names["images"]), 3)
