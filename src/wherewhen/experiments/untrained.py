"""Cells without a trained network: a classifier on the labels and the split that the networks get.

Notation: n patches, D width.
"""

import time
from pathlib import Path

import numpy as np
import torch

from wherewhen.encoders import Encoded
from wherewhen.experiments.cells import Order
from wherewhen.experiments.classical import METHODS, Problem
from wherewhen.experiments.trained import Figures, opened, sizes
from wherewhen.loader import PixelSource
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.verbs import Cli


def classify(order: Order, folder: Path) -> Figures:
    """Run one of `classical.METHODS`; `seconds` are of everything between the labels and the predictions."""
    cli = opened(order)
    data, store = cli.datamodule, cli.datamodule.opened
    labelled = data.train_rows[data.labelled]
    problem = Problem(
        store, labelled, data.labels[labelled], data.test_rows, order.cell.seed, lambda rows: embeddings(cli, rows)
    )
    began = time.monotonic()
    p = torch.from_numpy(METHODS[order.cell.row](problem)).float()
    seconds = time.monotonic() - began
    labels = torch.from_numpy(data.labels[data.test_rows])
    Evaluation("one", store.classes, [p], [labels]).write(folder, data.test_ids())
    return sizes(cli) | {"seconds": seconds}


@torch.no_grad()
def embeddings(cli: Cli, rows: np.ndarray) -> np.ndarray:
    """Patches in these rows (n,) -> pooled features (n, D) of the configuration's encoder as its seed begins it."""
    data, task = cli.datamodule, cli.model
    if task.facts is None:
        task.build(data.facts)
    task.to(cli.trainer.strategy.root_device).eval()
    pixels = PixelSource(data.opened, rows, data.facts.image_size, cache_bytes=0)
    parts = []
    for index in np.array_split(np.arange(len(rows)), -(-len(rows) // data.eval_batch)):
        encoded = task.objective.model.encoder(task.scale(task.scale.unit(pixels(index).to(task.device))))
        parts.append(encoded.pooled if isinstance(encoded, Encoded) else encoded)
    features: np.ndarray = torch.cat(parts).float().cpu().numpy()
    return features
