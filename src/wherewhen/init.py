"""`wherewhen init STORE`: a configuration for the store at hand, with a word on every choice."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from wherewhen.errors import UserError
from wherewhen.files import write_text
from wherewhen.store import PatchStore

LARGEST = 64  # pixels that a network for processor cores is shown
STEPS = {"cpu": 600, "gpu": 5000}
TARGETS = ("patch", "mask", "change")


class Found(NamedTuple):
    """What a store says of itself, and how it is learned from.

    Args:
        target: Labels of patches, masks of pixels, or change.
        many: Whether a patch has many labels.
        labelled: Training patches, or pairs, with labels.
        samples: All training patches or pairs.
        share: Of the training patches with a label; of the pixels, where these are labelled.
        known: Place and time, where most training patches have it.
        everywhere: Whether all have.
        side: Of the images in pixels.
    """

    target: str
    many: bool
    labelled: int
    samples: int
    share: float
    known: list[str]
    everywhere: bool
    side: int

    @property
    def semi(self) -> bool:
        """Whether most patches, or pixels, have no label, so that an algorithm has something to guess."""
        return self.target != "change" and self.share < 0.5


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen init`.

    Raises:
        UserError: There is no such store, it has nothing to learn, or the file exists.
    """
    parser = argparse.ArgumentParser(prog="wherewhen init", description=__doc__)
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--out", type=Path, default=Path("config.yaml"), metavar="FILE", help="(default config.yaml)")
    parser.add_argument("--target", choices=TARGETS, help="what is learned (default: the most that the store allows)")
    parser.add_argument("--for", dest="machine", choices=tuple(STEPS), help="(default: a GPU where there is one)")
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"{args.out} exists; give another --out, or remove it")
    store = PatchStore.open(args.store)
    found = look(store, args.target)
    write_text(args.out, configuration(store, found, args.machine or machine()))
    print(f"{args.out}: {described(found)}. Next: wherewhen fit --config {args.out} --run runs/first")
    return 0


def machine() -> str:
    """Of what kind this one is."""
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def look(store: PatchStore, target: str | None) -> Found:
    """What there is to learn.

    Raises:
        UserError: Nothing, or not what is wanted.
    """
    from wherewhen.tasks.samples import Masked, has_label, samples_of

    there = [kind for kind in reversed(TARGETS) if has(store, kind)]
    if not there:
        raise UserError(f"{store.path} has neither labels, masks nor change; there is nothing to learn from")
    if target is not None and target not in there:
        raise UserError(f"{store.path} has no labels for --target {target}; it has {', '.join(there)}")
    chosen: Any = target or there[0]
    samples = samples_of(store, chosen)
    rows = np.flatnonzero(samples.split == "train")
    if not len(rows):
        raise UserError(f"{store.path} has no training patches; prepare it with a split")
    if isinstance(samples, Masked):
        counts = samples.counts(rows)
        with_label = counts.any(1)
        share = float(counts.sum() / (len(rows) * math.prod(store.shape[-2:])))
    else:
        with_label = has_label(samples.strata(rows))
        share = float(with_label.mean())
    labelled = int(with_label.sum())
    if not labelled:
        raise UserError(f"{store.path} has no label in its training part; prepare it with another split")
    shares = {"place": ~np.isnan(samples.place()[rows]).any(1), "time": ~np.isnan(samples.day()[rows])}
    known = [part for part, there in shares.items() if there.mean() >= 0.5]
    everywhere = all(shares[part].all() for part in known)
    many = chosen == "patch" and store.label_kind == "many"
    return Found(chosen, many, labelled, len(rows), share, known, everywhere, min(store.shape[-2:]))


def has(store: PatchStore, target: str) -> bool:
    """Whether the store has labels of this kind."""
    if target == "change":
        return bool((store.targets["kind"] == "change").any())
    if target == "mask":
        return bool(store.has_masks and len(store.classes))
    return store.label_kind != "none"


def described(found: Found) -> str:
    """In a line."""
    what = {"patch": "labels of patches", "mask": "classes of pixels", "change": "change"}[found.target]
    with_whom = f"a teacher that knows {' and '.join(found.known)}" if found.known else "no teacher: no place, no time"
    with_whom = with_whom if found.semi else "no teacher: no labels to guess"
    pixels = f" ({found.share:.2%} of all pixels)" if found.target != "patch" else ""
    return f"{what}, {found.labelled} of {found.samples} training samples labelled{pixels}, {with_whom}"


