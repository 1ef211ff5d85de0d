"""Images a second of FixMatch: our step beside a loop over what semilearn 0.3.2 (USB) is made of.

semilearn calls `.cuda()` throughout and imports audio and language packages, so on a CPU its own FixMatch does not
run. This is a plain loop over its parts in the order of its hooks: its RandAugment in the transforms of its EuroSAT
reader, its losses and optimiser, its average with the copy into the evaluated network, four `.item()` a step. The
network is ours on both sides, ViT-S/16 by default; so are images, batches and threads. Its images come from a
DataLoader, with no worker processes or with as many as asked for. Install the package alone, then run:

    uv pip install --no-deps semilearn==0.3.2
    python benchmarks/semilearn_step.py [--case vit-s] [--threads 2] [--workers 0] [--steps 1] [--repeats 5]
"""

import argparse
import copy
import importlib
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch
import torchvision.transforms as transforms
from PIL import Image
from steps import (
    CASES,
    METHODS,
    PATCHES,
    STEPS,
    Case,
    Ours,
    build,
    in_turn,
    machine,
    make_store,
    recipe,
    seconds,
    table,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from wherewhen.loader import PixelSource

PARENTS = ("", ".core", ".core.criterions", ".datasets", ".datasets.augmentation")
OURS, THEIRS = "ours", "semilearn's parts"
HALF = (0.5, 0.5, 0.5)
Picture = dict[str, Tensor | int]


def part(name: str) -> ModuleType:
    """A module of semilearn without what its packages import: wandb, transformers, torchaudio, …"""
    if "semilearn" not in sys.modules:
        found = find_spec("semilearn")
        if found is None or found.origin is None:
            raise SystemExit("semilearn is not installed: uv pip install --no-deps semilearn==0.3.2")
        for parent in PARENTS:
            package = ModuleType(f"semilearn{parent}")
            package.__path__ = [str(Path(found.origin).parent.joinpath(*parent.split(".")))]
            sys.modules[package.__name__] = package
    return importlib.import_module(f"semilearn.{name}")


class Pictures(Dataset[Picture]):
    """PIL images and the transforms of semilearn's EuroSAT reader, as its `BasicDataset` applies them.

    Args:
        images: In memory.
        labels: Of labelled images; unlabelled ones have none, but a second, strong view.
        size: Pixels.
        crop_ratio: As the reader takes it.
    """

    def __init__(self, images: list[Image.Image], labels: list[int] | None, size: int, crop_ratio: float) -> None:
        self.images, self.labels = images, labels
        augment = part("datasets.augmentation.randaugment").RandAugment(3, 5)
        before = [
            transforms.Resize(size),
            transforms.RandomCrop((size, size), padding=int(size * (1 - crop_ratio)), padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
        ]
        after = [transforms.ToTensor(), transforms.Normalize(HALF, HALF)]
        self.weak = transforms.Compose(before + after)
        self.strong = transforms.Compose([*before, augment, *after])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Picture:
        image = self.images[index]
        weak = self.weak(image)
        if self.labels is not None:
            return {"x_lb": weak, "y_lb": self.labels[index]}
        return {"x_ulb_w": weak, "x_ulb_s": self.strong(image)}


class Semilearn:
    """FixMatch's `train_step` and the hooks around it.

    Args:
        ours: Built; its network is copied, its images are the same.
        case: Sizes.
        workers: Processes that make batches; semilearn gives twice as many to the unlabelled ones.
    """

    def __init__(self, ours: Ours, case: Case, workers: int) -> None:
        numbers = recipe(ours.task)
        self.model = copy.deepcopy(next(iter(ours.task.objective.learners())))
        self.ema_model = copy.deepcopy(self.model)
        self.shadow = {name: p.data.clone() for name, p in self.model.named_parameters()}
        self.momentum, self.threshold = numbers.momentum, numbers.threshold
        self.ce_loss = part("core.criterions.cross_entropy").ce_loss
        self.consistency_loss = part("core.criterions.consistency").consistency_loss
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": numbers.weight_decay}]
        self.optimizer = torch.optim.AdamW(groups, lr=numbers.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, numbers.rate)
        data = ours.data
        known = data.train_rows[data.labelled]
        streams = ((known, data.labels[known].tolist()), (data.train_rows[:PATCHES], None))
        sizes = (case.labelled, case.unlabelled)
        self.loaders = []
        for (rows, labels), size, processes in zip(streams, sizes, (workers, 2 * workers), strict=True):
            levels = PixelSource(data.opened, rows, case.size)(torch.arange(len(rows)).numpy()).byte()
            images = [transforms.functional.to_pil_image(x) for x in levels]
            pictures = Pictures(images, labels, case.size, ours.task.views.crop_ratio)
            sampler = RandomSampler(pictures, replacement=True, num_samples=size * STEPS)
            self.loaders.append(iter(DataLoader(pictures, size, sampler=sampler, num_workers=processes)))

    def step(self) -> dict[str, float]:
        """One step; what it logs."""
        batch = {name: values for loader in self.loaders for name, values in next(loader).items()}
        log = self.train_step(self.model, batch["x_lb"], batch["y_lb"], batch["x_ulb_w"], batch["x_ulb_s"])
        self.optimizer.step()
        self.scheduler.step()
        self.model.zero_grad()
        for name, p in self.model.named_parameters():  # its EMA.update, then its EMAHook's copies
            self.shadow[name] = ((1.0 - self.momentum) * p.data + self.momentum * self.shadow[name]).clone()
        self.ema_model.load_state_dict(self.model.state_dict())
        self.ema_model.load_state_dict(self.shadow, strict=False)
        return log

    def train_step(
        self, model: nn.Module, x_lb: Tensor, y_lb: Tensor, weak: Tensor, strong: Tensor
    ) -> dict[str, float]:
        """All views in one forward, as its default `use_cat` has it."""
        logits = model(torch.cat((x_lb, weak, strong)), None).logits
        of_lb, (of_weak, of_strong) = logits[: len(y_lb)], logits[len(y_lb) :].chunk(2)
        probabilities = torch.softmax(of_weak.detach(), dim=-1)
        mask = probabilities.max(-1).values.ge(self.threshold).to(probabilities.dtype)
        supervised = self.ce_loss(of_lb, y_lb, reduction="mean")
        unsupervised = self.consistency_loss(of_strong, probabilities.argmax(-1), "ce", mask=mask)
        total = supervised + unsupervised
        total.backward()
        used = mask.float().mean()
        figures = {"sup_loss": supervised, "unsup_loss": unsupervised, "total_loss": total, "util_ratio": used}
        return {name: value.item() for name, value in figures.items()}


def rows(times: dict[str, float], images: int) -> Iterator[list[str]]:
    """Of a table: images a second, and how many times semilearn's."""
    yield ["step", "images/s", f"× {THEIRS}"]
    for name, taken in times.items():
        yield [name, f"{images / taken:.1f}", f"{times[THEIRS] / taken:.2f}"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="vit-s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=0, help="of semilearn's labelled loader; the other has twice")
    parser.add_argument("--steps", type=int, default=1, help="in a row")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    case, cpu = CASES[arguments.case], torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        ours = build(METHODS["FixMatch"], case, make_store(Path(folder), case.size), cpu)
        theirs = Semilearn(ours, case, arguments.workers)
        clocks = {
            OURS: lambda: seconds(ours.step, arguments.steps, cpu),
            THEIRS: lambda: seconds(theirs.step, arguments.steps, cpu),
        }
        times = in_turn(clocks, arguments.repeats)
    print(f"{case.title}, {case.size} px, batch {case.labelled} + {case.unlabelled}; {machine(cpu)}; ", end="")
    print(f"{arguments.workers} worker(s); median of {arguments.repeats} × {arguments.steps} steps, in turn\n")
    print(table(list(rows(times, case.labelled + case.unlabelled))))


if __name__ == "__main__":
    main()
