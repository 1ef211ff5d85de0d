"""Local binary patterns against scikit-image, and a ring at a time against loops."""

import io
import math
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.feature import local_binary_pattern as scikit_image
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.views import texture
from wherewhen.views.texture import METHODS, histogram, local_binary_pattern

SETTINGS = [(1, 1), (4, 1.5), (7, 2.2), (8, 1), (12, 1.3), (16, 2), (24, 3)]
LARGE = (64, 64, 64)  # worth compiling


@pytest.fixture
def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texture, "WORTH_COMPILING", math.inf)


def truth(planes: np.ndarray, points: int, radius: float, method: str) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Applying `local_binary_pattern` to floating-point images")
        codes = [scikit_image(plane, points, radius, method) for plane in planes.reshape(-1, *planes.shape[-2:])]
    return torch.from_numpy(np.reshape(codes, planes.shape))


def pictures(kind: str, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(len(kind))
    rows, columns = np.indices(shape[-2:])
    return {
        "noise": generator.integers(0, 256, shape),
        "few values": generator.integers(0, 3, shape),  # ties everywhere
        "slopes": np.broadcast_to(3 * rows - 3 * columns + 1000, shape),  # ties on the diagonals
        "flat": np.full(shape, 77),
        "reflectance": generator.normal(0.2, 0.1, shape),
    }[kind].astype(np.float64)


def alike(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found.double().nan_to_num(-1), expected.nan_to_num(-1))


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("points", "radius"), SETTINGS)
def test_equals_scikit_image(points: int, radius: float, method: str) -> None:
    for kind in ("noise", "few values", "slopes", "flat", "reflectance"):
        planes = pictures(kind, 2, 21, 33)
        found = local_binary_pattern(torch.from_numpy(planes), points, radius, method)
        assert found.dtype == torch.float64
        assert alike(found, truth(planes, points, radius, method)), kind


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.float32, torch.bfloat16, torch.bool])
def test_any_type_has_the_codes_of_its_values(dtype: torch.dtype) -> None:
    planes = torch.from_numpy(pictures("noise", 3, 2, 20, 24)).to(dtype)
    found = local_binary_pattern(planes)
    assert found.dtype == torch.float32
    assert alike(found, truth(planes.double().numpy(), 16, 2, "uniform"))


@pytest.mark.usefixtures("stepwise")
@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(5, 5), (1, 1), (1, 9), (9, 1), (3, 4, 6), (2, 1, 3, 4, 4), (0, 3, 3), (2, 0, 4)]),
    points=st.integers(1, 12),
    radius=st.floats(0.2, 6),
    method=st.sampled_from(sorted(METHODS)),
    seed=st.integers(0, 1000),
)
def test_any_shape(shape: tuple[int, ...], points: int, radius: float, method: str, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 20, shape).astype(np.float64)
    found = local_binary_pattern(torch.from_numpy(planes), points, radius, method)
    assert found.shape == planes.shape
    if planes.size:
        assert alike(found, truth(planes, points, radius, method))


@pytest.mark.usefixtures("stepwise")
def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = torch.from_numpy(pictures("noise", 11, 9, 13))
    whole = local_binary_pattern(planes)
    monkeypatch.setattr(texture, "CHUNK", 250)
    assert torch.equal(local_binary_pattern(planes), whole)
    assert torch.equal(local_binary_pattern(planes.permute(2, 1, 0)), torch.stack([
        local_binary_pattern(plane) for plane in planes.permute(2, 1, 0)
    ]))  # fmt: skip


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("points", [4, 8, 16])
def test_words_of_a_ring(points: int) -> None:
    """Every code from the set points alone, spelled out as the papers word it."""
    planes = torch.from_numpy(pictures("noise", 40, 9, 9))
    words = local_binary_pattern(planes, points, 1, "default")[:, 1:-1, 1:-1].flatten().long()
    codes = {m: local_binary_pattern(planes, points, 1, m)[:, 1:-1, 1:-1].flatten().long() for m in METHODS}
    for i, word in enumerate(words.tolist()):
        ring = [word >> point & 1 for point in range(points)]
        turns = [sum(ring[(point + turn) % points] << point for point in range(points)) for turn in range(points)]
        uniform = sum(a != b for a, b in zip(ring, ring[1:] + ring[:1], strict=True)) <= 2
        assert codes["ror"][i] == min(turns)
        assert codes["uniform"][i] == (sum(ring) if uniform else points + 1)
        assert (codes["nri_uniform"][i] == points * (points - 1) + 2) == (not uniform)
    kept = codes["nri_uniform"] < points * (points - 1) + 2
    pairs = set(zip(words[kept].tolist(), codes["nri_uniform"][kept].tolist(), strict=True))
    assert len({word for word, _ in pairs}) == len({code for _, code in pairs}) == len(pairs)


