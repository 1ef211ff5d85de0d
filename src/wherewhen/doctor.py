"""`wherewhen doctor STORE`: what is in a store, and what is wrong with it."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from wherewhen.store import PatchStore

_ROWS = 1024  # patches in memory at a time
_LOOKED = 5000  # test patches whose neighbours are looked for
_APART = 2.0  # deviations between two means that are worth a word


class Finding(NamedTuple):
    """Something a person should know: an `error` is wrong, a `warning` may be meant so, a `note` is neither."""

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
    parser.add_argument("--full", action="store_true", help="also read every byte: checksums, masks, blanks, twins")
    parser.add_argument("--run", type=Path, metavar="RUN", help="also hold it against what a run was trained on")
    parser.add_argument("--map", type=Path, metavar="FILE", help="also draw where its patches lie, by split")
    args = parser.parse_args(argv)
    store = PatchStore.open(args.store)
    counts = class_counts(store)
    print(describe(store, counts))
    findings = [*examine(store, counts), *examine_places(store)]
    if args.run is not None:
        findings += compare(store, args.run)
    if args.map is not None:
        from wherewhen.analyse.places import draw as draw_map

        draw_map(store, args.map)
    if args.full:
        store.verify()
        findings += examine_pixels(store)
    print("\n".join(f"{finding.level}: {finding.text}" for finding in findings) or "nothing wrong was found")
    return int(any(finding.level == "error" for finding in findings))


def describe(store: "PatchStore", counts: "pd.DataFrame") -> str:
    """Bands, units, `counts` of each class and split, and how much is known of place and time."""
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
        counts.to_string(),
    ]
    return "\n\n".join(parts) + "\n"


def class_counts(store: "PatchStore") -> "pd.DataFrame":
    """Patches of each class (rows) in each split (columns); one of many labels, or of a mask, counts in several."""
    import pandas as pd

    split = store.table["split"].fillna("no split").rename("split")
    labels = store.labels()
    if store.label_kind == "many":
        counts = pd.DataFrame(labels == 1, columns=list(store.classes)).groupby(split).sum().T
    elif store.label_kind == "none" and store.has_masks:
        counts = pd.DataFrame(_shown(store), columns=list(store.classes)).groupby(split).sum().T
    else:
        names = pd.Series([*store.classes, "no label"]).iloc[labels].reset_index(drop=True)
        counts = pd.crosstab(names, split).reindex([*store.classes, "no label"], fill_value=0)
    return counts.assign(all=counts.sum(axis=1)).rename_axis(index=None, columns=None)


def _shown(store: "PatchStore") -> "np.ndarray":
    """Which classes the mask of each patch shows, (N, K) bool."""
    import numpy as np

    shown = np.zeros((len(store), len(store.classes)), bool)
    rows = np.flatnonzero(store.table["mask_shard"].notna().to_numpy())
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        masks = store.masks(some)
        for index in range(len(store.classes)):
            shown[some, index] = (masks == index).any((1, 2))
    return shown


def examine(store: "PatchStore", counts: "pd.DataFrame") -> Iterator[Finding]:
    """Look for what table, header and `counts` tell: constant bands, dates to come, empty classes, leaks."""
    import pandas as pd

    table = store.table
    for band, std in zip(store.bands, store.std, strict=True):
        if std == 0:
            yield Finding("error", f"band {band.name} has the same value everywhere; check its source")
    future = table["time"] > pd.Timestamp.now("UTC")
    if future.any():
        yield Finding("error", f"{future.sum()} patches are dated in the future, first {table['id'][future].iloc[0]}")
    if (table["split"] == "train").any() and (store.label_kind != "none" or store.has_masks):
        for name, row in counts.drop("no label", errors="ignore").iterrows():
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


def examine_places(store: "PatchStore") -> Iterator[Finding]:
    """Look at where patches lie: unknown places and times, tests beside training, how far labels are alike."""
    import numpy as np

    from wherewhen.ingest.blocks import agreement_range
    from wherewhen.splits import distance_to_nearest, shuffled

    place, split = store.place(), store.table["split"].to_numpy(dtype=object)
    for part, unknown in (("place", np.isnan(place).any(1)), ("time", np.isnan(store.day()))):
        if 0 < (share := unknown.mean()) < 1:
            yield Finding(
                "warning",
                f"{share:.1%} of the patches have no {part}; a teacher needs metadata_dropout above 0, "
                "or not to be told it",
            )
    there = np.flatnonzero(~np.isnan(place).any(1))
    there = there[shuffled(list(store.table["id"].iloc[there]), 0)]
    training, test = (there[split[there] == part] for part in ("train", "test"))
    side = (store.header.pixel_size or np.nan) * max(store.shape[-2:]) / 1000  # km
    if len(training) and len(test) and np.isfinite(side):
        near = distance_to_nearest(place[test[:_LOOKED]], place[training[: 4 * _LOOKED]]) < side
        if near.any():
            yield Finding(
                "warning",
                f"{near.mean():.0%} of the test patches overlap or touch a training patch (nearer than {side:.2g} km), "
                "which flatters a model; split by place instead: data.block_km and data.gap_km",
            )
    if store.label_kind == "one":
        known = there[store.labels()[there] >= 0]
        reach = agreement_range(place[known], store.labels()[known]) if len(known) else None
        if reach is not None:
            yield Finding(
                "note",
                f"labels are alike up to about {reach:.3g} km; blocks of that side (data.block_km) split honestly",
            )


def compare(store: "PatchStore", run: Path) -> Iterator[Finding]:
    """Hold a store against what a run was trained on: bands, unit, classes, and how bright images are."""
    from wherewhen.errors import UserError
    from wherewhen.scale import check_bands
    from wherewhen.student import load

    student = load(run, "cpu")
    try:
        check_bands(student.bands, store.bands, str(store.path))
    except UserError as error:
        yield Finding("error", str(error))
        return
    if store.classes and tuple(store.classes) != student.classes and student.kind != "change":
        other = sorted(set(store.classes) ^ set(student.classes))
        yield Finding(
            "error",
            f"the run knows {', '.join(student.classes)}, the store {', '.join(store.classes)}"
            + (f"; only one of them has {', '.join(other)}" if other else ", in another order")
            + "; prepare it with the run's classes",
        )
    facts = student.about.facts
    for band, mean, theirs, std in zip(store.bands, store.mean, facts.mean, facts.std, strict=True):
        if abs(mean - theirs) > _APART * std:
            yield Finding(
                "warning",
                f"band {band.name} has mean {mean:.3g}, in the run's training it was {theirs:.3g} ± {std:.3g}; "
                "check its scale and offset, or train on such images, too",
            )


def examine_pixels(store: "PatchStore") -> Iterator[Finding]:
    """Read every patch: blank ones, twins, and masks whose values are no class."""
    import numpy as np

    from wherewhen.maps import UNKNOWN

    blank: list[str] = []
    seen: dict[bytes, int] = {}
    twins: list[tuple[int, int]] = []
    split = store.table["split"].to_numpy(dtype=object)
    for start in range(0, len(store), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(store)))
        pixels = store.pixels(rows).reshape(len(rows), -1)
        blank += store.table["id"].iloc[rows[pixels.min(axis=1) == pixels.max(axis=1)]].tolist()
        for row, image in zip(rows.tolist(), pixels, strict=True):
            first = seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), row)
            if first != row and image.min() != image.max():
                twins.append((first, row))
        masks = store.masks(rows) if store.has_masks else np.zeros(0, np.uint8)
        top = int(masks.max(where=masks != UNKNOWN, initial=0))
        if top >= max(1, len(store.classes)):
            yield Finding("error", f"masks of patches {start} to {rows[-1]} hold {top}, which is no class")
    leaks = [(a, b) for a, b in twins if split[a] != split[b]]
    for level, found, where in (("error", leaks, "in another split"), ("warning", twins, "in the store")):
        if found:
            one, other = (store.table["id"].iloc[row] for row in found[0])
            yield Finding(
                level,
                f"{len(found)} patches have a twin {where}, such as {one} and {other}; prepare it without one of each",
            )
            break
    if blank:
        yield Finding("warning", f"{len(blank)} patches have one value in every pixel and band, first {blank[0]}")
