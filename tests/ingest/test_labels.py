from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from wherewhen.errors import UserError
from wherewhen.ingest.labels import read

gpd = pytest.importorskip("geopandas")

from shapely.geometry import LineString, Point, Polygon  # noqa: E402

BOW = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])  # crosses itself
LON_LAT = pd.DataFrame({"name": ["x", "y"], "lon": [10.0, 11.0], "lat": [50.0, 51.0], "cover": ["wood", "crop"]})


def frame(**columns: Any) -> Any:
    return gpd.GeoDataFrame({"cover": ["wood", "crop"], **columns}, geometry=[Point(10, 50), Point(11, 51)], crs=4326)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: frame().to_file(path / "l.geojson"),
        lambda path: frame().to_crs(32632).to_file(path / "l.gpkg"),
        lambda path: frame().rename_geometry("shape").to_parquet(path / "l.parquet"),
        lambda path: frame().to_file(path / "l.shp"),
        lambda path: LON_LAT.to_csv(path / "l.csv", index=False),
        lambda path: LON_LAT.rename(columns={"lon": "Longitude", "lat": "Latitude"}).to_csv(
            path / "l.csv", index=False
        ),
        lambda path: LON_LAT.to_csv(path / "l.csv", sep=";", index=False),
        lambda path: LON_LAT.to_csv(path / "l.tsv", sep="\t", index=False),
        lambda path: LON_LAT.assign(wkt=["POINT (10 50)", "POINT (11 51)"])[["cover", "wkt"]].to_csv(path / "l.csv"),
    ],
)
def test_every_format_gives_the_same_labels(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path)
    path = next(path for path in sorted(tmp_path.iterdir()) if path.suffix not in (".cpg", ".dbf", ".prj", ".shx"))
    found, classes = read(path, "cover")
    assert classes == ("crop", "wood")
    assert found["code"].tolist() == [1, 0]
    assert found["time"].isna().all()
    points = found.to_crs(4326).geometry
    assert points.x.tolist() == pytest.approx([10, 11])
    assert points.y.tolist() == pytest.approx([50, 51])


def test_coordinates_of_a_table_in_metres_need_their_system(tmp_path: Path) -> None:
    table = LON_LAT.rename(columns={"lon": "x", "lat": "y"}).assign(x=[500_000.0, 501_000.0], y=[5.3e6, 5.3e6])
    table.to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(UserError, match=r"500000, 5.3e\+06 are no degrees; add --labels-crs"):
        read(tmp_path / "l.csv", "cover")
    assert read(tmp_path / "l.csv", "cover", crs="EPSG:32632").frame.crs.to_epsg() == 32632
    with pytest.raises(UserError, match="--labels-crs 'mars' is no reference system"):
        read(tmp_path / "l.csv", "cover", crs="mars")


def test_what_is_no_label_is_left_out_or_mended_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = [BOW, Point(1, 1), LineString([(0, 0), (1, 1)]), Polygon(), None, Point(2, 2), Point(3, 3)]
    covers = ["a", "b", "a", "a", "b", None, "  "]
    gpd.GeoDataFrame({"cover": covers, "id": list("stuvwxy")}, geometry=shapes, crs=4326).to_file(tmp_path / "l.gpkg")
    found = read(tmp_path / "l.gpkg", "cover").frame
    assert found["id"].tolist() == ["s", "t"]
    assert found.geometry.iloc[0].is_valid
    assert found.geometry.iloc[0].area == pytest.approx(2)
    err = capsys.readouterr().err
    assert "1 labels crossed themselves and were mended: s" in err
    assert "2 labels left out: no class: x, y" in err
    assert "2 labels left out: no geometry: v, w" in err
    assert "1 labels left out: neither points nor polygons: u" in err


def test_classes_that_are_numbers_and_times(tmp_path: Path) -> None:
    table = frame(code=[3.0, 12.0], seen=["2020-01-02", "2020-01-02T03:04:05+01:00"]).drop(columns="cover")
    table.to_file(tmp_path / "l.geojson")
    found, classes = read(tmp_path / "l.geojson", "code", "seen")
    assert classes == ("12", "3")
    assert [str(time) for time in found["time"]] == ["2020-01-02 00:00:00+00:00", "2020-01-02 02:04:05+00:00"]


def test_the_class_may_be_the_column_id_and_ids_that_are_alike_but_for_blanks_are_numbers(tmp_path: Path) -> None:
    frame(id=[7, 7]).to_file(tmp_path / "l.gpkg", layer="l")
    assert read(tmp_path / "l.gpkg", "id").classes == ("7",)
    frame(id=[7, 8]).to_file(tmp_path / "m.gpkg", layer="l")
    found, classes = read(tmp_path / "m.gpkg", "id")
    assert (classes, found["id"].tolist()) == (("7", "8"), ["7", "8"])
    frame(id=["a", "a "]).to_file(tmp_path / "l.geojson")
    assert read(tmp_path / "l.geojson", "cover").frame["id"].tolist() == ["0", "1"]


def empty(path: Path) -> None:
    path.write_text('{"type": "FeatureCollection", "features": []}')


BAD: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "empty": (empty, {}, "holds no labels"),
    "column": (lambda path: frame().to_file(path), {"class_column": "klass"}, "no column 'klass', but cover"),
    "time column": (lambda path: frame().to_file(path), {"time_column": "seen"}, "no column 'seen'"),
    "case": (lambda path: frame(cover=["Wood", "wood"]).to_file(path), {}, "'Wood' and 'wood' differ in case alone"),
    "times": (
        lambda path: frame(seen=["spring", "fall"]).to_file(path),
        {"time_column": "seen"},
        "column 'seen' holds no times",
    ),
    "times of a country": (
        lambda path: frame(seen=["13/07/2020", "14/07/2020"]).to_file(path),
        {"time_column": "seen"},
        r"column 'seen' holds no times: [^\n]*; write them as 2020-07-01",
    ),
    "no JSON": (lambda path: path.write_text("{"), {}, "cannot read labels.*export them again"),
    "all left out": (lambda path: frame(cover=["", None]).to_file(path), {}, "no label is left"),
    "absent": (lambda path: None, {}, "does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_labels_are_told_with_the_remedy(tmp_path: Path, name: str) -> None:
    make, options, message = BAD[name]
    make(tmp_path / "l.geojson")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "l.geojson", **{"class_column": "cover", **options})


def test_tables_that_hold_no_places(tmp_path: Path) -> None:
    LON_LAT[["name", "cover"]].to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(UserError, match="columns name, cover; it needs lon and lat, x and y, or wkt"):
        read(tmp_path / "l.csv", "cover")
    LON_LAT.assign(lon=["10,5", "11,5"]).to_csv(tmp_path / "l.csv", sep=";", index=False)
    with pytest.raises(UserError, match=r"lon and lat hold no numbers; write them with a point, as 7\.25"):
        read(tmp_path / "l.csv", "cover")
    frame().set_crs(None, allow_override=True).to_file(tmp_path / "l.gpkg")
    with pytest.raises(UserError, match="--labels-crs"):
        read(tmp_path / "l.gpkg", "cover")
    assert len(read(tmp_path / "l.gpkg", "cover", crs="EPSG:4326").frame) == 2
