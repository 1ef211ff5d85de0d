from pathlib import Path

import pytest

pytest.importorskip("geopandas")
pytest.importorskip("rasterio")
pytest.importorskip("pystac")

from tests.ingest.test_folder import NAMES, contents, points, run, scenes, spread
from tests.stac_fakes import asset, bands_10, bands_11, collection_of, item, served
from wherewhen.cli import main
from wherewhen.ingest.stac import prepare

__all__ = ["scenes"]  # the fixture


def catalog_of(scenes: Path) -> Path:
    """The folder's scenes as two items: one file of three bands in the west, a file a band in the east."""
    west = item("west_20200701T101010", {"all": asset("west_20200701T101010.tif", **bands_11(NAMES, nodata=0))})
    east = {name: asset(f"east/east_20210801_{name}.tif", **bands_10([name], scale=1e-4, offset=0)) for name in NAMES}
    late = item("east_20210801", east, version="1.0.0", datetime="2021-08-01T00:00:00Z")
    return collection_of(scenes / "items.json", west, late)


def words(catalog: Path | str, out: Path, labels: Path) -> list[str]:
    options = ["--class-column", "cover", "--sensor", "sentinel2_l2a", "--workers", "1", "--unlabelled", "20"]
    return ["prepare", "stac", str(catalog), str(out), "--labels", str(labels), *options]


def test_the_store_is_that_of_the_folder(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = points(tmp_path / "l.geojson", spread())
    store = run(scenes, labels, tmp_path / "folder", unlabelled=20)
    assert main(words(catalog_of(scenes), tmp_path / "stac", labels)) == 0
    assert contents(tmp_path / "stac") == contents(store.path)
    assert "2020-07-01 10:10 (datetime of the item)" in capsys.readouterr().out


def test_a_remote_catalog_gives_the_same_store_in_processes_too(scenes: Path, tmp_path: Path) -> None:
    labels = points(tmp_path / "l.geojson", spread())
    store = run(scenes, labels, tmp_path / "folder", unlabelled=20)
    with served(scenes) as (address, _):
        prepare(
            f"{address}/{catalog_of(scenes).name}", tmp_path / "stac", labels_file=labels, class_column="cover",
            sensor="sentinel2_l2a", bands=NAMES, unlabelled=20, workers=2,
        )  # fmt: skip
    assert contents(tmp_path / "stac") == contents(store.path)


def test_items_and_errors(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, catalog = points(tmp_path / "l.geojson", spread()), catalog_of(scenes)
    assert main([*words(catalog, tmp_path / "s", labels), "--items", "1"]) == 0
    assert "1 scenes, bands B02, B03, B04" in capsys.readouterr().out
    assert main([*words(catalog, tmp_path / "t", labels), "--items", "0"]) == 2
    assert main(words(tmp_path / "none.json", tmp_path / "t", labels)) == 2
    assert "none.json is no file" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
