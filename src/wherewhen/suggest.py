"""`wherewhen suggest STORE --run RUN --n 50`: which unlabelled patches to label next.

Greedily, one after the other: the patch for which the product is largest of how unsure the student is, how unlike the
patch is to all that are labelled or suggested, and how far it lies from them in place and season. The first two are
BADGE's and core-set's concerns (Sener and Savarese, ICLR 2018; Ash et al., ICLR 2020); the third is ours.

Notation: N patches, K classes, D width of the features.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from wherewhen.answering import Answering
from wherewhen.errors import UserError
from wherewhen.files import make_folder, write_text
from wherewhen.scale import check_bands
from wherewhen.splits import EARTH_RADIUS_KM, unit_vectors
from wherewhen.store import PatchStore
from wherewhen.student import Student, load
from wherewhen.tasks.samples import Samples, has_label, samples_of, target_of
from wherewhen.views import resize

FAR_KM = 200.0  # beyond it a place is new, however far it is
SEASON_KM = 1000.0  # what half a year is worth, in kilometres
LEAST = 0.05  # of each factor, so that none alone decides


class Known(NamedTuple):
    """What is known of patches.

    Args:
        unsure: (N,) entropy of the student's answer, in [0, 1].
        features: (N, D).
        where: (N, 5) place on the globe and season, in kilometres; NaN where unknown.
    """

    unsure: np.ndarray
    features: np.ndarray
    where: np.ndarray


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen suggest`.

    Raises:
        UserError: The store has other bands or nothing to label, or a number is out of range.
    """
    parser = argparse.ArgumentParser(prog="wherewhen suggest", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--run", type=Path, required=True, help="folder of a run on it")
    parser.add_argument("--n", type=int, default=50, metavar="N", help="how many (default 50)")
    parser.add_argument("--out", type=Path, default=Path("suggest.geojson"), metavar="FILE", help="(suggest.geojson)")
    parser.add_argument("--most", type=int, default=20_000, metavar="N", help="patches looked at (default 20,000)")
    parser.add_argument("--experiment", type=Path, metavar="FOLDER", help="label budgets: what more labels are worth")
    args = parser.parse_args(argv)
    if min(args.n, args.most) < 1:
        raise UserError(f"--n {args.n} and --most {args.most} count patches; they must be at least 1")
    store, student = PatchStore.open(args.store), load(args.run)
    check_bands(student.bands, store.bands, str(store.path))
    if student.kind == "change":
        raise UserError("suggestions are of single patches, and this run is about pairs; label the pairs of its errors")
    labelled, others = parts(samples_of(store, target_of(student.kind)))
    rng = np.random.default_rng(0)
    others = np.sort(rng.permutation(others)[: args.most])
    labelled = np.sort(rng.permutation(labelled)[: args.most])
    rows = np.concatenate((labelled, others))
    known = look(store, student, rows)
    order = choose(known, np.arange(len(rows)) < len(labelled), args.n)
    write(store, student, rows[order], known.unsure[order], args.out)
    print(f"{args.out}: {len(order)} of {len(others)} unlabelled training patches, the most useful first")
    if args.experiment is not None:
        print(worth(args.experiment, args.n, len(student.classes)))
    return 0


def parts(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the labelled and of the unlabelled training patches.

    Raises:
        UserError: All are labelled.
    """
    training = np.flatnonzero(samples.split == "train")
    known = has_label(samples.strata(training))
    if known.all():
        raise UserError(f"every training patch of {samples.store.path} has a label; there is nothing to suggest")
    return training[known], training[~known]


def look(store: PatchStore, student: Student, rows: np.ndarray, batch: int = 64) -> Known:
    """Ask the student about patches."""
    unsure, features = [], []
    for start in range(0, len(rows), batch):
        pixels = store.pixels(rows[start : start + batch])
        unsure.append(entropy(student.predict_proba(pixels, batch=batch), student.kind))
        features.append(described(student, pixels))
    place, day = store.place()[rows], store.day()[rows]
    globe = EARTH_RADIUS_KM * unit_vectors(place)
    turn = 2 * np.pi * day
    season = SEASON_KM / 2 * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    return Known(np.concatenate(unsure), np.concatenate(features), np.concatenate((globe, season), axis=1))


@torch.no_grad()
def described(student: Student, pixels: np.ndarray) -> np.ndarray:
    """What the network makes of stored numbers (n, C, H, W) before its head, (n, D).

    Raises:
        UserError: The student is a file that gives answers alone.
    """
    asked = student.answer
    if not isinstance(asked, Answering):
        raise UserError("an ONNX file gives answers alone, and suggestions look behind them; give the run's folder")
    shown = resize(torch.from_numpy(pixels.astype(np.float32)).to(student.device), student.image_size)
    pooled: torch.Tensor = asked.network(asked.scale(asked.scale.unit(shown))).pooled
    return pooled.float().cpu().numpy()


def entropy(p: np.ndarray, kind: str) -> np.ndarray:
    """Of answers (N, K) or (N, K, H, W), (N,): 0 sure, 1 no idea; the mean over decisions or pixels."""
    if kind == "many":
        p = np.stack((p, 1 - p), axis=1)
    bits = -(p * np.log(np.maximum(p, 1e-12))).sum(1) / np.log(p.shape[1])
    mean: np.ndarray = bits.reshape(len(bits), -1).mean(1)
    return mean


def choose(known: Known, labelled: np.ndarray, count: int) -> np.ndarray:
    """Positions of the patches to label, the best first.

    Args:
        known: Of all N patches; one whose place or time is unknown, where others' are, is never far from the labelled.
        labelled: (N,) bool.
        count: How many are wanted.
    """
    features = known.features - known.features.mean(0)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    where = known.where[:, ~np.isnan(known.where).all(0)]  # what is known of none tells nothing
    unlike, away = np.full(len(labelled), np.inf), np.where(np.isnan(where).any(1), 0.0, np.inf)

    def cover(index: int) -> None:
        """That this patch has a label, or will have one; one without a place or a time covers none."""
        np.minimum(unlike, np.linalg.norm(features - features[index], axis=1), out=unlike)
        far = np.linalg.norm(where - where[index], axis=1)
        np.minimum(away, far, out=away, where=~np.isnan(far))

    for index in np.flatnonzero(labelled):
        cover(int(index))
    free, chosen = ~labelled, []
    for _ in range(min(count, int(free.sum()))):
        score = np.maximum(known.unsure, LEAST) * _factor(unlike / 2) * _factor(away / FAR_KM)
        best = int(np.where(free, score, -1).argmax())
        chosen.append(best)
        free[best] = False
        cover(best)
    return np.array(chosen)


def _factor(share: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.minimum(share, 1).clip(LEAST)
    return clipped


def write(store: PatchStore, student: Student, rows: np.ndarray, unsure: np.ndarray, out: Path) -> None:
    """GeoJSON in WGS 84 with an empty `class` to fill in, and a picture of each patch in a folder beside."""
    from matplotlib.image import imsave

    from wherewhen.plots import true_colour

    pictures = make_folder(out.with_name(f"{out.stem}_pictures"))
    for old in pictures.glob("[0-9]" * 4 + ".png"):  # of a longer list before
        old.unlink()
    said = student.predict_proba(store.pixels(rows))
    features: list[dict[str, Any]] = []
    for number, (row, image) in enumerate(zip(rows, true_colour(store, rows), strict=True)):
        lat, lon = store.place()[row]
        name = str(store.table["id"].iloc[row])
        file = pictures / f"{number + 1:04d}.png"
        imsave(file, image.clip(0, 1))
        guess = said[number].reshape(len(student.classes), -1).mean(1)
        time = store.table["time"].iloc[row]
        about = {
            "rank": number + 1,
            "id": name,
            "class": None,
            "guess": student.classes[int(guess.argmax())],
            "unsure": round(float(unsure[number]), 3),
            "time": None if time is None or time != time else time.isoformat(),
            "picture": f"{pictures.name}/{file.name}",
        }
        point = (
            None if np.isnan(lat) else {"type": "Point", "coordinates": [round(float(lon), 7), round(float(lat), 7)]}
        )
        features.append({"type": "Feature", "geometry": point, "properties": about})
    write_text(
        out, json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, indent=1) + "\n"
    )


def worth(folder: Path, more: int, classes: int) -> str:
    """What more labels bring, from the student's scores over label budgets: a line through their logarithms.

    Raises:
        UserError: The experiment has not two budgets of a class count.
    """
    from wherewhen.experiments.report import Board

    board = Board.read(folder)
    points = [
        (cell.labels, figures[board.plan["metric"]])
        for cell, figures in board.results.items()
        if figures is not None and cell.row == "stssl_fixmatch" and cell.labels is not None and cell.labels >= 1
    ]
    budgets, scores = np.array(points).reshape(-1, 2).T
    if len(set(budgets)) < 2:
        raise UserError(
            f"{folder} has not two label budgets of the student; run `wherewhen experiment budgets` further"
        )
    slope, _ = np.polyfit(np.log2(budgets), scores, 1)
    now = float(max(budgets))
    gain = slope * np.log2(1 + more / classes / now)
    return (
        f"from {folder}: {slope:+.1f} points for twice the labels; {more} more than {now:g} a class are worth about "
        f"{gain:+.1f} points"
    )
