"""Where encoders put images: features in two dimensions, by class, and of each band group by group.

As the authors of SACo show their space. Silhouettes (Rousseeuw 1987) are of the features themselves, by cosine: 1 where
every point lies among its own, 0 where classes overlap.

Notation: N patches, C bands, S image size, G band groups, D width of the features.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from wherewhen.analyse.patches import colour
from wherewhen.analyse.runs import QUIET, opened
from wherewhen.bands import Band
from wherewhen.encoders import Grouped
from wherewhen.encoders.vit import encode
from wherewhen.errors import UserError
from wherewhen.files import read_yaml
from wherewhen.loader import PixelSource
from wherewhen.plots import save
from wherewhen.scale import Scale, check_bands
from wherewhen.semi import UNKNOWN
from wherewhen.splits import shuffled
from wherewhen.store import PatchStore
from wherewhen.tasks.pretrain_verb import PretrainCli

BATCH = 64
FEWEST = 3
GROUPED = 200  # patches of which every group is a point


class Network(NamedTuple):
    """An encoder that can be asked.

    Args:
        name: Of its run.
        store: That it was trained or looked at on.
        bands: That it sees.
        image_size: S.
        scale: Of stored numbers.
        describe: (N, C, S, S) as a network sees it -> (N, D).
        grouped: The encoder of band groups that it is, if it is one.
    """

    name: str
    store: Path
    bands: tuple[Band, ...]
    image_size: int
    scale: Scale
    describe: Callable[[Tensor], Tensor]
    grouped: Grouped | None


class Points(NamedTuple):
    """What is drawn in a panel.

    Args:
        features: (N, D).
        kind: (N,) index of class or group.
        names: Of classes or groups.
    """

    features: np.ndarray
    kind: np.ndarray
    names: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of `pretrain` or `fit`")
    parser.add_argument("--store", type=Path, metavar="S", help="with labels (default: the first run's)")
    parser.add_argument("--patches", type=int, default=1000, metavar="N", help="of the test split (default 1000)")
    parser.add_argument("--out", type=Path, default=Path("space.png"), metavar="FILE", help="(default space.png)")


def run(args: argparse.Namespace) -> None:
    """Draw a line of panels a run.

    Raises:
        UserError: A folder is no run, or the store has no labels or other bands.
    """
    networks = [network(folder) for folder in args.runs]
    store = PatchStore.open(args.store or networks[0].store)
    for one in networks:
        check_bands(one.bands, store.bands, str(store.path))
    rows = chosen(store, args.patches)
    panels = {}
    for one in networks:
        found = described(one, store, rows)
        panels[one.name] = {what: (points, silhouette(points)) for what, points in found.items()}
        told = ", ".join(f"by {what} {apart:.3f}" for what, (_, apart) in panels[one.name].items())
        print(f"{one.name}: silhouette {told}")
    draw(panels, args.out)
    print(f"{args.out}: {len(rows)} test patches of {store.path}")


def network(folder: Path) -> Network:
    """The encoder of a finished pre-training, or the student of a training.

    Raises:
        UserError: The folder holds no run.
    """
    config = folder / "config.yaml"
    settings = read_yaml(config) if config.is_file() else {}
    if "method" in (settings.get("model") or {}):
        return pretrained(folder, Path(settings["probe"] or settings["data"]["store"]))
    cli = opened(folder, None)
    task = cli.trained()
    assert task.facts is not None
    student, facts = task.objective.kept, task.facts

    def pooled(images: Tensor) -> Tensor:
        features: Tensor | None = student(images).pooled
        assert features is not None
        return features

    inner: Any = student.module.encoder
    grouped = inner if isinstance(inner, Grouped) else None
    return Network(folder.name, cli.datamodule.path, facts.bands, facts.image_size, task.scale, pooled, grouped)


def pretrained(folder: Path, store: Path) -> Network:
    """The encoder of a pre-training."""
    task = PretrainCli(
        ["--config", str(folder / "config.yaml"), "--run", str(folder), *QUIET], training=False
    ).trained()
    encoder = task.contrast.encoder.eval()

    def pooled(images: Tensor) -> Tensor:
        return encode(encoder, images).pooled

    grouped = encoder if isinstance(encoder, Grouped) else None
    return Network(folder.name, store, task.bands, task.image_size, task.scale, pooled, grouped)


def chosen(store: PatchStore, count: int) -> np.ndarray:
    """Rows of up to `count` labelled test patches, at random but always the same.

    Raises:
        UserError: There are fewer than three, or no single labels.
    """
    if store.label_kind != "one":
        raise UserError(f"{store.path} has not one label a patch, which colours the picture; give another --store")
    shown = (store.table["split"] == "test").to_numpy() & (store.labels() != UNKNOWN)
    rows = np.flatnonzero(shown)
    if min(len(rows), count) < FEWEST:
        raise UserError(f"{store.path} shows {min(len(rows), count)} labelled test patches; it takes {FEWEST} or more")
    kept: np.ndarray = rows[shuffled(list(store.table["id"].iloc[rows]), 0)[:count]]
    return kept


@torch.no_grad()
def described(one: Network, store: PatchStore, rows: np.ndarray) -> dict[str, Points]:
    """What a network makes of patches: `class`, and for an encoder of band groups `group`."""
    pixels = PixelSource(store, rows, one.image_size)
    device = next(one.scale.buffers()).device
    shares = np.split(np.arange(len(rows)), range(BATCH, len(rows), BATCH))
    images = [one.scale(one.scale.unit(pixels(share).to(device))) for share in shares]
    features = torch.cat([one.describe(some).float().cpu() for some in images]).numpy()
    found = {"class": Points(features, store.labels()[rows], store.classes)}
    if one.grouped is not None:
        few = torch.cat(images)[:GROUPED].split(BATCH)
        each = torch.cat([one.grouped.each(some).float().cpu() for some in few]).numpy()  # (n, G, D)
        kind = np.tile(np.arange(each.shape[1]), len(each))
        found["group"] = Points(each.reshape(-1, each.shape[2]), kind, one.grouped.names)
    return found


def silhouette(points: Points) -> float:
    """Mean silhouette by cosine; NaN where all are of one kind."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(points.kind)) < len(points.kind):
        return float("nan")
    return float(silhouette_score(points.features, points.kind, metric="cosine"))


