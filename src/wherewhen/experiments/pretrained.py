"""Cells that train an encoder without labels."""

from pathlib import Path

import pandas as pd

from wherewhen.experiments.cells import Order
from wherewhen.experiments.trained import Figures
from wherewhen.files import read_json, write_json
from wherewhen.tasks.pretrain_verb import pretrain

PROBE = "probe/"
STATISTICS = "knn_of_statistics"  # which no training changes


def train(order: Order, folder: Path) -> Figures:
    """Pre-train, or go on with it; what the probe said at the beginning and at the end, where there was one."""
    pretrain(order.command_line())
    timing = read_json(folder / "timing.json")
    table = pd.read_csv(folder / "metrics.csv")
    looks = table[table["name"].str.startswith(PROBE)].assign(name=lambda rows: rows["name"].str.removeprefix(PROBE))
    first, last = (looks[looks["step"] == step].set_index("name")["value"] for step in (0, timing["steps"]))
    began = {name if name == STATISTICS else f"{name}_at_start": value for name, value in first.items()}
    write_json(folder / "test.json", began | last.to_dict())
    return {"seconds": timing["seconds"], "steps": timing["steps"]}
