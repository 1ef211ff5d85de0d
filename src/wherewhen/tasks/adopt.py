"""`wherewhen adopt FILE --store S --run R`: a released whole model as a run, to be tested like any other.

The run is what `fit` would have left behind: configuration, environment, and a checkpoint whose networks are the
released ones. Their answers pass through a head that only puts them in the store's order of classes.

Notation: C bands of the store, K outcomes of the model, D width.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from wherewhen.build import Spec
from wherewhen.encoders import Timm
from wherewhen.encoders.saco import (
    CLASSIFIER,
    DENSE,
    HERE,
    READERS,
    SacoClassifier,
    SacoDecoder,
    SacoDense,
    indices_of,
)
from wherewhen.encoders.sources import recognise
from wherewhen.encoders.weight_files import read_weights
from wherewhen.errors import UserError, note
from wherewhen.files import atomic_folder, refuse_used_folder
from wherewhen.scale import CLIP_SIGMAS
from wherewhen.store import PatchStore
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.run import AtomicCheckpoints, Run
from wherewhen.tasks.samples import Target
from wherewhen.tasks.task import LabelEfficient
from wherewhen.tasks.verbs import Cli

STRIDE = 32  # pixels of an image that are one of the coarsest map: the decoder doubles five times
DIGITAL = 1e-4  # reflectance of a step of the digital numbers that readers speak of


class Plan(NamedTuple):
    """How a task has a released model."""

    target: Target
    encoder: Spec
    decoder: Spec | None
    released: dict[type[nn.Module], nn.Module]  # whose weights the task's modules of a class are given
    outcomes: int  # K
    mean: np.ndarray  # (C,) physical, of the task's `Scale`
    std: np.ndarray


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen adopt`; returns the exit code.

    Raises:
        UserError: The file holds no released whole model, or does not fit the store.
    """
    parser = argparse.ArgumentParser(
        prog="wherewhen adopt",
        description="Make a run of a released whole model (SACo's classifier, change or segmentation), to be tested.",
        epilog="Settings of `wherewhen test` may follow and become the run's, such as --data.image_size 64.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, help="the released file, such as best_classification_model.pth")
    parser.add_argument("--store", type=Path, required=True, metavar="S", help="what it is to be tested on")
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="a new or empty folder")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="in the model's order (default: the store's)")
    args, settings = parser.parse_known_args(argv)
    adopt(args.file, args.store, args.run, args.classes, settings)
    print(f"{args.run}: try `wherewhen test --config {args.run / 'config.yaml'} --run {args.run}`")
    return 0


def adopt(
    file: Path, store: Path, run: Path, classes: Sequence[str] | None = None, settings: Sequence[str] = ()
) -> None:
    """Write the run folder of a released whole model; nothing is written before all is checked.

    Args:
        file: One of SACo's released files.
        store: Of labels (classifier), masks (segmentation) or change.
        run: A new or empty folder.
        classes: The store's classes in the model's order; None takes the store's order.
        settings: Further words of the command line of `test`.

    Raises:
        UserError: The file holds something else, the store has other bands, labels or sizes, the classes are not the
            store's, or the folder is in use.
    """
    refuse_used_folder(run)
    plan = planned(file, PatchStore.open(store))
    cli = Cli(
        [
            *("--data.store", str(store), "--data.target", plan.target, "--run", str(run)),
            *("--model.encoder", json.dumps(plan.encoder)),
            *(() if plan.decoder is None else ("--model.decoder", json.dumps(plan.decoder), "--data.eval_batch", "16")),
            *settings,
        ],
        training=False,
    )
    data, task = cli.datamodule, cli.model
    data.setup()
    facts = replace(data.facts, mean=tuple(plan.mean.tolist()), std=tuple(plan.std.tolist()))
    check(facts, file, store)
    order = ordered(facts, plan.outcomes, classes, file)
    task.build(facts)
    install(task, plan, order)
    checkpoint = {
        "pytorch-lightning_version": version("lightning"),
        "state_dict": task.state_dict(),
        "wherewhen": task.described(data.split),
    }
    with atomic_folder(run) as folder:
        Run(folder).begin(cli.resolved(), [])
        AtomicCheckpoints().save_checkpoint(checkpoint, Run(folder).last)


def planned(file: Path, store: PatchStore) -> Plan:
    """Read a released file for a store.

    Raises:
        UserError: It holds none of the released whole models, or the store lacks one of its bands.
    """
    title = recognise(read_weights(file)).title
    names = [band.name for band in store.bands]
    if title == CLASSIFIER:
        classifier = SacoClassifier(names, str(file))
        return Plan("patch", classifier.spec, None, {SacoClassifier: classifier}, classifier.width, *one_scale(store))
    if title != DENSE:
        raise UserError(
            f"{file} is laid out as {title}; what can be adopted whole are {CLASSIFIER}, and {DENSE}. Of other files "
            "the encoder can be trained on: `wherewhen fit` with model.encoder.weights"
        )
    model = SacoDense(str(file), names)
    mean, std, reach = readers_scale(store, model.sees)
    encoder = {"name": f"{HERE}.SacoMaps", "sees": model.sees, "model": model.model, "reach": reach}
    parts: dict[type[nn.Module], nn.Module] = {Timm: model.encoder, SacoDecoder: model.decoder}
    target: Target = "change" if model.sees == 3 else "mask"
    return Plan(target, encoder, model.decoder.spec, parts, model.decoder.width, mean, std)