@pytest.mark.usefixtures("stepwise")
def test_turning_the_picture_turns_the_codes() -> None:
    planes = torch.from_numpy(pictures("noise", 5, 16, 16))
    for method in ("uniform", "ror"):
        turned = local_binary_pattern(planes.rot90(1, (1, 2)), 8, 1, method)
        assert torch.equal(turned, local_binary_pattern(planes, 8, 1, method).rot90(1, (1, 2)))
    assert not torch.equal(
        local_binary_pattern(planes.rot90(1, (1, 2)), 8, 1, "default"),
        local_binary_pattern(planes, 8, 1, "default").rot90(1, (1, 2)),
    )


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What is compiled here is forgotten afterwards."""
    yield
    texture._fused.cache_clear()
    torch.compiler.reset()


@pytest.fixture
def compiler(forgotten: None) -> None:
    if not any(map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))):
        pytest.skip("there is no C++ compiler; install g++, or name one in CXX")


@pytest.mark.usefixtures("compiler")
def test_one_compilation_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = 4, 1.5, "uniform"  # few points: compiled soonest
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the compiler works
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            local_binary_pattern(torch.zeros(LARGE), *setting)
    noise = torch.from_numpy(pictures("noise", 30, 100, 130))
    cases = [noise, noise.float(), noise.byte(), noise[:, :100, :100], noise.mT, noise[:2].repeat(1, 4, 4), noise[:13]]
    cases += [noise.view(2, 3, 5, 100, 130), noise[:, :30, :100].repeat(3, 1, 1)]
    with torch.compiler.set_stance("fail_on_recompile"):
        found = [local_binary_pattern(case, *setting) for case in cases]
        with torch.inference_mode():
            assert torch.equal(local_binary_pattern(noise, *setting), found[0])
    monkeypatch.setattr(texture, "WORTH_COMPILING", math.inf)
    for case, codes in zip(cases, found, strict=True):
        assert torch.equal(local_binary_pattern(case, *setting), codes)


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("method", METHODS)
def test_fused_codes_are_those_of_the_steps(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("noise", "few values", "slopes", "reflectance"):
        planes = torch.from_numpy(pictures(kind, *LARGE))
        found = local_binary_pattern(planes, method=method)
        assert alike(found[:6], truth(planes[:6].numpy(), 16, 2, method))
        with monkeypatch.context() as patch:
            patch.setattr(texture, "WORTH_COMPILING", math.inf)
            assert alike(found, local_binary_pattern(planes, method=method))


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> object:
        def fails(_: Tensor) -> Tensor:
            raise RuntimeError("no compiler here\nand much more")

        return fails

    monkeypatch.setattr(torch, "compile", absent)
    planes = torch.from_numpy(pictures("noise", *LARGE))
    with pytest.warns(UserWarning, match=r"step by step, which is slow: no compiler here$"):
        found = local_binary_pattern(planes, 5, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert torch.equal(local_binary_pattern(planes, 5, 1), found)
    assert alike(found[:3], truth(planes[:3].numpy(), 5, 1, "uniform"))


@pytest.mark.data
@pytest.mark.usefixtures("stepwise")
def test_all_bands_of_real_images(real_data: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    files = sorted((real_data / "eurosat100").glob("*/*.tif"))
    assert len(files) == 100
    for file in files:
        with rasterio.open(file) as source:
            planes = source.read()
        expected = truth(planes, 16, 2, "uniform")
        for dtype in (torch.float64, torch.float32):
            assert alike(local_binary_pattern(torch.from_numpy(planes).to(dtype)), expected), file


@pytest.mark.data
@pytest.mark.usefixtures("stepwise")
def test_real_photographs_by_every_method(real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "eurosat" / "EuroSAT_RGB.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::1500]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))).transpose(2, 0, 1) for name in names]
    planes = np.stack(images)
    for method in METHODS:
        found = local_binary_pattern(torch.from_numpy(planes.astype(np.float64)), method=method)
        assert alike(found, truth(planes, 16, 2, method)), method


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_histogram_counts_every_code(dtype: torch.dtype) -> None:
    codes = local_binary_pattern(torch.from_numpy(pictures("noise", 2, 3, 20, 10))).to(dtype)
    found = histogram(codes, 18)
    assert found.shape == (2, 3, 18)
    for i, j in np.ndindex(2, 3):
        expected = np.bincount(codes[i, j].flatten().long().numpy(), minlength=18)
        np.testing.assert_array_equal(found[i, j], expected)
    assert found.sum(-1).eq(200).all()
    assert torch.equal(histogram(codes, 16), found[..., :16])  # the last two are left out, not put elsewhere


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "rotation"}, r"'rotation'.*uniform, default, ror, nri_uniform, var"),
        ({"points": 0}, "points = 0: a ring has 1 point or more"),
        ({"points": 25, "method": "default"}, r"points = 25.*up to 24 points.*torch\.float32"),
        ({"points": 32, "method": "ror", "image": torch.zeros(3, 3).double()}, r"points = 32.*up to 31"),
        ({"radius": 0}, "radius = 0: it must be above 0"),
        ({"radius": math.nan}, "radius = nan"),
        ({"radius": math.inf}, "radius = inf"),
        ({"image": torch.zeros(5)}, r"shape \(5,\).*take real images"),
        ({"image": torch.zeros(5, 5, dtype=torch.complex64)}, r"complex64.*take real images"),
    ],
)
def test_what_has_no_pattern_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        local_binary_pattern(**({"image": torch.zeros(3, 3)} | arguments))  # type: ignore[arg-type]


def test_histograms_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match=r"in 0 bins.*1 bin or more"):
        histogram(torch.zeros(3, 3), 0)
    with pytest.raises(UserError, match=r"codes \(3,\)"):
        histogram(torch.zeros(3), 18)
