import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import names_in
from wherewhen import store as store_module
from wherewhen.bands import Band, load_sensor
from wherewhen.errors import UserError
from wherewhen.files import write_json
from wherewhen.geoparquet import patch_schema, read_table, to_arrow, write_table
from wherewhen.store import PatchStore

L2A = load_sensor("sentinel2_l2a").at_baseline("05.00")
BANDS = L2A.select(["B04", "B8A", "B02"])
CLASSES = ("crop", "forest", "water", "town")


def arrays(n: int = 10, seed: int = 0, kind: str = "one") -> dict[str, Any]:
    """What `from_arrays` takes, with something unknown in every column."""
    rng = np.random.default_rng(seed)
    value: dict[str, Any] = {
        "pixels": rng.integers(0, 2**16, (n, 3, 6, 5), dtype=np.uint16),
        "ids": [f"patch {i}" for i in range(n)],
        "place": rng.uniform((-90, -180), (90, 180), (n, 2)),
        "time": np.datetime64("2019-12-30T10:11:12", "ns") + rng.integers(0, 800, n).astype("timedelta64[D]"),
        "masks": rng.integers(0, 4, (n, 6, 5), dtype=np.uint8),
        "split": rng.choice(np.array(["train", "val", "test", None], dtype=object), n),
        "places": rng.choice(np.array(["a", "b", None], dtype=object), n),
    }
    value["place"][1], value["time"][2] = np.nan, np.datetime64("NaT")
    value["masks"][0], value["masks"][3, :2] = 255, 255
    if kind == "one":
        value |= {"labels": rng.integers(-1, 4, n), "classes": CLASSES}
    elif kind == "many":
        value |= {"labels": rng.integers(-1, 2, (n, 4)), "classes": CLASSES}
    else:
        value["classes"] = CLASSES
    return value


def make(path: Path, **changes: Any) -> PatchStore:
    value = arrays() | changes
    return PatchStore.from_arrays(path, value.pop("pixels"), bands=value.pop("bands", BANDS), **value)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_SHARD_SIZE", 4)


@pytest.mark.parametrize("kind", ["none", "one", "many"])
def test_arrays_there_and_back(tmp_path: Path, kind: str) -> None:
    given = arrays(kind=kind)
    store = PatchStore.from_arrays(tmp_path / "s", given["pixels"], bands=BANDS, **without(given, "pixels"))
    back = store.to_arrays()
    assert store.label_kind == kind
    assert set(back) == set(given) - {"classes"}
    for name, value in back.items():
        np.testing.assert_array_equal(value, np.asarray(given[name]), err_msg=name)
    again = make(tmp_path / "t", **dict.fromkeys(arrays()) | {"classes": CLASSES} | back)
    assert again.header == store.header
    assert (again.path / "patches.parquet").read_bytes() == (store.path / "patches.parquet").read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 13),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["none", "one", "many"]),
    left_out=st.sets(st.sampled_from(["ids", "place", "time", "masks", "split", "places"])),
    dtype=st.sampled_from(["uint8", "uint16", "int16"]),
)
def test_whatever_is_known_comes_back(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, kind: str, left_out: set[str], dtype: str
) -> None:
    given = without(arrays(max(n, 4), seed, kind), *left_out)
    given = {name: value if name == "classes" else value[:n] for name, value in given.items()}
    given["pixels"] = given["pixels"].astype(dtype)
    store = PatchStore.from_arrays(
        tmp_path_factory.mktemp("s"), given["pixels"], bands=BANDS, **without(given, "pixels")
    )
    back = store.to_arrays()
    assert back["pixels"].dtype == dtype
    for name in set(given) - {"classes", "masks"}:
        np.testing.assert_array_equal(back[name], np.asarray(given[name]), err_msg=name)
    np.testing.assert_array_equal(store.masks(np.arange(n)), given.get("masks", np.full((n, 6, 5), 255)))


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in names}