def one_scale(store: PatchStore) -> tuple[np.ndarray, np.ndarray]:
    """Mean and σ, (C,) each, with which `Scale` treats all bands alike and clips nothing that the store can hold.

    What the classifier makes of an image, by its least and greatest value over all bands, is then left as it is. With a
    width of a power of two digital numbers, not even rounding touches it.
    """
    low, high = physical_range(store)
    least, greatest = low.min(), high.max()
    bands = len(store.bands)
    return np.full(bands, (least + greatest) / 2), np.full(bands, (greatest - least) / (2 * CLIP_SIGMAS))


def readers_scale(store: PatchStore, sees: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and σ, (C,) each, for `Scale` to do what the authors' reader does, and how many of its σ are one of ours.

    Bands that the model does not see keep the store's.

    Raises:
        UserError: The store holds no reflectance, of which the reader's statistics are.
    """
    reader, names = READERS[sees], [band.name for band in store.bands]
    if other := [band for band in store.bands if band.unit != "reflectance"]:
        raise UserError(
            f"the model sees reflectance, and band {other[0].name} of {store.path} is {other[0].unit}; prepare the "
            "store from reflectance"
        )
    rows = indices_of(reader.bands, names)
    mean, std = store.mean.copy(), store.std.copy()
    mean[rows], std[rows] = DIGITAL * np.array(reader.mean), DIGITAL * np.array(reader.std)
    if sees == 3:  # clipped at ± 2σ, as `Scale` does
        return mean, std, 1.0
    low, high = physical_range(store)
    farthest = np.maximum(high - mean, mean - low)[rows] / (CLIP_SIGMAS * std[rows])
    reach = float(np.ceil(farthest.max()))
    std[rows] *= reach
    return mean, std, reach


def physical_range(store: PatchStore) -> tuple[np.ndarray, np.ndarray]:
    """What each band of a store can hold, from the least up to, but without, the greatest, physical, (C,) each."""
    stored = np.iinfo(store.dtype)
    low, high = (
        np.array([(end + band.offset) * band.scale for band in store.bands]) for end in (stored.min, stored.max + 1)
    )
    return low, high


def check(facts: Facts, file: Path, store: Path) -> None:
    """Raise UserError where the store's labels or sizes are not what the model can be asked about."""
    if facts.label_kind == "many":
        raise UserError(f"{file} gives one label a patch, and {store} has many; give a store with one")
    if facts.dense and facts.image_size % STRIDE:
        raise UserError(
            f"images of {store} have {facts.image_size} pixels a side, and the decoder in {file} needs a multiple of "
            f"{STRIDE}; resize them by --data.image_size, or prepare the store with another size"
        )


def ordered(facts: Facts, outcomes: int, classes: Sequence[str] | None, file: Path) -> list[int]:
    """Which of the store's classes each of the model's K outcomes is; outcomes past the end are none.

    Raises:
        UserError: The classes are not the store's, or not as many as the model's.
    """
    known = list(facts.classes)
    if facts.label_kind == "change":
        if classes is not None or outcomes != 1:
            raise UserError(f"{file} says change by {outcomes} numbers a pixel; it must be one, and --classes be left")
        return [1]  # same: 0, change: what the model says
    names = known if classes is None else list(classes)
    if sorted(names) != sorted(known):
        raise UserError(f"--classes are {', '.join(names)}, but the store's are {', '.join(known)}; name each once")
    void = outcomes - len(known)
    if not 0 <= void <= facts.dense:  # PASTIS's void class is the last, and no class of a store
        raise UserError(f"{file} tells {outcomes} classes, and the store has {len(known)}: {', '.join(known)}")
    if void:
        note(f"the model's last outcome of {outcomes}, void, is no class of the store and is never answered")
    if classes is None and not facts.dense:
        note(f"the order of the model's classes is not published; taken as {', '.join(names)} (else give --classes)")
    return [known.index(name) for name in names]


@torch.no_grad()
def install(task: LabelEfficient, plan: Plan, order: Sequence[int]) -> None:
    """Give the task's network the released weights, and a head that sorts outcomes into classes."""
    learner, average = task.objective.model, task.objective.ema.module
    for module in learner.modules():
        if type(module) in plan.released:
            module.load_state_dict(plan.released[type(module)].state_dict())
    head = learner.head
    assert isinstance(head, nn.Linear | nn.Conv2d)
    for parameter in head.parameters():
        parameter.zero_()
    middle = head.weight if isinstance(head, nn.Linear) else head.weight[:, :, 1, 1]  # of 3 × 3 pixels
    middle[order, range(len(order))] = 1
    average.load_state_dict(learner.state_dict())
