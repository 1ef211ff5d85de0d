"""Scenes that a STAC catalog names."""

import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wherewhen.errors import UserError

pytest.importorskip("rasterio")
pystac = pytest.importorskip("pystac")

from tests.scene_fakes import plane, write  # noqa: E402
from tests.stac_fakes import WHEN, asset, bands_10, bands_11, collection_of, item, served, write_json  # noqa: E402
from wherewhen import scenes as folder_scenes  # noqa: E402
from wherewhen.scenes import Scene  # noqa: E402
from wherewhen.scenes.hrefs import Origin, as_gdal  # noqa: E402
from wherewhen.scenes.stac import find  # noqa: E402

NAMES, COMMON = ("B02", "B03", "B04", "B08"), ("blue", "green", "red", "nir")
SHAPE = (40, 50)
BANDS = {"1.0": bands_10, "1.1": bands_11}


def four(start: int = 1000, dtype: str = "uint16") -> np.ndarray:
    return np.stack([plane(SHAPE, start + 100 * band, dtype) for band in range(4)])


def one(tmp_path: Path, **fields: Any) -> Path:
    """An item collection of one item with a file of four bands."""
    write(tmp_path / "a.tif", four())
    return collection_of(tmp_path / "c.json", item("a", {"image": asset("a.tif", **fields)}))


def read(scene: Scene) -> np.ndarray:
    return scene.read(scene.whole)


# -- bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", BANDS)
@pytest.mark.parametrize("names", [NAMES, ("1", "2", "3", "4")])
def test_bands_are_found_by_name_or_common_name(tmp_path: Path, version: str, names: tuple[str, ...]) -> None:
    catalog = one(tmp_path, **BANDS[version](names, COMMON))
    (scene,) = find(catalog, "sentinel2_l2a", ["B08", "B03"])
    assert (scene.name, [band.name for band in scene.bands]) == ("a", ["B08", "B03"])
    assert (f"{scene.time:%Y-%m-%dT%H:%M:%SZ}", scene.time_from) == (WHEN, "datetime of the item")
    np.testing.assert_array_equal(read(scene), four()[[3, 1]])


@pytest.mark.parametrize("version", BANDS)
def test_scale_and_offset_are_the_bands_and_lose_nothing(tmp_path: Path, version: str) -> None:
    fields = BANDS[version](NAMES, scale=1e-4, offset=-0.1, nodata=1005)
    (scene,) = find(one(tmp_path, **fields), "sentinel2_l2a")
    assert {(band.scale, band.offset) for band in scene.bands} == {(1e-4, -1000.0)}
    hidden = (four() == 1005).any(0)
    assert hidden.any()
    np.testing.assert_array_equal(scene.valid(scene.whole), ~hidden)
    np.testing.assert_array_equal(read(scene), np.where(hidden, 0, four()))


CONVERTED: dict[str, tuple[str, dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "another scale": ("uint16", {"scale": 2e-4}, lambda n: 2 * n),
    "8-bit reflectance": ("uint8", {"scale": 1 / 250, "offset": 0.02}, lambda n: (n / 250 + 0.02) * 1e4),
    "floats of reflectance": ("float32", {"scale": 1.0, "offset": 0.0}, lambda n: n * 1e4),
    "a scale that says nothing": ("uint16", {"scale": 1.0, "offset": 0.0}, lambda n: n),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_numbers_of_another_scale_become_the_sensors(tmp_path: Path, name: str) -> None:
    dtype, told, truth = CONVERTED[name]
    numbers = four(1000, "uint8") if dtype == "uint8" else four()
    numbers = (numbers / 5000).astype("float32") if dtype == "float32" else numbers
    write(tmp_path / "a.tif", numbers)
    catalog = collection_of(tmp_path / "c.json", item("a", {"image": asset("a.tif", **bands_10(NAMES, **told))}))
    (scene,) = find(catalog, "sentinel2_l2a")
    assert {(band.scale, band.offset) for band in scene.bands} == {(1e-4, 0.0)}
    np.testing.assert_allclose(read(scene), truth(numbers.astype(float)), atol=0.51)


def test_landsats_own_scale_leaves_its_numbers(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four()[:2])
    fields = bands_10(["OLI_B2", "OLI_B5"], ["blue", "nir08"], scale=2.75e-5, offset=-0.2)
    (scene,) = find(collection_of(tmp_path / "c.json", item("LC08_L2SP_1_2", {"x": asset("a.tif", **fields)})))
    assert (scene.sensor, [band.name for band in scene.bands]) == ("landsat89_l2", ["SR_B2", "SR_B5"])
    assert scene.bands[0].offset == pytest.approx(-0.2 / 2.75e-5)
    np.testing.assert_array_equal(read(scene), four()[:2])


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"s2:processing_baseline": "05.09"}, -1000.0),
        ({"s2:processing_baseline": "02.12"}, 0.0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, 0.0),
        ({"earthsearch:boa_offset_applied": False}, 0.0),
    ],
)
def test_sentinel_2_is_as_of_its_baseline(tmp_path: Path, properties: dict[str, Any], offset: float) -> None:
    write(tmp_path / "a.tif", four())
    content = item("S2", {"x": asset("a.tif", **bands_10(NAMES))}, collection="sentinel-2-l2a", **properties)
    (scene,) = find(collection_of(tmp_path / "c.json", content))
    assert (scene.sensor, scene.bands[0].offset) == ("sentinel2_l2a", offset)


