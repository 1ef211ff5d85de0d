"""PatchStore: patches on disk with their place, time, labels and masks.

A folder that a person can open with NumPy and pandas: `patches.parquet` (GeoParquet), `pixels-00000.npy` …,
`masks-00000.npy` …, `targets.parquet` where a target belongs to several patches, and `store.json`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wherewhen.bands import Band
from wherewhen.errors import UserError
from wherewhen.files import atomic_folder, sha256_of
from wherewhen.geoparquet import TARGET_SCHEMA, LabelKind, patch_schema, read_table, to_frame, wkb_to_points
from wherewhen.maps import ANEW, Maps, index_of
from wherewhen.shards import PLAN_FILE, Shard, finish, write_shard
from wherewhen.store_arrays import frame_of, labels_of
from wherewhen.store_check import check_ids, check_patches
from wherewhen.store_header import StoreHeader

_SHARD_SIZE = 1024


class PatchStore:
    """An open store; make one with `open` or `from_arrays`.

    Axis letters: N patches, C bands, H rows, W columns, K classes. `rows` are always positions in `table`.

    Args:
        path: The folder.
        header: The parsed `store.json`.
        patches: The table in `patch_schema`.
        targets: The table in `TARGET_SCHEMA`: what belongs to several patches, such as change pairs.
        maps: The memory-mapped arrays.
    """

    def __init__(
        self,
        path: Path,
        header: StoreHeader,
        patches: pa.Table,
        targets: pa.Table,
        maps: Maps,
    ) -> None:
        self.path = path
        self.header = header
        self.table = to_frame(patches)
        self.targets = to_frame(targets)
        self.mean = np.array(header.mean)
        self.std = np.array(header.std)
        self._maps = maps
        self._place = wkb_to_points(patches["geometry"], str(path))
        self._labels = labels_of(patches, header)
        self._pixel_index = index_of(self.table, "shard", "row")
        self._mask_index = index_of(self.table, "mask_shard", "mask_row")
        self._target_index = index_of(self.targets, "mask_shard", "mask_row")

    @classmethod
    def open(cls, path: str | Path) -> "PatchStore":
        """Open a store; names, sizes, headers, counts, columns and value ranges are checked at once.

        Checksums are not: call `verify`.

        Raises:
            UserError: The folder is no store, is unfinished, or breaks a rule; the message names the file.
        """
        path = Path(path)
        if not (path / "store.json").exists():
            raise UserError(_why_no_store(path))
        header = StoreHeader.read(path / "store.json")
        maps = Maps(path, header)
        where = path / "patches.parquet"
        patches = read_table(where, patch_schema(header.label_kind))
        if len(patches) != header.patches:
            raise UserError(f"{where} has {len(patches)} rows, store.json says {header.patches}; {ANEW}")
        check_patches(patches, header, str(where))
        store = cls(path, header, patches, _read_targets(path, patches), maps)
        maps.check_index("pixels", store._pixel_index, where)
        maps.check_index("masks", store._mask_index, where)
        maps.check_index("target-masks", store._target_index, path / "targets.parquet")
        return store

    def __len__(self) -> int:
        return self.header.patches

    def __repr__(self) -> str:
        shape = " × ".join(str(size) for size in self.shape)
        return f"PatchStore({str(self.path)!r}: {len(self)} patches, {shape} {self.header.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PatchStore.open, (self.path,)  # a worker maps the files itself

    @property
    def bands(self) -> tuple[Band, ...]:
        """The C bands of axis 1."""
        return self.header.bands

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.header.classes

    @property
    def label_kind(self) -> LabelKind:
        """Labels of a patch."""
        return self.header.label_kind

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a patch."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        return np.dtype(self.header.dtype)

    @property
    def has_masks(self) -> bool:
        """Whether any patch has a mask."""
        return bool((self._mask_index[:, 0] >= 0).any())

    def pixels(self, rows: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        """Stored numbers of some patches, (n, C, H, W), a copy; `dtype` is that of the store, or float32."""
        return self._maps.gather("pixels", self._pixel_index[rows], dtype)

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Class index a pixel of some patches, (n, H, W) uint8; 255 unknown, also where there is no mask."""
        return self._maps.gather("masks", self._mask_index[rows])

    def target_masks(self, rows: np.ndarray) -> np.ndarray:
        """Masks of some targets, (n, H, W) uint8; 255 unknown. `rows` are positions in `targets`."""
        return self._maps.gather("target-masks", self._target_index[rows])

    def labels(self) -> np.ndarray:
        """Labels as numbers: (N,) int64 class index, -1 unknown; many labels (N, K) int8 1, 0, -1 unknown."""
        return self._labels.copy()

    def place(self) -> np.ndarray:
        """Latitude and longitude of the centres in degrees (WGS 84), (N, 2) float64, NaN unknown."""
        return self._place.copy()

    def day(self) -> np.ndarray:
        """Share of the year that has gone by, hours counted, (N,) float64 in [0, 1), NaN unknown.

        That is days since 1 January over 365 (366 in a leap year).
        """
        time = self.table["time"].dt
        days = time.day_of_year - 1 + (time.hour + time.minute / 60 + time.second / 3600) / 24
        share: np.ndarray = (days / (365 + time.is_leap_year)).to_numpy(dtype=np.float64, na_value=np.nan)
        return share

    def verify(self) -> None:
        """Compare the SHA-256 of every file of pixels and masks with `store.json`.

        Raises:
            UserError: A file has changed; the message names it.
        """
        for name, facts in self.header.files.items():
            if sha256_of(self.path / name) != facts.sha256:
                raise UserError(f"{self.path / name} has changed since it was made; {ANEW}")

    @classmethod
    def from_arrays(
        cls,
        path: str | Path,
        pixels: np.ndarray,
        *,
        bands: tuple[Band, ...],
        ids: np.ndarray | list[str] | None = None,
        place: np.ndarray | None = None,
        time: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        classes: tuple[str, ...] = (),
        masks: np.ndarray | None = None,
        split: np.ndarray | list[str | None] | None = None,
        places: np.ndarray | list[str | None] | None = None,
        pixel_size: float | None = None,
        provenance: str = "",
        licence: str = "",
    ) -> "PatchStore":
        """Write arrays as a store, all of it or nothing, and open it.

        Args:
            path: A new or empty folder.
            pixels: (N, C, H, W) uint8, uint16 or int16.
            bands: What each of the C bands is and what its numbers mean.
            ids: N different names; `0`, `1`, … by default.
            place: (N, 2) latitude and longitude in degrees, NaN unknown.
            time: (N,) datetime64 in UTC, NaT unknown.
            labels: (N,) class index, -1 unknown; or (N, K) of 1, 0 and -1 unknown for many labels.
            classes: Names of the K classes.
            masks: (N, H, W) uint8 class indices, 255 unknown.
            split: `train`, `val`, `test` or None for each patch.
            places: Name of the place of each patch: patches of one place share it.
            pixel_size: Metres a pixel.
            provenance: Where the data come from.
            licence: Licence of the data.

        Raises:
            UserError: An array has the wrong shape, type or range; the folder is in use or cannot be written.
        """
        path = Path(path)
        columns = {"id": ids, "split": split, "place": places, "time": time}
        frame = frame_of(len(pixels), columns, place, labels)
        kind: LabelKind = "none"
        if labels is not None:
            kind = "one" if np.ndim(labels) == 1 else "many"
        header = StoreHeader(tuple(bands), tuple(classes), kind, pixel_size, provenance, licence)
        with atomic_folder(path) as folder:
            starts = range(0, max(1, len(pixels)), _SHARD_SIZE)
            for number, start in enumerate(starts):
                part = slice(start, start + _SHARD_SIZE)
                some_masks = None if masks is None else masks[part]
                write_shard(folder, number, Shard(frame[part], pixels[part], some_masks), header)
            finish(folder, len(starts), header)
        return cls.open(path)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything in memory, under the names of `from_arrays`.

        Always pixels, ids, place, time, split and places (the last two None where unknown); labels and masks
        if the store has some.
        """
        rows = np.arange(len(self))
        columns = {"ids": "id", "split": "split", "places": "place"}
        arrays = {key: _objects(self.table[name]) for key, name in columns.items()}
        arrays["time"] = self.table["time"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        arrays |= {"pixels": self.pixels(rows), "place": self.place()}
        if self.label_kind != "none":
            arrays["labels"] = self.labels()
        if self.has_masks:
            arrays["masks"] = self.masks(rows)
        return arrays


def _why_no_store(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is not a folder; give the folder of a store, made by wherewhen prepare"
    if (path / PLAN_FILE).exists():
        return f"{path} is an unfinished store; run the same wherewhen prepare command again, it continues"
    return f"{path} is no store, it has no store.json; give a folder made by wherewhen prepare"


def _read_targets(folder: Path, patches: pa.Table) -> pa.Table:
    path = folder / "targets.parquet"
    if not path.exists():
        return TARGET_SCHEMA.empty_table()
    targets = read_table(path, TARGET_SCHEMA)
    check_ids(targets["id"], str(path))
    members = pc.list_flatten(targets["members"])
    strangers = members.filter(pc.invert(pc.is_in(members, patches["id"].combine_chunks())))
    if len(strangers):
        raise UserError(f"{path} names the patch {strangers[0].as_py()!r}, which the store has not; {ANEW}")
    return targets


def _objects(column: pd.Series) -> np.ndarray:
    """Values with None where there is none, (N,)."""
    values: np.ndarray = column.astype(object).where(column.notna(), None).to_numpy()
    return values