def test_statistics_are_those_of_the_training_split_in_physical_units(tmp_path: Path) -> None:
    given = arrays()
    store = make(tmp_path / "s")
    reflectance = (given["pixels"][given["split"] == "train"].astype(float) - 1000) * 1e-4
    np.testing.assert_allclose(store.mean, reflectance.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(store.std, reflectance.std((0, 2, 3)), rtol=1e-12)
    everything = (given["pixels"].astype(float) - 1000) * 1e-4
    assert not np.allclose(store.mean, everything.mean((0, 2, 3)))
    for number, split in enumerate((None, ["test"] * 10)):  # nothing to train on: all patches count
        store = make(tmp_path / str(number), split=split)
        np.testing.assert_allclose(store.mean, everything.mean((0, 2, 3)), rtol=1e-12)


def test_statistics_do_not_depend_on_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = make(tmp_path / "small")
    monkeypatch.setattr(store_module, "_SHARD_SIZE", 1000)
    large = make(tmp_path / "large")
    assert (small.header.mean, small.header.std) == (large.header.mean, large.header.std)
    assert len(small.header.files) == 6
    assert len(large.header.files) == 2


def test_rows_in_any_order_and_number(tmp_path: Path) -> None:
    store, given = make(tmp_path / "s"), arrays()
    for rows in ([9, 0, 5, 5, 1], [], list(range(10)), [-1], [3]):
        index = np.array(rows, dtype=int)
        np.testing.assert_array_equal(store.pixels(index), given["pixels"][index])
        np.testing.assert_array_equal(store.masks(index), given["masks"][index])
    copy = store.pixels(np.array([2]))
    copy[:] = 0
    assert store.pixels(np.array([2])).any()
    with pytest.raises(IndexError):
        store.pixels(np.array([10]))


def test_a_mask_that_is_unknown_everywhere_takes_no_room(tmp_path: Path) -> None:
    store = make(tmp_path / "s")
    assert store.table["mask_row"].isna().tolist() == [True] + [False] * 9
    assert np.load(store.path / "masks-00000.npy").shape == (3, 6, 5)
    nothing = make(tmp_path / "t", masks=np.full((10, 6, 5), 255, np.uint8))
    assert not nothing.has_masks
    assert "masks-00000.npy" not in nothing.header.files


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2021-01-01T00:00", 0.0),
        ("2021-01-02T12:00", 1.5 / 365),
        ("2021-12-31T23:59:59", (365 - 1 / 86400) / 365),
        ("2020-12-31T12:00", 365.5 / 366),
        ("2020-02-29T06:00", 59.25 / 366),
        ("NaT", np.nan),
    ],
)
def test_day_of_the_year(tmp_path: Path, time: str, day: float) -> None:
    store = make(tmp_path / "s", time=np.full(10, np.datetime64(time, "ns")))
    np.testing.assert_allclose(store.day(), np.full(10, day), rtol=1e-9)
    assert not (store.day() >= 1).any()


def test_null_labels_are_unknown(tmp_path: Path) -> None:
    store = make(tmp_path / "s", **arrays(kind="many"))
    edit(store.path, label=[[1, 2], None, [], *[[0]] * 7], unknown=[[0], None, None, *[[]] * 7])
    assert PatchStore.open(store.path).labels()[:4].tolist() == [[-1, 1, 1, 0], [-1] * 4, [0] * 4, [1, 0, 0, 0]]


def edit(folder: Path, **columns: Any) -> None:
    """Change columns of the table on disk, as a person with pandas would."""
    kind = json.loads((folder / "store.json").read_text())["label_kind"]
    frame = pd.read_parquet(folder / "patches.parquet")
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype=object)
    write_table(folder / "patches.parquet", to_arrow(frame, patch_schema(kind)))


def test_numpy_and_pandas_open_it(tmp_path: Path) -> None:
    store, given = make(tmp_path / "s"), arrays()
    table = pd.read_parquet(store.path / "patches.parquet")
    row = table.iloc[6]
    shard = np.load(store.path / f"pixels-{row['shard']:05d}.npy", allow_pickle=False)
    np.testing.assert_array_equal(shard[row["row"]], given["pixels"][6])
    assert row["time"] == pd.Timestamp(given["time"][6], tz="UTC")


def test_geopandas_reads_the_points_and_its_copy_opens(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    store, given = make(tmp_path / "s"), arrays()
    table = geopandas.read_parquet(store.path / "patches.parquet")
    assert table.crs == "OGC:CRS84"
    np.testing.assert_array_equal(np.stack([table.geometry.y, table.geometry.x], 1), given["place"])
    table.to_parquet(store.path / "patches.parquet")
    again = PatchStore.open(store.path)
    for name, value in store.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], value, err_msg=name)


def test_a_store_travels_to_workers_by_its_path(tmp_path: Path) -> None:
    store = make(tmp_path / "s")
    data = pickle.dumps(store)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).pixels(np.arange(10)), store.pixels(np.arange(10)))


def test_27000_patches_open_in_well_under_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_SHARD_SIZE", 1024)
    n = 27_000
    path = make(tmp_path / "s", **arrays(n, kind="many")).path
    start = time.perf_counter()
    assert len(PatchStore.open(path)) == n
    assert time.perf_counter() - start < 1