def test_an_offset_that_was_applied_is_not_applied_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.tif", four())
    image = asset("a.tif", **bands_10(NAMES, scale=1e-4, offset=-0.1))
    late: dict[str, Any] = {"datetime": "2023-01-01T00:00:00Z", "collection": "sentinel-2-l2a"}
    catalog = collection_of(
        tmp_path / "c.json", item("a", {"x": image}, **late | {"earthsearch:boa_offset_applied": True})
    )
    assert find(catalog)[0].bands[0].offset == 0
    assert "harmonised" not in capsys.readouterr().err  # the item told it
    find(collection_of(tmp_path / "d.json", item("a", {"x": asset("a.tif", **bands_10(NAMES))}, **late)))
    assert "taken as harmonised" in capsys.readouterr().err


def test_a_file_a_band_by_the_keys_of_assets_the_finest_and_the_barest_first(tmp_path: Path) -> None:
    for number, name in enumerate(("B02", "B03")):
        write(tmp_path / f"{name}.tif", four()[number])
        write(tmp_path / f"{name}_20m.tif", four()[number][::2, ::2], side=20)
    write(tmp_path / "tci.tif", four(1, "uint8")[:3])
    write(tmp_path / "b2.jp2", four(5000)[0])
    assets = {
        "thumb": asset("tci.tif", roles=["thumbnail"], **bands_10(["B02"])),
        "visual": asset("tci.tif", **bands_10(["B04", "B03", "B02"])),
        "B02_20m": asset("B02_20m.tif", gsd=20),
        "B02-jp2": asset("b2.jp2", type="image/jp2", gsd=10, **bands_10(["B02"])),
        "B02_10m": asset("B02.tif", gsd=10),
        "B03_10m": asset("B03.tif", **{"raster:bands": [{"spatial_resolution": 10}]}),
        "B03_20m": asset("B03_20m.tif", **{"raster:bands": [{"spatial_resolution": 20}]}),
        "metadata": {"href": "m.xml", "type": "application/xml"},
    }
    (scene,) = find(collection_of(tmp_path / "c.json", item("a", assets)), "sentinel2_l2a", ["B02", "B03"])
    np.testing.assert_array_equal(read(scene), four()[:2])


