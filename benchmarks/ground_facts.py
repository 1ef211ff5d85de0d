"""How much place, time, colour and texture tell about the label sets of the simulated pictures on real ground.

Prints a Markdown table of macro mean average precision. Proxies only: forests, logistic regression and (with --network)
a small convolutional network with all labels; no semi-supervised training. The official split: training and validation
patches for training, test patches for testing.

    python benchmarks/ground_facts.py ben_v2_index.csv.gz --seed 900 --network 12 --picture docs/images/ground.png
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_network import fit

from wherewhen.experiments.classical import band_means, colour_and_gradient, in_chunks, physical
from wherewhen.ingest.ground import prepare
from wherewhen.store import PatchStore
from wherewhen.world.ground import Record, ground
from wherewhen.world.ground.picture import picture

Array = NDArray[Any]
COMMON = 10  # test patches of a class below which its average precision is chance


class Facts:
    """Patches of a store, described; `train` and `test` are rows."""

    def __init__(self, store: PatchStore) -> None:
        split = store.table["split"].to_numpy()
        self.store = store
        self.train, self.test = np.flatnonzero(split != "test"), np.flatnonzero(split == "test")
        self.labels = store.labels()
        turn = 2 * np.pi * store.day()
        rows = np.arange(len(store))
        place_and_time = np.column_stack((store.place(), np.sin(turn), np.cos(turn)))
        means, statistics = (in_chunks(store, rows, describe) for describe in (band_means, colour_and_gradient))
        self.features = {
            "place and time": place_and_time,
            "band means": means,
            "band means with place and time": np.column_stack((means, place_and_time)),
            "colour and texture": statistics,
            "colour and texture with place and time": np.column_stack((statistics, place_and_time)),
        }

    def precision(self, scores: Array) -> Array:
        """Average precision `(K,)` of each class in per cent, NaN without a test patch of it."""
        truth = self.labels[self.test]
        return np.array(
            [
                100 * average_precision_score(truth[:, k], scores[:, k]) if truth[:, k].any() else np.nan
                for k in range(truth.shape[1])
            ]
        )


def forest(facts: Facts, features: Array) -> Array:
    """Scores `(M, K)` of the test patches."""
    model = ExtraTreesClassifier(300, min_samples_leaf=2, max_features=0.3, random_state=0)
    model.fit(features[facts.train], facts.labels[facts.train])
    each = model.predict_proba(features[facts.test])
    return np.column_stack([p[:, 1] if p.shape[1] > 1 else np.zeros(len(p)) for p in each])


def logistic(facts: Facts, features: Array) -> Array:
    """Scores `(M, K)` of the test patches."""
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=1.0, max_iter=2000)))
    model.fit(features[facts.train], facts.labels[facts.train])
    return np.asarray(model.predict_proba(features[facts.test]))


def network(facts: Facts, epochs: int, seed: int = 0) -> Array:
    """Scores `(M, K)` of a small convolutional network trained on every label, turns and flips as augmentation."""
    torch.manual_seed(seed)
    images = _tensor(facts, facts.train)
    labels = torch.from_numpy(facts.labels[facts.train]).float()
    model = _convolutions(images.shape[1], labels.shape[1])
    cost = torch.nn.functional.binary_cross_entropy_with_logits
    fit(model, len(images), epochs, lambda rows: images[rows], lambda scores, rows: cost(scores, labels[rows]))
    with torch.no_grad():
        return torch.cat([model(part) for part in _tensor(facts, facts.test).split(250)]).numpy()


def _tensor(facts: Facts, rows: Array) -> torch.Tensor:
    """(n, C, H, W) float32, standardised log reflectance by bands of this sample."""
    return torch.cat([torch.from_numpy(physical(facts.store, part)) for part in np.array_split(rows, 16)])


class _Pool(torch.nn.Module):
    """(N, D, H, W) -> (N, 2D): mean over the patch, and its largest value, for classes with little of the ground."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x.mean((2, 3)), x.amax((2, 3))), dim=1)


def _convolutions(bands: int, classes: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for wide_in, wide_out, stride in ((bands, 32, 1), (32, 48, 2), (48, 96, 2), (96, 128, 2)):
        layers += [
            torch.nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False),
            torch.nn.BatchNorm2d(wide_out),
            torch.nn.ReLU(),
        ]
    return torch.nn.Sequential(*layers, _Pool(), torch.nn.Linear(256, classes))


def measure(facts: Facts, epochs: int) -> dict[str, Array]:
    """Average precision of every class, by method."""
    truth = facts.labels[facts.test]
    found = {"share of the test patches": 100 * truth.mean(0)}
    for name, features in facts.features.items():
        found[f"{name}, forest"] = facts.precision(forest(facts, features))
    for name in ("band means", "colour and texture"):
        found[f"{name}, logistic regression"] = facts.precision(logistic(facts, facts.features[name]))
    if epochs:
        found["small convolutional network"] = facts.precision(network(facts, epochs))
    return found


def counts(facts: Facts) -> str:
    """Patches of every class for training, validation and testing, as a table."""
    split = facts.store.table["split"].to_numpy()
    rows = ["| class | train | val | test |", "|---|---|---|---|"]
    for k, name in enumerate(facts.store.classes):
        numbers = [int(facts.labels[split == part, k].sum()) for part in ("train", "val", "test")]
        rows.append(f"| {name} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(rows)


def records(store: PatchStore) -> list[Record]:
    times = store.table["time"].dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    columns = (store.table["id"], store.table["place"], store.place(), times, store.labels())
    return [
        Record(name, place, float(lat), float(lon), time_, tuple(np.flatnonzero(labels).tolist()))
        for name, place, (lat, lon), time_, labels in zip(*columns, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--patches", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--network", type=int, default=0, metavar="EPOCHS", help="also train a small network")
    parser.add_argument("--classes", action="store_true", help="also a table by class")
    parser.add_argument("--picture", type=Path, help="also draw maps and a contact sheet into this PNG")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = prepare(
            Path(folder) / "store",
            arguments.index,
            patches=arguments.patches,
            seed=arguments.seed,
            workers=arguments.workers,
        )
        seconds = time.perf_counter() - started
        if arguments.picture:
            picture(ground(arguments.seed), records(store), arguments.picture)
        facts = Facts(store)
        print(counts(facts))
        found = measure(facts, arguments.network)
    common = facts.labels[facts.test].sum(0) >= COMMON
    print(f"{arguments.patches} patches prepared in {seconds:.0f} s by {arguments.workers} workers\n")
    print(f"| real ground, seed {arguments.seed} | mAP | of the {common.sum()} classes with {COMMON} test patches |")
    print("|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {np.nanmean(values):.1f} | {values[common].mean():.1f} |")
    if arguments.classes:
        print("\n| class | " + " | ".join(found) + " |\n|" + "---|" * (len(found) + 1))
        for k, name in enumerate(store.classes):
            print(f"| {name} | " + " | ".join(f"{values[k]:.1f}" for values in found.values()) + " |")


if __name__ == "__main__":
    main()