BAD_ARRAYS: list[tuple[str, Any, str]] = [
    ("pixels", np.zeros((10, 2, 6, 5), np.uint8), r"\(4, 2, 6, 5\).*\(N, 3, H, W\).*B04, B8A, B02"),
    ("pixels", np.zeros((10, 3, 6, 5), np.float32), r"float32.*uint8, uint16, int16.*scale"),
    ("ids", ["twice"] * 10, r"'twice' appears 4 times.*rename"),
    ("ids", ["one"], r"id has shape \(1,\).*10 patches"),
    ("place", np.full((10, 2), 91.0), r"'patch 0': latitude 91\.0 is outside \[-90, 90\]"),
    ("place", np.tile([0.0, -180.5], (10, 1)), r"longitude -180\.5 is outside \[-180, 180\]"),
    ("place", np.tile([np.nan, 10.0], (10, 1)), r"latitude nan is outside"),
    ("place", np.tile([np.inf, 10.0], (10, 1)), r"latitude inf is outside"),
    ("place", np.zeros((10, 3)), r"must be \(10, 2\)"),
    ("labels", np.full(10, 4), r"'patch 0': label 4 is no index into the 4 classes"),
    ("labels", np.full(10, -2), r"label -2 is no index"),
    ("labels", np.full((10, 4), 2), r"1, 0 and -1"),
    ("labels", np.ones((10, 5), int), r"label 4 is no index into the 4 classes"),
    ("labels", np.full(10, 0.5), r"labels are float64.*whole numbers"),
    ("classes", (), r"need class names"),
    ("classes", ("a", "a"), r"must differ.*a, a"),
    ("split", ["Train"] * 10, r"split 'Train' is none of train, val, test"),
    ("masks", np.full((10, 6, 5), 4, np.uint8), r"mask value 4 is no index into the 4 classes"),
    ("masks", np.zeros((10, 5, 6), np.uint8), r"masks are uint8 of shape \(4, 5, 6\).*\(N, 6, 5\)"),
    ("masks", np.zeros((10, 6, 5), np.int64), r"masks are int64"),
    ("masks", np.zeros((3, 6, 5), np.uint8), r"4 rows, but masks of 3 patches"),
    ("time", ["next year"] * 10, r"column 'time' must hold"),
    ("bands", (), r"at least one band"),
    ("bands", BANDS[:1] * 3, r"two bands named 'B04'"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_ARRAYS)
def test_bad_arrays_are_refused_and_nothing_is_written(tmp_path: Path, name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path / "s", **{name: value})
    assert names_in(tmp_path) == []


def test_a_store_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no patch could be made"):
        PatchStore.from_arrays(tmp_path / "s", np.zeros((0, 3, 6, 5), np.uint8), bands=BANDS)
    assert names_in(tmp_path) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        make(tmp_path)
    assert names_in(tmp_path) == ["precious"]


def test_a_full_disk_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*free some space"):
        make(small_disk / "s", pixels=np.ones((10, 3, 256, 256), np.uint16), masks=None)
    assert names_in(small_disk) == []


def header_change(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "store.json"
        content = json.loads(path.read_text())
        write_json(path, without(content | fields, *(k for k, v in fields.items() if v is None)))

    return change


def table_change(**columns: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, **columns)


def truncate(folder: Path) -> None:
    path = folder / "pixels-00001.npy"
    path.write_bytes(path.read_bytes()[:-1])


def pickle_in_disguise(folder: Path) -> None:
    path = folder / "pixels-00001.npy"
    np.save(path, np.array([{"code": "bad"}] * 4, dtype=object), allow_pickle=True)
    state_size(folder, path.name)


def reshape(folder: Path) -> None:
    path = folder / "pixels-00001.npy"
    np.save(path, np.load(path).reshape(4, 3, 5, 6))


def one_row_less(folder: Path) -> None:
    path = folder / "pixels-00001.npy"
    np.save(path, np.load(path)[1:])
    state_size(folder, path.name)


def state_size(folder: Path, name: str) -> None:
    content = json.loads((folder / "store.json").read_text())
    content["files"][name]["bytes"] = (folder / name).stat().st_size
    write_json(folder / "store.json", content)


def drop_column(folder: Path) -> None:
    path = folder / "patches.parquet"
    pd.read_parquet(path).drop(columns="split").to_parquet(path)


def drop_row(folder: Path) -> None:
    path = folder / "patches.parquet"
    pq.write_table(pq.read_table(path)[1:], path)


def breaking(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return change


IDS = [f"patch {i}" for i in range(10)]
ESCAPE = {"../pixels-00000.npy": {"bytes": 1, "sha256": ""}}
DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (truncate, r"pixels-00001\.npy has \d+ bytes, store\.json says \d+; restore"),
    (breaking("pixels-00001.npy", None), r"pixels-00001\.npy is missing"),
    (pickle_in_disguise, r"cannot read .*pixels-00001\.npy.*Python objects"),
    (reshape, r"pixels-00001\.npy holds uint16 of shape \(4, 3, 5, 6\)"),
    (one_row_less, r"patches\.parquet points to rows 0 to 3 of pixels-00001\.npy, which has 3"),
    (breaking("store.json", b"{"), r"store\.json is not valid JSON"),
    (breaking("store.json", None), r"is no store, it has no store\.json"),
    (breaking("store.json", b"[]"), r"not the header of a PatchStore"),
    (header_change(version=2), r"version 2, but this wherewhen reads 1; prepare"),
    (header_change(format="other"), r"not the header of a PatchStore"),
    (header_change(mean=None), r"field 'mean' is missing"),
    (header_change(shape=[3]), r"a field is wrong"),
    (header_change(bands=[{"name": "x"}]), r"field 'wavelength' is missing"),
    (header_change(colour="red"), r"a field is wrong.*colour"),
    (header_change(label_kind="some"), r"'some' is unknown"),
    (header_change(patches=11), r"has 10 rows, store\.json says 11"),
    (header_change(classes=["only"]), r"label \d is no index into the 1 classes"),
    (header_change(files=ESCAPE), r"is no file of a store"),
    (breaking("patches.parquet", None), r"patches\.parquet does not exist"),
    (breaking("patches.parquet", b"PAR1 no more"), r"cannot read .*patches\.parquet as Parquet"),
    (drop_column, r"patches\.parquet: column 'split' is missing"),
    (drop_row, r"has 9 rows, store\.json says 10"),
    (table_change(id=["patch 0", *IDS[:-1]]), r"'patch 0' appears 2 times"),
    (table_change(id=[None, *IDS[1:]]), r"row 0 has no id"),
    (table_change(lat=[0.0, 0, 0, 91, *[0] * 6], lon=[0.0] * 10), r"'patch 3': latitude 91\.0"),
    (table_change(geometry=[b"\0" * 21] * 10), r"WKB points"),
    (table_change(geometry=[b"short"] * 10), r"WKB points"),
    (table_change(label=[7] * 10), r"'patch 0': label 7 is no index"),
    (table_change(unknown=[[9]] * 10), r"unknown 9 is no index"),
    (table_change(split=["dev"] * 10), r"split 'dev'"),
    (table_change(row=[4, *[0, 1, 2], *[0, 1, 2, 3], *[0, 1]]), r"rows 0 to 4 of pixels-00000\.npy, which has 4"),
    (table_change(row=[-1, *[0, 1, 2], *[0, 1, 2, 3], *[0, 1]]), r"rows -1 to 2"),
    (table_change(row=[0, *[0, 1, 2], *[0, 1, 2, 3], *[0, 1]]), r"each may be used once"),
    (table_change(shard=[None, *[0] * 3, *[1] * 4, *[2] * 2]), r"points to"),
    (table_change(shard=[7] * 10), r"pixels-00007\.npy, which has 0"),
    (table_change(mask_shard=[9] * 10), r"masks-00009\.npy"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_store_is_refused_by_one_clear_error(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = make(tmp_path / "s").path
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        PatchStore.open(path)
    assert str(tmp_path) in str(caught.value) or "unknown" in str(caught.value)


def test_a_changed_byte_is_found_by_verify(tmp_path: Path) -> None:
    store = make(tmp_path / "s")
    store.verify()
    for name in ("pixels-00001.npy", "masks-00002.npy"):
        path = store.path / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        again = PatchStore.open(store.path)
        with pytest.raises(UserError, match=rf"{name} has changed"):
            again.verify()
        path.write_bytes(whole)
    store.verify()


def test_what_is_no_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing is not a folder"):
        PatchStore.open(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no store\.json.*wherewhen prepare"):
        PatchStore.open(tmp_path)


def test_units_and_names_survive(tmp_path: Path) -> None:
    own = (Band("x", None, 2.5, "reflectance", 0.001, -7.5),)
    store = make(
        tmp_path / "s",
        pixels=np.ones((10, 1, 6, 5), np.int16),
        bands=own,
        pixel_size=2.5,
        provenance="a garden",
        licence="CC0",
    )
    again = PatchStore.open(store.path)
    assert again.bands == own
    assert (again.header.pixel_size, again.header.provenance, again.header.licence) == (2.5, "a garden", "CC0")
    assert (again.shape, again.dtype, len(again)) == ((1, 6, 5), np.dtype("int16"), 10)
    np.testing.assert_allclose(again.mean, [-0.0065])
    assert again.std.tolist() == [0]


def test_other_columns_and_order_of_columns_do_not_matter(tmp_path: Path) -> None:
    path = make(tmp_path / "s").path / "patches.parquet"
    frame = pd.read_parquet(path)
    frame[["split", "id", *frame.columns.difference(["split", "id"])]].assign(mine=1).to_parquet(path)
    assert read_table(path, patch_schema("one"))["id"].to_pylist() == IDS
    assert PatchStore.open(path.parent).table["id"].tolist() == IDS
