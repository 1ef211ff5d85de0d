from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wherewhen.analyse.patches import chosen, coloured, title
from wherewhen.analyse.verb import main as analyse
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.ingest.engine import Shard, build
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

DAYS = pd.to_datetime(["2018-01-01", "2019-06-01"] * 6, utc=True)


def make(path: Path, kind: str | None = None, masks: bool = False) -> PatchStore:
    """Six places at two dates; of kind change, every third pair has some."""
    ids = [f"{place}-{date}" for place in range(6) for date in (1, 2)]
    plan = pd.DataFrame({"id": ids, "place": np.repeat(np.arange(6), 2), "time": DAYS, "lat": 48.0, "lon": 2.0})
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3000, (12, 3, 8, 8), np.uint16)
    classes = rng.integers(0, 2, (12, 8, 8)).astype(np.uint8) if masks else None
    targets = None
    if kind is not None:
        rows = []
        for place in range(6):
            mask = np.zeros((8, 8), np.uint8)
            mask[0], mask[2, 2] = UNKNOWN, place % 3 == 0
            members = [f"{place}-1", f"{place}-2"]
            rows.append(
                {"id": f"t{place}", "kind": kind, "members": members, "mask": mask if kind == "change" else None}
            )
        targets = pd.DataFrame(rows)
    header = StoreHeader(load_sensor("sentinel2_l2a").select(("B04", "B03", "B02")), ("bare", "green") if masks else ())
    return build(
        path, plan, lambda rows: Shard(rows, pixels[rows.index], None if classes is None else classes[rows.index]),
        header, shard_size=20, workers=1, title="test", targets=targets,
    )  # fmt: skip


def test_pairs_that_changed_come_first(tmp_path: Path) -> None:
    names, items = chosen(make(tmp_path / "s", "change"), 5)
    assert names == ("same", "change")
    assert [item.rows for item in items] == [[0, 1], [6, 7]]  # places 0 and 3
    assert all(item.mask is not None and item.mask[2, 2] == 1 for item in items)


def test_dates_of_a_place_stand_side_by_side(tmp_path: Path) -> None:
    names, items = chosen(make(tmp_path / "s", "series", masks=True), 3)
    assert [item.rows for item in items] == [[0, 1], [4, 5], [10, 11]]
    assert names == ()
    assert {item.mask is None for item in items} == {True}


def test_patches_with_their_masks(tmp_path: Path) -> None:
    store = make(tmp_path / "s", masks=True)
    names, items = chosen(store, 100)
    assert names == ("bare", "green")
    assert [item.rows for item in items] == [[row] for row in range(12)]
    np.testing.assert_array_equal([item.mask for item in items], store.masks(np.arange(12)))
    assert chosen(make(tmp_path / "t"), 2)[1][1].mask is None


def test_what_is_unknown_is_light_and_classes_differ() -> None:
    picture = coloured(np.array([[0, 1, 2, UNKNOWN]], np.uint8), 3)
    assert picture.shape == (1, 4, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 4
    assert picture[0, 3].min() > 0.9


def test_a_title_tells_what_is_known(tmp_path: Path) -> None:
    assert title(make(tmp_path / "s"), 3) == "1\n2019-06-01  48.00, 2.00"
    pixels = np.zeros((1, 3, 8, 8), np.uint8)
    bare = PatchStore.from_arrays(tmp_path / "t", pixels, bands=load_sensor("rgb8").bands, ids=["x"])
    assert title(bare, 0) == "x\nno date"


@pytest.mark.parametrize("kind", ["change", "series", None])
def test_the_command_draws(tmp_path: Path, kind: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    store = make(tmp_path / "s", kind, masks=True)
    out = tmp_path / "sheet.png"
    assert main(["analyse", "patches", str(store.path), "--out", str(out), "--count", "4"]) == 0
    assert f"{out}: " in capsys.readouterr().out
    pixels = np.asarray(Image.open(out).convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(UserError, match="--count 0 is out of range"):
        analyse(["patches", str(store.path), "--count", "0"])
