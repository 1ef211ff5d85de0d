"""How much place, time, colour and texture each tell about the label in the synthetic world.

Prints a Markdown table. Proxies only: forests, neighbours, boosting and (with --network) a small convolutional network
with all labels; no semi-supervised training.

    python benchmarks/world_facts.py --seed 900 --patches 6000 --network --picture docs/images/world.png
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_network import fit

from wherewhen.world import COVERS, Patch, day_of_year, world
from wherewhen.world.picture import picture

Array = NDArray[Any]

COLOURS = 29  # the first statistics: band means and deviations, vegetation and water indices


class Sample(NamedTuple):
    """N patches of a world.

    images (N, 12, H, W) as stored; statistics (N, F); means and centre (N, 12) reflectance; labels (N,);
    metadata (N, 4) = lat, lon, sine and cosine of the day; shares (N,) of the patch that the label covers.
    """

    images: Array
    statistics: Array
    means: Array
    centre: Array
    labels: Array
    metadata: Array
    shares: Array


class Split(NamedTuple):
    train: slice
    test: slice


def draw(seed: int, start: int, stop: int) -> Sample:
    here = world(seed)
    patches = [here.patch(number) for number in range(start, stop)]
    shares = np.stack([np.bincount(p.mask.ravel(), minlength=len(COVERS)) / p.mask.size for p in patches])
    images = np.stack([patch.pixels for patch in patches])
    light = reflectance(images)
    return Sample(
        images,
        statistics(light),
        light.mean((2, 3)),
        light[:, :, 32, 32],
        shares.argmax(1),
        np.stack([_metadata(patch) for patch in patches]),
        shares.max(1),
    )


def reflectance(images: Array) -> Array:
    return images.astype(np.float32) * 1e-4 - 0.1


def _metadata(patch: Patch) -> Array:
    turn = 2 * np.pi * day_of_year(patch.time) / 365.25
    return np.array([patch.lat, patch.lon, np.sin(turn), np.cos(turn)])


def render_seconds(seed: int, count: int, workers: int) -> float:
    """Wall time of `count` patches alone, in `workers` processes, their start included."""
    started = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        starts = range(0, count, 250)
        list(pool.map(_render, [seed] * len(starts), starts, [min(s + 250, count) for s in starts]))
    return time.perf_counter() - started


def _render(seed: int, start: int, stop: int) -> None:
    here = world(seed)
    for number in range(start, stop):
        here.patch(number)


def generate(seed: int, count: int, workers: int) -> Sample:
    starts = range(0, count, 250)
    with ProcessPoolExecutor(workers) as pool:
        parts = pool.map(draw, [seed] * len(starts), starts, [min(s + 250, count) for s in starts])
        return Sample(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def statistics(images: Array, bins: int = 10) -> Array:
    """Colour and texture of each image: means, deviations, indices, gradients and ring spectra."""
    red, green, nir, swir = (images[:, band] for band in (3, 2, 7, 10))
    ndvi = (nir - red) / np.maximum(nir + red, 0.02)
    ndwi = (green - nir) / np.maximum(green + nir, 0.02)
    planes = [red, nir, swir, ndvi]
    flat = images.reshape(*images.shape[:2], -1)
    columns = [flat.mean(-1), flat.std(-1), ndvi.mean((1, 2))[:, None], ndwi.mean((1, 2))[:, None]]
    columns += [np.percentile(ndvi, q, axis=(1, 2))[:, None] for q in (5, 50, 95)]
    for plane in planes:
        columns += [np.abs(np.diff(plane, axis=1)).mean((1, 2))[:, None], _rings(plane, bins)]
    return np.concatenate(columns, 1)


def _rings(plane: Array, bins: int) -> Array:
    """Log power in `bins` rings of the Fourier plane relative to the whole, and how peaked each ring is."""
    size = plane.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)[None]
    power = np.abs(np.fft.rfft2((plane - plane.mean((1, 2), keepdims=True)) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    ring = np.minimum((radius * 2 * bins).astype(int), bins)
    inside = [power[:, ring == r] for r in range(bins)]
    level = np.log(np.stack([p.mean(1) for p in inside], 1) + 1e-9)
    peaks = np.log(np.stack([p.max(1) / (p.mean(1) + 1e-12) for p in inside], 1) + 1e-9)
    return np.concatenate([level - level.mean(1, keepdims=True), level.mean(1, keepdims=True), peaks], 1)


def score(model: Any, features: Array, labels: Array, split: Split) -> float:
    model.fit(features[split.train], labels[split.train])
    return 100 * float(model.score(features[split.test], labels[split.test]))


def forest(trees: int = 200, seed: int = 0) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(trees, min_samples_leaf=2, random_state=seed)


def logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def place_and_time(sample: Sample, split: Split) -> dict[str, float]:
    coordinates = sample.metadata.copy()
    coordinates[:, 1] *= np.cos(np.radians(coordinates[:, 0]))
    return {
        "place and time alone, forest": score(
            ExtraTreesClassifier(300, min_samples_leaf=6, random_state=0), sample.metadata, sample.labels, split
        ),
        "place alone, 25 nearest neighbours": score(KNeighborsClassifier(25), coordinates[:, :2], sample.labels, split),
    }


def colours(sample: Sample, split: Split) -> dict[str, float]:
    named = {"single pixel": sample.centre, "band means": sample.means}
    models = {"forest": forest, "logistic regression": logistic}
    return {
        f"{name}, {kind}": score(make(), features, sample.labels, split)
        for name, features in named.items()
        for kind, make in models.items()
    }


def brightness(sample: Sample, split: Split) -> dict[str, float]:
    cues = {
        "mean of all bands": sample.means.mean(1),
        "mean of B08": sample.means[:, 7],
        "deviation of B04": sample.statistics[:, 12 + 3],
    }
    return {
        f"{name} alone, forest": score(
            ExtraTreesClassifier(100, min_samples_leaf=20, random_state=0), cue[:, None], sample.labels, split
        )
        for name, cue in cues.items()
    }


def with_and_without(features: Array, sample: Sample, split: Split, budget: int, repeats: int) -> tuple[Array, Array]:
    """Accuracies `(repeats,)` of a forest on `budget` labels a class, without and with place and time."""
    pool = np.arange(len(features))[split.train]
    both = np.concatenate([features, sample.metadata], 1)
    results = []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        rows = np.concatenate(
            [rng.choice(pool[sample.labels[pool] == k], budget, replace=False) for k in range(len(COVERS))]
        )
        results.append([_small(x, sample.labels, rows, split, repeat) for x in (features, both)])
    without, with_ = np.array(results).T
    return without, with_


def _small(features: Array, labels: Array, rows: Array, split: Split, seed: int) -> float:
    model = ExtraTreesClassifier(200, random_state=seed, max_features=0.3).fit(features[rows], labels[rows])
    return 100 * float(model.score(features[split.test], labels[split.test]))


def network(sample: Sample, split: Split, epochs: int, seed: int = 0) -> float:
    """Test accuracy of a small convolutional network trained on every label, flips and turns as augmentation."""
    torch.manual_seed(seed)
    labels = torch.from_numpy(sample.labels)
    train, test = (range(len(labels))[part] for part in split)
    prepare = _standardiser(sample.images[split.train][::10])
    model, cost = _convolutions(), partial(torch.nn.functional.cross_entropy, label_smoothing=0.05)
    fit(
        model,
        len(train),
        epochs,
        lambda rows: prepare(sample.images[rows.numpy()]),
        lambda scores, rows: cost(scores, labels[rows]),
    )
    with torch.no_grad():
        parts = [model(prepare(sample.images[start : start + 250])) for start in test[::250]]
    return 100 * float((torch.cat(parts)[: len(test)].argmax(1) == labels[split.test]).float().mean())


def _standardiser(images: Array) -> Callable[[Array], torch.Tensor]:
    """From stored numbers to log reflectance with mean 0 and deviation 1 a band over `images`."""

    def logarithm(stored: Array) -> torch.Tensor:
        return torch.from_numpy(np.log(np.clip(reflectance(stored), 0, None) + 0.02))

    some = logarithm(images)
    mean, deviation = some.mean((0, 2, 3), keepdim=True), some.std((0, 2, 3), keepdim=True)
    return lambda stored: (logarithm(stored) - mean) / deviation


def _convolutions() -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for wide_in, wide_out, stride in ((12, 32, 1), (32, 48, 2), (48, 96, 2), (96, 128, 2)):
        layers += [
            torch.nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False),
            torch.nn.BatchNorm2d(wide_out),
            torch.nn.ReLU(),
        ]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, len(COVERS))
    )


def facts(arguments: argparse.Namespace) -> dict[str, str]:
    seconds = render_seconds(arguments.seed, arguments.patches, arguments.workers)
    sample = generate(arguments.seed, arguments.patches, arguments.workers)
    cut = int(0.8 * arguments.patches)
    split = Split(slice(0, cut), slice(cut, None))
    counts = np.bincount(sample.labels, minlength=len(COVERS)) / len(sample.labels)
    rows = {
        f"seconds to render {arguments.patches} patches, {arguments.workers} workers": f"{seconds:.0f}",
        "rarest and commonest label": f"{100 * counts.min():.1f}–{100 * counts.max():.1f} %",
        "dominant cover's share of the patch, mean": f"{100 * sample.shares.mean():.0f} %",
    }
    measured = {**place_and_time(sample, split), **colours(sample, split), **brightness(sample, split)}
    boosting = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.1, max_leaf_nodes=15, random_state=0)
    measured["image statistics, boosting, all labels"] = score(boosting, sample.statistics, sample.labels, split)
    if arguments.network:
        measured["small convolutional network, all labels"] = network(sample, split, arguments.network)
    rows |= {name: f"{value:.1f} %" for name, value in measured.items()}
    kinds = {"colour statistics": sample.statistics[:, :COLOURS], "colour and texture statistics": sample.statistics}
    for budget in (4, 16):
        for kind, features in kinds.items():
            without, with_ = with_and_without(features, sample, split, budget, arguments.repeats)
            gain, error = (with_ - without).mean(), (with_ - without).std(ddof=1) / len(with_) ** 0.5
            rows[f"{kind}, forest, {budget} labels a class"] = f"{without.mean():.1f} %"
            rows[f"{kind} with place and time, {budget} labels a class"] = (
                f"{with_.mean():.1f} % ({gain:+.1f} ± {error:.1f})"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--patches", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--network", type=int, default=0, metavar="EPOCHS", help="also train a small network")
    parser.add_argument("--picture", type=Path, help="also draw maps and a contact sheet into this PNG")
    arguments = parser.parse_args()
    print(f"| synthetic world {arguments.seed} | |\n|---|---|")
    for name, value in facts(arguments).items():
        print(f"| {name} | {value} |")
    if arguments.picture:
        picture(world(arguments.seed), arguments.picture)


if __name__ == "__main__":
    main()