def flat(features: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 2), t-SNE by cosine from a fixed start (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    plane: np.ndarray = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(features)
    return plane


def draw(runs: Mapping[str, Mapping[str, tuple[Points, float]]], path: Path) -> None:
    """A line a run: points and their silhouette by class, and by group where there are groups."""
    columns = list(dict.fromkeys(what for panels in runs.values() for what in panels))
    figure = Figure(figsize=(6.2 * len(columns), 3.8 * len(runs)), layout="constrained")
    grid = figure.subplots(len(runs), len(columns), squeeze=False)
    for line, (name, panels) in zip(grid, runs.items(), strict=True):
        for axis, what in zip(line, columns, strict=True):
            if what not in panels:
                axis.set_axis_off()
                continue
            points, apart = panels[what]
            scatter(axis, points)
            axis.set_title(f"{name}, by {what}: silhouette {apart:.2f}", fontsize=9)
    save(figure, path)


def scatter(axis: Axes, points: Points) -> None:
    """Points in the plane, coloured by kind."""
    plane = flat(points.features)
    for index, name in enumerate(points.names):
        of = points.kind == index
        if of.any():
            label = name.replace("_", " ")
            axis.scatter(
                plane[of, 0], plane[of, 1], s=7, color=colour(index, len(points.names)), label=label, linewidths=0
            )
    axis.set(xticks=[], yticks=[])
    axis.legend(frameon=False, fontsize=7, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
