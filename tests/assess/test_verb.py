import json
import re
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest

from tests.assess.generated import CLASSES, DEGREES, UTM, patches, write_map
from wherewhen.cli import main

SHAPE = (200, 160)
SHARES = [0.05, 0.35, 0.6]
DOCS = Path(__file__).parents[2] / "docs" / "assess.md"


def fill_in(path: Path, truth: np.ndarray, system: tuple[str, tuple[float, ...]], column: str = "class") -> None:
    """What an interpreter does: look at every point, and write down what is there."""
    crs, (a, _, c, _, e, f) = system
    sample = geopandas.read_file(path)
    places = sample.to_crs(crs).geometry
    rows, columns = np.floor((places.y - f) / e).astype(int), np.floor((places.x - c) / a).astype(int)
    sample[column] = [CLASSES[k] for k in truth[rows, columns]]
    sample.to_file(path)


def scene(folder: Path, system: tuple[str, tuple[float, ...]]) -> np.ndarray:
    """A map with one pixel in ten wrong; the truth."""
    truth = patches(SHAPE, SHARES)
    wrong = np.random.default_rng(0).random(SHAPE) < 0.1
    write_map(folder / "map.tif", np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8), system)
    return truth


@pytest.mark.parametrize("system", [UTM, DEGREES])
def test_design_fill_in_compare(
    tmp_path: Path, system: tuple[str, tuple[float, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = scene(tmp_path, system)
    where, sample = str(tmp_path / "map.tif"), tmp_path / "sample.geojson"
    assert main(["assess", where, "--design", "400", "--out", str(sample)]) == 0
    out = capsys.readouterr().out
    assert "400 points" in out
    assert "no estimates of area" in out
    drawn = geopandas.read_file(sample)
    assert (len(drawn), drawn.crs.to_epsg()) == (400, 4326)
    assert list(drawn.columns) == ["id", "stratum", "class", "geometry"]
    assert drawn["stratum"].value_counts().min() >= 50
    assert not drawn["class"].any()
    fill_in(sample, truth, system)
    assert (
        main(["assess", where, "--reference", str(sample), "--out", str(tmp_path / "found" / "assessment.json")]) == 0
    )
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "found" / "assessment.json").read_text())
    markdown = (tmp_path / "found" / "assessment.md").read_text()
    assert found["points"] == 400
    assert found["overall_accuracy"]["low"] < 0.9 < found["overall_accuracy"]["high"]
    assert [row["class"] for row in found["classes"]] == list(CLASSES)
    for row in found["classes"]:
        assert row["area_ha"]["low"] < row["area_ha"]["estimate"] < row["area_ha"]["high"]
        assert row["area_km2"]["estimate"] == pytest.approx(row["area_ha"]["estimate"] / 100)
    assert sum(row["area_ha"]["estimate"] for row in found["classes"]) == pytest.approx(found["total_ha"])
    overall = f"{100 * found['overall_accuracy']['estimate']:.1f} ± "
    for text in (out, markdown):
        assert overall in text
        assert "The estimates are the areas to publish" in text
        assert "comparison only" in text
        assert "projection" in text if system == UTM else "each row" in text
    assert markdown.count("\n|---|") == 4
    if system == UTM:
        assert found["total_ha"] == pytest.approx(SHAPE[0] * SHAPE[1] * 0.09, rel=2e-3)


def test_without_a_number_the_error_decides_and_the_minimum_comes_on_top(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path, UTM)
    words = ["assess", str(tmp_path / "map.tif"), "--out", str(tmp_path / "sample.geojson"), "--expected", "0.9"]
    assert main([*words, "--standard-error", "0.02", "--design"]) == 0
    sizes = geopandas.read_file(tmp_path / "sample.geojson")["stratum"].value_counts()
    assert sizes["water"] >= 50
    assert 222 <= sizes.sum() <= 270  # 0.9 · 0.1 / 0.02² = 225, less for a map of 32,000 pixels, and the minimum
    error = re.search(r"about (0\.\d+)", capsys.readouterr().out)
    assert error is not None
    assert float(error[1]) <= 0.02
    first = (tmp_path / "sample.geojson").read_bytes()
    assert main([*words, "--standard-error", "0.02", "--design"]) == 0
    assert (tmp_path / "sample.geojson").read_bytes() == first


def test_points_left_out_and_thin_classes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = scene(tmp_path, UTM)
    left, top = UTM[1][2], UTM[1][5]
    rows, columns = np.argwhere(patches(SHAPE, SHARES) == 2)[::200].T
    lines = [
        f"{left + 30 * c + 15},{top - 30 * r - 15},{CLASSES[truth[r, c]]}" for r, c in zip(rows, columns, strict=True)
    ]
    text = "\n".join(["x,y,seen", *lines, f"{left},{top + 900},field", f"{left + 95},{top - 95},"])
    (tmp_path / "points.csv").write_text(text + "\n")
    words = ["assess", str(tmp_path / "map.tif"), "--reference", str(tmp_path / "points.csv"), "--class-column", "seen"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"1 points outside the map are left out: {len(lines) + 1}" in out
    assert f"1 points without a class are left out: {len(lines) + 2}" in out
    assert re.search(r"fewer than two points, so .* % of the map is in none of these figures", out)
    assert "fewer than 20 points" in out or "show no variation" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--design", "100"], "--out is None"),
        (["--design", "100", "--out", "sample.gpkg"], "--out sample.geojson"),
        (["--design", "1", "--out", "s.geojson"], "--design 1 is too few"),
        (["--design", "100", "--out", "s.geojson", "--minimum", "1"], "--minimum 1"),
        (["--design", "100", "--out", "s.geojson", "--minimum", "90"], "too few for 90 in each of 3 classes"),
        (["--design", "100", "--out", "s.geojson", "--seed", "-1"], "--seed -1"),
        (["--design", "100", "--out", "s.geojson", "--standard-error", "0.1"], "sets the number of points"),
        (["--design", "--out", "s.geojson", "--standard-error", "1"], r"outside \(0, 0.5\)"),
        (["--design", "100", "--out", "s.geojson", "--expected", "2"], "--expected 2"),
        (["--reference", "absent.csv"], "absent.csv does not exist"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path, UTM)
    monkeypatch.chdir(tmp_path)
    assert main(["assess", "map.tif", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "s.geojson").exists()


def test_a_map_that_lies_nowhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_map(tmp_path / "map.tif", patches((8, 8), SHARES), ("", UTM[1]))
    assert main(["assess", str(tmp_path / "map.tif"), "--reference", "absent.csv"]) == 2
    assert "no coordinate reference system" in capsys.readouterr().err


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = scene(tmp_path, UTM)
    (tmp_path / "maps").mkdir()
    (tmp_path / "map.tif").rename(tmp_path / "maps" / "2024.tif")
    write_map(tmp_path / "maps" / "2025.tif", truth)
    monkeypatch.chdir(tmp_path)
    lines = [
        line for block in re.findall(r"```\n(.*?)```", DOCS.read_text(), flags=re.S) for line in block.splitlines()
    ]
    commands = [line.partition("#")[0].split()[1:] for line in lines if line.startswith("wherewhen")]
    assert len(commands) >= 4
    for words in commands:
        assert main(words) == 0, words
        if "--design" in words:
            fill_in(tmp_path / "sample.geojson", truth, UTM)


def test_neither_torch_nor_lightning_is_needed(tmp_path: Path) -> None:
    scene(tmp_path, UTM)
    words = ["assess", str(tmp_path / "map.tif"), "--design", "60", "--out", str(tmp_path / "sample.geojson")]
    loaded = "print('torch' in sys.modules, 'lightning' in sys.modules)"
    code = f"import sys; from wherewhen.cli import main; main({words}); {loaded}"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("False False\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from wherewhen.cli import main\n"
        "try: main(['assess', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'torch', 'rasterio', 'geopandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("[]\n")