MASKS: dict[str, tuple[dict[str, dict[str, Any]], int, str]] = {
    "scl": ({"scl": {}}, 9, "scl"),
    "qa_pixel": ({"qa_pixel": {"roles": ["cloud", "cloud-shadow"]}}, 8, "qapixel"),
    "fmask": ({"Fmask": {}}, 2, "fmask"),
    "udm2 at the end of a key": ({"ortho_udm2": {}}, 0, "udm2"),
    "udm2 by its role": ({"mask": {"roles": ["udm2"]}}, 0, "udm2"),
    "role of clouds": ({"veil": {"roles": ["cloud"]}}, 1, "veil"),
    "a known code before a role": ({"cloud": {"roles": ["cloud"]}, "SCL": {}}, 9, "scl"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_clouds(tmp_path: Path, name: str) -> None:
    assets, hidden, kind = MASKS[name]
    clear = {"udm2": 1, "scl": 4}.get(kind, 0)
    mask = np.full(SHAPE, clear, "uint8")
    mask[:10, :20] = hidden
    write(tmp_path / "mask.tif", mask)
    write(tmp_path / "a.tif", four())
    content = {"x": asset("a.tif", **bands_11(NAMES))} | {k: asset("mask.tif", **f) for k, f in assets.items()}
    (scene,) = find(collection_of(tmp_path / "c.json", item("a", content)), "sentinel2_l2a")
    assert scene.mask_kind == kind
    np.testing.assert_array_equal(scene.valid(scene.whole), mask == clear)


def test_probabilities_of_clouds_are_no_mask_and_a_named_mask_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", np.full(SHAPE, 7, "uint8"))
    write(tmp_path / "a.tif", four())
    assets = {"x": asset("a.tif", **bands_11(NAMES)), "cld": asset("p.tif", roles=["cloud"], title="Cloud probability")}
    catalog = collection_of(tmp_path / "c.json", item("a", assets))
    assert find(catalog, "sentinel2_l2a")[0].mask is None
    assert not (scene := find(catalog, "sentinel2_l2a", mask_band="cld")[0]).valid(scene.whole).any()


# -- time and order -------------------------------------------------------------------------------


def test_times_of_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.tif", four())
    span = {"datetime": None, "start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2020-01-03T00:00:00Z"}
    times: dict[str, dict[str, Any]] = {"a": span, "b": {"datetime": None}, "c": {"datetime": "1900-01-01T00:00:00Z"}}
    times |= {"d": {"datetime": "2020-07-01T23:30:00-05:00"}, "e": {"datetime": "2020-07-01T23:30:00"}}  # as UTC
    times |= {"f": span | {"start_datetime": "2020-01-01"}, "g": span | {"end_datetime": "soon"}}
    items = [item(name, {"x": asset("a.tif", **bands_11(NAMES))}, **time) for name, time in times.items()]
    found = find(collection_of(tmp_path / "c.json", *items), "sentinel2_l2a")
    assert [scene.time and f"{scene.time:%Y-%m-%d %H:%M %Z}" for scene in found] == [
        *("2020-01-02 00:00 UTC", None, None, "2020-07-02 04:30 UTC", "2020-07-01 23:30 UTC", "2020-01-02 00:00 UTC"),
        None,
    ]
    assert found[0].time_from == "middle of the item's interval"
    assert (
        "3 items have no datetime that can be, so their time is unknown: b, c, g; --time-column"
        in capsys.readouterr().err
    )


def test_ids_of_items_are_no_paths(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four())
    items = [item(name, {"x": asset("a.tif", **bands_11(NAMES))}) for name in ("../../up", "a/b", 7)]  # type: ignore[arg-type]
    found = find(collection_of(tmp_path / "c.json", *items), "sentinel2_l2a")
    assert [scene.name for scene in found] == [".._.._up", "7", "a_b"]


def test_a_catalog_is_walked_and_its_items_counted(tmp_path: Path) -> None:
    root = pystac.Catalog("root", "all")
    for number in range(2):
        child = pystac.Collection(
            f"part{number}",
            "some",
            pystac.Extent(pystac.SpatialExtent([[0, 0, 1, 1]]), pystac.TemporalExtent([[None, None]])),
        )
        root.add_child(child)
        for name in "ab"[: number + 1]:
            content = item(f"{name}", {"x": asset("../../images/a.tif", **bands_11(NAMES))})
            child.add_item(pystac.Item.from_dict(content))
    root.normalize_and_save(str(tmp_path / "cat"), pystac.CatalogType.SELF_CONTAINED)
    write(tmp_path / "cat" / "images" / "a.tif", four())  # two folders above each item
    found = find(tmp_path / "cat" / "catalog.json", "sentinel2_l2a")
    assert [scene.name for scene in found] == ["a", "a-2", "b"]
    assert len(find(tmp_path / "cat" / "catalog.json", "sentinel2_l2a", items=2)) == 2
    (single,) = (tmp_path / "cat" / "part0").rglob("a.json")
    with pytest.raises(UserError, match="leaves the catalog's folder"):
        find(single, "sentinel2_l2a")


def test_a_catalog_that_is_its_own_child_ends(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four())
    write_json(tmp_path / "i.json", item("a", {"x": asset("a.tif", **bands_11(NAMES))}))
    links = [
        {"rel": "child", "href": "./c.json"},
        {"rel": "item", "href": "i.json"},
        {"rel": "child", "href": "c.json"},
    ]
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "round", "links": links}
    assert len(find(write_json(tmp_path / "c.json", catalog), "sentinel2_l2a")) == 1


# -- hrefs ----------------------------------------------------------------------------------------

HERE, THERE = "/data/cat/catalog.json", "https://example.org/cat/catalog.json"
HREFS: list[tuple[str, str, str, str]] = [
    (HERE, "/data/cat/i/item.json", "b.tif", "/data/cat/i/b.tif"),
    (HERE, "/data/cat/i/item.json", "../images/b 1.tif", "/data/cat/images/b 1.tif"),
    (HERE, HERE, "/else/b.tif", "/else/b.tif"),
    (HERE, HERE, "file:///else/b%201.tif", "/else/b 1.tif"),
    (HERE, HERE, "https://example.org/b.tif?sig=a%2Fb", "/vsicurl/https://example.org/b.tif?sig=a%2Fb"),
    (HERE, HERE, "s3://bucket.a-1/k/b.tif", "/vsis3/bucket.a-1/k/b.tif"),
    (HERE, HERE, "gs://bucket/k/b.tif", "/vsigs/bucket/k/b.tif"),
    (THERE, "https://example.org/cat/i/item.json", "./b.tif", "/vsicurl/https://example.org/cat/i/b.tif"),
    (THERE, THERE, "../../b.tif", "/vsicurl/https://example.org/b.tif"),
    (THERE, THERE, "/etc/b.tif", "/vsicurl/https://example.org/etc/b.tif"),
    ("http://localhost:80/c.json", "http://localhost:80/c.json", "http://localhost:9/b.tif", "/vsicurl/http://localhost:9/b.tif"),
]  # fmt: skip
REFUSED: list[tuple[str, str, str]] = [
    (HERE, "../b.tif", "leaves the catalog's folder /data/cat"),
    (HERE, "i/../../b.tif", "leaves the catalog's folder"),
    (HERE, "../cat2/b.tif", "leaves the catalog's folder"),
    (HERE, "/vsicurl/http://127.0.0.1/b.tif", "GDAL's own"),
    (HERE, "http://127.0.0.1/b.tif", "this machine or its network"),
    (HERE, "HTTP://LocalHost/b.tif", "this machine or its network"),
    (HERE, "http://u@127.0.0.1:80/b.tif", "this machine or its network"),
    (HERE, "http://2130706433/b.tif", "this machine or its network"),
    (HERE, "http://0.0.0.0/b.tif", "this machine or its network"),
    (HERE, "http://[::1]/b.tif", "this machine or its network"),
    (HERE, "http://[::ffff:10.0.0.1]/b.tif", "this machine or its network"),
    (HERE, "https://169.254.169.254/latest/meta-data", "this machine or its network"),
    (HERE, "https://192.168.1.1/b.tif", "this machine or its network"),
    (HERE, "https://inside.example.org/b.tif", "this machine or its network"),
    (HERE, "http:///b.tif", "this machine or its network"),
    (HERE, "http://example.org\\@127.0.0.1/b.tif", "no URL"),
    (HERE, "ftp://example.org/b.tif", "neither a path nor http"),
    (HERE, "s3:///b.tif", "no bucket"),
    (THERE, "http://10.1.2.3/b.tif", "this machine or its network"),
    (THERE, "//127.0.0.1/b.tif", "this machine or its network"),
    (THERE, "file:///etc/passwd", "file of this machine"),
    (THERE, "FILE:/etc/passwd", "file of this machine"),
    (THERE, "zip:/etc/b.zip", "neither a path nor http"),
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of hosts without asking the network."""
    known = {
        "localhost": "127.0.0.1",
        "2130706433": "127.0.0.1",
        "inside.example.org": "10.0.0.7",
        "example.org": "8.8.8.8",
    }

    def look_up(host: str, port: None) -> list[Any]:
        return [(2, 1, 6, "", (known.get(host, host), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(("catalog", "base", "href", "path"), HREFS)
def test_hrefs_become_what_gdal_calls_them(catalog: str, base: str, href: str, path: str) -> None:
    assert as_gdal(Origin.of(catalog).resolve(href, base)) == path


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(("catalog", "href", "message"), REFUSED)
def test_hrefs_that_are_refused(catalog: str, href: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Origin.of(catalog).resolve(href, catalog)
    assert "\n" not in str(error.value)


def test_refused_hrefs_of_assets_and_links_are_told_in_a_line(tmp_path: Path) -> None:
    bad = item("a", {"x": asset("http://127.0.0.1:9/a.tif", **bands_11(NAMES))})
    with pytest.raises(
        UserError, match=r"^item a: asset x: http://127.0.0.1:9/a.tif is on this machine or its network"
    ):
        find(collection_of(tmp_path / "c.json", bad), "sentinel2_l2a")
    links = [{"rel": "child", "href": "http://127.0.0.1:9/c.json"}]
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": links}
    with pytest.raises(UserError, match=r"c\.json: http://127.0.0.1:9/c.json is on this machine"):
        find(write_json(tmp_path / "c.json", catalog), "sentinel2_l2a")


# -- remote ---------------------------------------------------------------------------------------


def test_a_remote_catalog_and_its_files(tmp_path: Path) -> None:
    catalog = one(tmp_path, **bands_11(NAMES))
    with served(tmp_path) as (address, handler):
        (scene,) = find(f"{address}/{catalog.name}", "sentinel2_l2a")
        np.testing.assert_array_equal(read(scene), four())
        assert scene.layers[0].path == f"/vsicurl/{address}/a.tif"
        assert set(handler.asked) == {"/c.json", "/a.tif"}  # and no folder or side file


def test_a_redirection_is_checked_like_an_href(tmp_path: Path) -> None:
    one(tmp_path, **bands_11(NAMES))
    with served(tmp_path) as (address, handler):
        handler.moved = {
            "/moved.json": f"{address}/c.json",
            "/away.json": f"http://localhost:{address.split(':')[-1]}/c.json",
        }
        assert len(find(f"{address}/moved.json", "sentinel2_l2a")) == 1
        with pytest.raises(UserError, match="is on this machine or its network"):
            find(f"{address}/away.json", "sentinel2_l2a")


def test_a_remote_file_that_is_a_vrt_is_not_opened(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret" / "a.tif", four())
    vrt = f"<VRTDataset rasterXSize='50' rasterYSize='40'><SRS>EPSG:32632</SRS><GeoTransform>0,10,0,0,0,-10</GeoTransform><VRTRasterBand dataType='UInt16' band='1'><SimpleSource><SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"  # noqa: E501
    (tmp_path / "a.tif").write_text(vrt)
    catalog = collection_of(tmp_path / "c.json", item("a", {"x": asset("a.tif", **bands_11(["B02"]))}))
    find(catalog, "sentinel2_l2a")  # one's own
    with served(tmp_path) as (address, _), pytest.raises(UserError, match=r"item a: a\.tif cannot be read"):
        find(f"{address}/{catalog.name}", "sentinel2_l2a")


# -- a table of items -----------------------------------------------------------------------------


def table_of(path: Path, *items: dict[str, Any]) -> Path:
    """The items as stac-geoparquet lays them out: properties are columns, times are times, footprints are WKB."""
    rows = []
    for one in items:
        row = {field: one[field] for field in ("type", "stac_version", "stac_extensions", "id", "assets")}
        row |= {"geometry": b"", "collection": one.get("collection")} | one["properties"]
        rows.append(row | {"datetime": datetime.fromisoformat(one["properties"]["datetime"])})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_table_of_items_gives_the_scenes_of_the_collection(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.tif", four())
    told = bands_10(NAMES, COMMON, scale=1e-4, offset=-0.1)
    one = item("a", {"x": asset("a.tif", **told)}, version="1.0.0", **{"s2:processing_baseline": "05.00"})
    two = item("b", {"y": asset("b.tif", **bands_10(NAMES))}, version="1.0.0", collection="sentinel-2-l2a")
    expected = find(collection_of(tmp_path / "c.json", one, two), "sentinel2_l2a")
    assert [scene.layers[0].offset for scene in expected] == [-1000, 0]
    table = table_of(tmp_path / "c.parquet", one, two)
    assert find(table, "sentinel2_l2a") == expected
    assert [scene.name for scene in find(table, "sentinel2_l2a", items=1)] == ["a"]


def test_bad_tables_are_told_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(UserError, match=r"c\.parquet is no STAC table: it has no column 'assets'"):
        find(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"c\.parquet is no STAC table: it cannot be read"):
        find(path)
    with pytest.raises(UserError, match=r"fetched before if it is remote"):
        find("https://example.org/c.parquet")


# -- bad input ------------------------------------------------------------------------------------


def twice() -> dict[str, Any]:
    return item("a", {"x": asset("a.tif", **bands_11(NAMES)), "y": asset("a.tif", **bands_11(NAMES))})


NAMED = item("a", {"x": asset("a.tif", **bands_10(NAMES))})
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "missing band": (NAMED, {"bands": ["B02", "B11"]}, "band B11 is missing; it has B02"),
    "unknown band": (NAMED, {"bands": ["B99"]}, "no band 'B99'"),
    "no bands": (item("a", {"image": asset("a.tif")}), {}, r"no asset \(image\) is a band of sentinel2_l2a"),
    "no assets": (item("a", {}), {}, r"no asset \(none\)"),
    "two of a band": (twice(), {}, "assets x and y are both B02"),
    "no file": (item("a", {"x": asset("b.tif", **bands_10(NAMES))}), {}, r"b\.tif cannot be read"),
    "too few bands": (item("a", {"x": asset("a.tif", **bands_10([*NAMES, "B11"]))}), {}, "asset x has 4 bands, not 5"),
    "scale": (item("a", {"x": asset("a.tif", **bands_10(NAMES, scale=0))}), {}, "scale 0.0 .* of B02"),
    "sensor": (item("a", {"x": asset("a.tif", **bands_10("1234", COMMON))}), {"sensor": None}, "which with --sensor"),
    "no item": ({"type": "FeatureCollection", "features": []}, {}, "has no item that can be used"),
    "datetime": (item("a", {}, datetime="soon"), {}, "item a: it is no valid STAC item"),
    "no STAC": ([1], {}, "is no STAC, it has neither"),
    "items": (item("a", {}), {"items": 0}, "--items 0 is out of range"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_catalogs_are_told_with_the_remedy(tmp_path: Path, name: str) -> None:
    content, options, message = BAD[name]
    write(tmp_path / "a.tif", four())
    with pytest.raises(UserError, match=message):
        find(write_json(tmp_path / "c.json", content), **{"sensor": "sentinel2_l2a"} | options)


def test_bad_documents(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json is no file"):
        find(tmp_path / "none.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(UserError, match=r"c\.json is no STAC"):
            find(tmp_path / "c.json")


def test_bad_items_can_be_skipped_and_further_pages_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.tif", four())
    good, bad = (item(name, {"x": asset(f"{name}.tif", **bands_11(NAMES))}) for name in "ab")
    catalog = collection_of(tmp_path / "c.json", good, bad, links=[{"rel": "next", "href": "c2.json"}])
    assert [scene.name for scene in find(catalog, "sentinel2_l2a", on_error="skip")] == ["a"]
    err = capsys.readouterr().err
    assert "skipped item b: b.tif cannot be read" in err
    assert "the next pages are not read" in err


def test_scenes_are_those_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a_20200701T101010.tif", four(), names=NAMES)
    (alone,) = folder_scenes.find([tmp_path], "sentinel2_l2a")
    content = item(alone.name, {"x": asset(f"{alone.name}.tif", **bands_11(NAMES, scale=1e-4, offset=0))})
    (scene,) = find(collection_of(tmp_path / "c.json", content), "sentinel2_l2a")
    assert (scene.layers, scene.bands, scene.grid, scene.dtype, scene.time) == (
        alone.layers, alone.bands, alone.grid, alone.dtype, alone.time,
    )  # fmt: skip
