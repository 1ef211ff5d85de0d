"""`wherewhen doctor STORE`: what is in a store, and what is wrong with it."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from wherewhen.store import PatchStore

_ROWS = 1024  # patches in memory at a time


class Finding(NamedTuple):
    """Something a person should know; an `error` is wrong in itself, a `warning` may be meant so."""

    level: str
    text: str


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen doctor`: 0 when no error is found, 1 when the data hold one.

    Raises:
        UserError: The folder is no whole store, or (with `--full`) a file has changed since it was made.
    """
    from wherewhen.store import PatchStore

    parser = argparse.ArgumentParser(prog="wherewhen doctor", description=__doc__)
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--full", action="store_true", help="also read every byte: checksums, masks, blank patches")
    args = parser.parse_args(argv)
    store = PatchStore.open(args.store)
    print(describe(store))
    findings = list(examine(store))
    if args.full:
        store.verify()
        findings += examine_pixels(store)
    print("\n".join(f"{finding.level}: {finding.text}" for finding in findings) or "nothing wrong was found")
    return int(any(finding.level == "error" for finding in findings))


def describe(store: "PatchStore") -> str:
    """Bands, units, counts of each class and split, and how much is known of place and time."""
    import pandas as pd

    bands = pd.DataFrame([vars(band) for band in store.bands]).assign(mean=store.mean, std=store.std)
    size = "unknown pixel size" if store.header.pixel_size is None else f"{store.header.pixel_size:g} m a pixel"
    known = {
        "place": store.table["geometry"].notna(),
        "time": store.table["time"].notna(),
        "mask": store.table["mask_shard"].notna(),
    }
    parts = [
        f"{store}, {size}",
        f"from: {store.header.provenance or 'unknown'}; licence: {store.header.licence or 'unknown'}",
        bands.to_string(index=False),
        "known: " + ", ".join(f"{name} of {rows.mean():.1%}" for name, rows in known.items()),
        _counts(store).to_string(),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(store: "PatchStore") -> "pd.DataFrame":
    """Patches of each class (rows) in each split (columns); with many labels a patch counts in several classes."""
    import pandas as pd

    split = store.table["split"].fillna("no split").rename("split")
    labels = store.labels()
    if store.label_kind == "many":
        counts = pd.DataFrame(labels == 1, columns=list(store.classes)).groupby(split).sum().T
    else:
        names = pd.Series([*store.classes, "no label"]).iloc[labels].reset_index(drop=True)
        counts = pd.crosstab(names, split).reindex([*store.classes, "no label"], fill_value=0)
    return counts.assign(all=counts.sum(axis=1)).rename_axis(index=None, columns=None)


def examine(store: "PatchStore") -> Iterator[Finding]:
    """Look for what the table and the header tell: constant bands, dates to come, empty classes, leaks."""
    import pandas as pd

    table = store.table
    for band, std in zip(store.bands, store.std, strict=True):
        if std == 0:
            yield Finding("error", f"band {band.name} has the same value everywhere; check its source")
    future = table["time"] > pd.Timestamp.now("UTC")
    if future.any():
        yield Finding("error", f"{future.sum()} patches are dated in the future, first {table['id'][future].iloc[0]}")
    if (table["split"] == "train").any() and store.label_kind != "none":
        for name, row in _counts(store).drop("no label", errors="ignore").iterrows():
            if row["train"] == 0:
                yield Finding("warning", f"class {name} has no patch for training")
    splits = table.dropna(subset=["place", "split"]).groupby("place")["split"].nunique()
    if (splits > 1).any():
        yield Finding(
            "warning",
            f"{(splits > 1).sum()} places have patches in several splits, such as {splits.index[splits > 1][0]}",
        )
    if store.header.skipped:
        name, reason = store.header.skipped[0]
        yield Finding("warning", f"{len(store.header.skipped)} patches were skipped, first {name}: {reason}")


def examine_pixels(store: "PatchStore") -> Iterator[Finding]:
    """Read every patch: blank ones, and masks whose values are no class."""
    import numpy as np

    from wherewhen.maps import UNKNOWN

    blank: list[str] = []
    for start in range(0, len(store), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(store)))
        pixels = store.pixels(rows).reshape(len(rows), -1)
        blank += store.table["id"].iloc[rows[pixels.min(axis=1) == pixels.max(axis=1)]].tolist()
        masks = store.masks(rows) if store.has_masks else np.zeros(0, np.uint8)
        top = int(masks.max(where=masks != UNKNOWN, initial=0))
        if top >= max(1, len(store.classes)):
            yield Finding("error", f"masks of patches {start} to {rows[-1]} hold {top}, which is no class")
    if blank:
        yield Finding("warning", f"{len(blank)} patches have one value in every pixel and band, first {blank[0]}")