def configuration(store: PatchStore, found: Found, machine: str) -> str:
    """The configuration as YAML with comments."""
    gpu, dense = machine == "gpu", found.target != "patch"
    size = found.side if dense else next((s for s in (LARGEST, 32, 16) if s <= found.side), found.side)
    steps = STEPS[machine]
    known, other = (8, 24) if dense else (16, 48)
    lines = [
        f"# {described(found)}.",
        comment(f"Store: {store!r}"),
        comment(f"bands: {', '.join(band.name for band in store.bands)}"),
        *([comment(f"classes: {', '.join(store.classes)}")] if store.classes else []),
        f"# Written for {'a GPU' if gpu else 'processor cores'}; docs/recipes.md says what is known to work, and why.",
        "model:",
        *(f"  {line}" for line in network(size, dense, gpu)),
        *(f"  {line}" for line in learning(found, dense)),
        f"  ema_momentum: {1 - 10 / steps:.4g} # what is tested is an average over about a tenth of the steps",
        f"  learning_rate: {1e-3 if dense or gpu else 2e-3:g}",
        f"  lr_warmup_steps: {steps // 20}",
        "data:",
        f"  store: {scalar(str(store.path))}",
        f"  target: {found.target}",
        f"  image_size: {size} # pixels; patches in the store have {found.side}",
        f"  labelled_batch: {min(known, found.labelled)}",
        *([f"  unlabelled_batch: {other}"] if found.semi else []),
        "  validation: 0.1 # of the training patches, to tune on; the test is for the end",
        "trainer:",
        f"  max_steps: {steps} # more is better while val/ figures in metrics.csv still rise",
        f"  val_check_interval: {steps // 4}",
        *(["  precision: bf16-mixed"] if gpu or dense else []),
        "log_every: 20",
        f"save_every: {steps // 4} # a killed run goes on from there",
    ]
    return "\n".join(lines) + "\n"


def network(size: int, dense: bool, gpu: bool) -> list[str]:
    """Encoder, and decoder of pixels."""
    if dense:
        return [
            "encoder:",
            "  name: Timm",
            f"  model: {'resnet18' if gpu else 'resnet10t'} # any of timm's with feature maps",
            "decoder:",
            "  name: UNet",
            f"  width: {32 if gpu else 16}",
        ]
    return [
        "encoder: # a small vision transformer with what few labels need",
        "  name: ViT",
        f"  patch_size: {size // 4}",
        f"  width: {192 if gpu else 128}",
        f"  depth: {2 if gpu else 1}",
        "  heads: 4",
        "  stem: convolutions",
        "  statistics: true",
        "  layer_scale: 0.1",
    ]


def comment(text: str) -> str:
    """A line that YAML passes over, whatever names are in it."""
    return f"# {' '.join(text.split())}"


def scalar(text: str) -> str:
    """A text as YAML reads it back: quoted where it means something else bare, as `#1` does."""
    written: str = yaml.safe_dump(text, width=math.inf, allow_unicode=True)
    return written.removesuffix("...\n").rstrip("\n")


def learning(found: Found, dense: bool) -> list[str]:
    """Loss, algorithm, teacher."""
    if found.target == "change":
        return ["dense_loss: cross_entropy+dice", "positive_weight: 10.0 # changed pixels are few"]
    if not found.semi:
        return ["# no algorithm: most training samples have a label, so nothing is left to be guessed"]
    threshold = "[0.9, 0.6] # believed absent, present" if found.many else "0.8" if dense else "0.5"
    lines = ["algorithm:", "  name: FixMatch # others: docs/algorithms.md", f"  threshold: {threshold}"]
    if found.known:
        lines += [
            "teacher: # knows place and time, labels for a student that does not (ST-SSL)",
            f"  metadata: [{', '.join(found.known)}]",
            "  encoding: fourier",
            f"  metadata_dropout: 0.5 # hidden half the time{'' if found.everywhere else ', and where unknown'}",
        ]
        lines += ["  fusion: late # a ResNet takes no token"] if dense else []
        lines += ["  distill_weight: 0.01"] if not dense else ["  distill_weight: 0.0"]
    return [*lines, "labels_from: ema # pseudo-labels come from the average, which sees all metadata"]
