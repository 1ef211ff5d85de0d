"""Images a second of a whole training step: ours beside a step as research code writes it.

Three contestants take turns in one process, and so do the parts of the last one:

- ours: the task as a Trainer drives it (its batches, views, objective, fused AdamW, averages), without the Trainer;
- ours, gradient through the weak view: all views of the labelling network in one forward with gradient, else equal;
- baseline: `baselines.py`, fed by torchvision's v2 functions image by image, see `views.py`;
- the baseline's data path, forward, backward and optimiser, each alone and bare: losses, averages, schedule and
  logging are in none of them. Were the baseline much slower than their sum (1.1 times), it would be a straw man.

Images are those that a step looks at, labelled and unlabelled, each counted once however many views it has. The
baseline's images lie in memory at the training size, and the draws of a batch are made at once by our code, which
is quicker than drawing image by image. On a GPU, give the baseline worker processes, as people do (--workers);
they make its views while it trains, so its parts then add up to more than the whole. Run:

    python benchmarks/steps.py [--case small|vit-s] [--threads 1] [--device cpu] [--workers 0] [--compile] [--repeats 7]

On a CPU, a step of vit-s takes many seconds: give it --steps 1 --repeats 3.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from baselines import STSSL, VIEWS, FixMatch, Recipe, Step
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tv
from views import Picture, strong, weak

from wherewhen.bands import load_sensor
from wherewhen.loader import PixelSource
from wherewhen.semi import Outputs, SemiSupervised
from wherewhen.semi.objectives import Answer, Images, Taught, Where
from wherewhen.store import PatchStore
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.task import LabelEfficient, Teacher

CONFIGS = Path(__file__).parents[1] / "configs" / "eurosat" / "cpu"
METHODS = {"FixMatch": "fixmatch.yaml", "ST-SSL": "stssl_fixmatch.yaml"}
STEPS = 10**6  # of the schedule: more than any run here makes
CLASSES, PATCHES = 10, 2000
OURS, THROUGH_WEAK, BASELINE = "ours", "ours, gradient through the weak view", "baseline"
PARTS = ("data path", "forward", "backward", "optimiser")

Kind = Literal["uint8", "PIL"]
Batch = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]  # images and places by view, labels


class Case(NamedTuple):
    """One size of network and batch."""

    title: str
    size: int  # pixels
    labelled: int
    unlabelled: int
    encoder: dict[str, Any]


CASES = {
    "small": Case("ViT 128 × 4, patch 8", 32, 20, 40, {"patch_size": 8, "width": 128, "depth": 4, "heads": 4}),
    "vit-s": Case("ViT-S/16", 128, 8, 56, {"patch_size": 16, "width": 384, "depth": 12, "heads": 6}),
}
# plain networks and the published metadata: a step without batch norm and chance is the same sum in every order
TEACHER = Teacher(metadata=["place"], distill_weight=0.01)


@dataclass
class NoTrainer:
    """What a task and its data ask a Trainer for."""

    lightning_module: pl.LightningModule
    datamodule: pl.LightningDataModule
    strategy: SimpleNamespace
    estimated_stepping_batches: int = STEPS
    global_step: int = 0
    global_rank: int = 0
    world_size: int = 1


class Driven:
    """A task's own step, in the order in which Lightning makes it.

    Args:
        task: Not built yet.
        data: Not set up yet.
        device: Where it trains.
    """

    batches: Iterator[Any]

    def __init__(self, task: pl.LightningModule, data: pl.LightningDataModule, device: torch.device) -> None:
        self.module, self.device = task, device
        self.trainer = NoTrainer(task, data, SimpleNamespace(root_device=device))
        task.trainer = data.trainer = cast(pl.Trainer, self.trainer)

    def ready(self, batches: Iterable[Any]) -> None:
        """Begin, when the task is built."""
        self.module.to(self.device).train()
        made = cast(Any, self.module.configure_optimizers())
        self.optimizer, self.schedule = made["optimizer"], made.get("lr_scheduler")
        self.batches = iter(batches)

    def step(self) -> None:
        """One training step."""
        self.module.optimizer_step(0, self.trainer.global_step, self.optimizer, self._closure)
        if self.schedule is not None:
            self.schedule["scheduler"].step()
        self.trainer.global_step += 1

    def moved(self, batch: Any) -> Any:
        """The batch on the device."""
        return self.module.transfer_batch_to_device(batch, self.device, 0)

    def _closure(self) -> Tensor:
        loss: Tensor = cast(Any, self.module).training_step(self.moved(next(self.batches)), 0)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.module.on_before_optimizer_step(self.optimizer)
        return loss


class Ours(Driven):
    """The training with labels."""

    def __init__(self, task: LabelEfficient, data: StoreData, device: torch.device) -> None:
        super().__init__(task, data, device)
        self.task, self.data = task, data
        data.setup("fit")
        task.build(data.facts)
        self.ready(data.train_dataloader())


def ask_with_gradient(
    self: SemiSupervised, model: nn.Module, images: Images, where: Where, taught: Taught = "metatoken"
) -> Answer:
    """`SemiSupervised.ask` with the weak view in the batch that carries gradient; its tokens are not learned from."""
    names = sorted(images, key=lambda name: name == "weak")  # the weak view last
    known = torch.cat([where[name] for name in names]) if where else None
    encoded = model(torch.cat([images[name] for name in names]), known)
    logits = encoded.logits.split([len(images[name]) for name in names])
    outputs = {name: self.space.logits(raw) for name, raw in zip(names, logits, strict=True)}
    learned = sum(len(images[name]) for name in names if name != "weak")
    token = encoded.token if taught == "metatoken" else encoded.pooled
    return Answer(Outputs(**outputs), None if token is None else token[:learned])


def through_weak(ours: Ours) -> Ours:
    """The same, with gradient through the weak view."""
    objective = cast(SemiSupervised, ours.task.objective)
    objective.ask = partial(ask_with_gradient, objective)  # type: ignore[method-assign]
    return ours


class TorchvisionBatches(Dataset[Batch]):
    """Step -> views of a batch, made image by image on the CPU; at random with replacement.

    Args:
        ours: Built; has the same images.
        case: Sizes.
        kind: What torchvision works on.
    """

    def __init__(self, ours: Ours, case: Case, kind: Kind) -> None:
        data = ours.data
        known = data.train_rows[data.labelled]
        rows = np.concatenate((known, data.train_rows[:PATCHES]))  # the labelled ones first
        levels = PixelSource(data.opened, rows, case.size)(np.arange(len(rows))).byte()
        self.images: list[Picture] = [tv.to_pil_image(x) for x in levels] if kind == "PIL" else list(levels)
        self.where = torch.tensor(np.column_stack((data.opened.place(), data.opened.day()))[rows]).float()
        self.labels = torch.from_numpy(data.labels[known])
        self.views, self.case = ours.task.views, case

    def __getitem__(self, step: int) -> Batch:
        case, generator = self.case, torch.Generator().manual_seed(step)
        known = torch.randint(len(self.labels), (case.labelled,), generator=generator)
        some = torch.randint(len(self.images), (case.unlabelled,), generator=generator)
        reach = int(case.size * (1 - self.views.crop_ratio))
        of_known, of_some = (self.views.draw(len(i), case.size, generator) for i in (known, some))
        pictures = [self.images[i] for i in some.tolist()]
        images = {
            "labelled": ready(weak([self.images[i] for i in known.tolist()], of_known, reach)),
            "weak": ready(weak(pictures, of_some, reach)),
            "strong": ready(strong(pictures, of_some, reach)),
        }
        where = {"labelled": self.where[known], "weak": self.where[some], "strong": self.where[some]}
        return images, where, self.labels[known]


def ready(pictures: list[Picture]) -> Tensor:
    """(N, 3, H, W) as the network wants them, (x − 0.5)/0.5."""
    levels = torch.stack([tv.pil_to_tensor(x) if isinstance(x, Image.Image) else x for x in pictures])
    return levels.float().div_(127.5).sub_(1)


class Baseline:
    """The step of `baselines.py` with its own data path.

    Args:
        ours: Built; its networks are copied.
        batches: The data path.
        workers: Processes that make batches; 0 makes them between the steps.
    """

    def __init__(self, ours: Ours, batches: TorchvisionBatches, workers: int) -> None:
        self.device, numbers = ours.device, recipe(ours.task)
        first, *second = copy.deepcopy(list(ours.task.objective.learners()))
        self.plain: Step = STSSL(first, second[0], numbers) if second else FixMatch(first, numbers)
        on_gpu = self.device.type == "cuda"
        loader = DataLoader(batches, None, sampler=range(STEPS), num_workers=workers, pin_memory=on_gpu)
        self.batches = iter(loader)

    def step(self) -> None:
        """One training step."""
        self.plain(*self.batch())

    def batch(self) -> Batch:
        """The data path alone."""
        images, where, y = next(self.batches)
        moved = ({k: v.to(self.device, non_blocking=True) for k, v in views.items()} for views in (images, where))
        return *moved, y.to(self.device, non_blocking=True)

    def forward(self, shown: list[tuple[Tensor, Tensor | None]]) -> Tensor:
        """The networks alone: a scalar that depends on all their logits."""
        replies = [network(*inputs) for network, inputs in zip(self.plain.networks, shown, strict=True)]
        return torch.stack([reply.logits.sum() for reply in replies]).sum()

    def shown(self) -> list[tuple[Tensor, Tensor | None]]:
        """What each network sees in a step: all views, and a student all but the weak one, without place and time."""
        images, where, _ = self.batch()
        everything = torch.cat([images[view] for view in VIEWS])
        if isinstance(self.plain, FixMatch):
            return [(everything, None)]
        return [
            (everything, torch.cat([where[view] for view in VIEWS])),
            (torch.cat((images["labelled"], images["strong"])), None),
        ]


def recipe(task: LabelEfficient) -> Recipe:
    """The task's numbers for the baseline."""
    assert task.algorithm_spec is not None
    return Recipe(
        STEPS,
        task.lr_warmup_steps,
        task.learning_rate,
        task.weight_decay,
        task.ema_momentum,
        task.algorithm_spec["threshold"],
        task.unlabelled_weight,
        task.teacher.distill_weight if task.teacher else 0.0,
    )


# -- timing ---------------------------------------------------------------------------------


def seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds that one call takes, over some in a row."""
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - start) / times


def clocks(
    contestants: Mapping[str, Callable[[], object]], steps: int, device: torch.device
) -> dict[str, Callable[[], float]]:
    """Seconds of each, by name."""
    return {name: partial(seconds, work, steps, device) for name, work in contestants.items()}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turn(clocks: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Medians of what each clock says, A B C A B C …; the first round warms up."""
    rounds = [{name: clock() for name, clock in clocks.items()} for _ in range(repeats + 1)]
    return {name: median(said[name] for said in rounds[1:]) for name in clocks}


def clocks_of(
    ours: Ours, through: Ours, baseline: Baseline, steps: int, device: torch.device
) -> dict[str, Callable[[], float]]:
    """Everything that is timed, by name."""
    shown, batches = baseline.shown(), iter(ours.data.train_dataloader())

    def pictures() -> None:
        ours.task.pictures(ours.moved(next(batches)))

    def backward() -> float:
        total = 0.0
        for _ in range(steps):  # each needs a forward, which is not timed
            baseline.plain.optimizer.zero_grad()
            total += seconds(baseline.forward(shown).backward, 1, device)
        return total / steps

    def each(work: Callable[[], object]) -> Callable[[], float]:
        return lambda: seconds(work, steps, device)

    return {
        OURS: each(ours.step),
        THROUGH_WEAK: each(through.step),
        BASELINE: each(baseline.step),
        "our data path": each(pictures),
        "data path": each(baseline.batch),
        "forward": each(lambda: baseline.forward(shown)),
        "backward": backward,
        "optimiser": each(baseline.plain.optimizer.step),
    }


# -- what is compared -----------------------------------------------------------------------


def make_store(folder: Path, size: int) -> Path:
    """Noise with labels and places."""
    rng = np.random.default_rng(0)
    PatchStore.from_arrays(
        folder / "store",
        rng.integers(0, 256, (PATCHES, 3, size, size), dtype=np.uint8),
        bands=load_sensor("rgb8").bands,
        place=np.column_stack((rng.uniform(35, 65, PATCHES), rng.uniform(-10, 30, PATCHES))),
        labels=np.arange(PATCHES) % CLASSES,
        classes=tuple(f"class {i}" for i in range(CLASSES)),
        split=["train"] * PATCHES,
    )
    return folder / "store"


def parts(config: str, case: Case, store: Path, **other: Any) -> tuple[LabelEfficient, StoreData]:
    """The task of a configuration in configs/eurosat/cpu, at the size of the case, and its data."""
    model = yaml.safe_load((CONFIGS / config).read_text(encoding="utf-8"))["model"]
    model["encoder"] = {"name": "ViT"} | case.encoder
    if "teacher" in model:
        model["teacher"] = TEACHER
    data = StoreData(
        str(store),
        image_size=case.size,
        labels_per_class=4,
        labelled_batch=case.labelled,
        unlabelled_batch=case.unlabelled,
        validation=0.0,
    )
    return LabelEfficient(**model, **other), data


def build(config: str, case: Case, store: Path, device: torch.device, **other: Any) -> Ours:
    """The step of these."""
    return Ours(*parts(config, case, store, **other), device)


def measure(config: str, case: Case, store: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds by name."""
    device = arguments.device
    ours = build(config, case, store, device, compile=arguments.compile)
    through = through_weak(build(config, case, store, device))
    baseline = Baseline(ours, TorchvisionBatches(ours, case, arguments.pictures), arguments.workers)
    return in_turn(clocks_of(ours, through, baseline, arguments.steps, device), arguments.repeats)


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def report(times: dict[str, dict[str, float]], images: int) -> str:
    """Two tables: images a second of whole steps, and milliseconds of the parts."""
    whole = [["method", "step", "images/s", f"× {BASELINE}"]]
    parts = [["method", "our data path", *PARTS, "sum of the baseline's four", BASELINE, f"{BASELINE} / sum"]]
    for method, taken in times.items():
        whole += [
            [method, name, f"{images / taken[name]:.1f}", f"{taken[BASELINE] / taken[name]:.2f}"]
            for name in (OURS, THROUGH_WEAK, BASELINE)
        ]
        total = sum(taken[part] for part in PARTS)
        shown = [taken["our data path"], *(taken[part] for part in PARTS), total, taken[BASELINE]]
        parts.append([method, *(f"{1e3 * value:.2f}" for value in shown), f"{taken[BASELINE] / total:.2f}"])
    return f"{table(whole)}\n\nMilliseconds a step, each part alone:\n\n{table(parts)}"


def machine(device: torch.device) -> str:
    """What a figure was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return f"{torch.get_num_threads()} thread(s), torch {torch.__version__}, {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="small")
    parser.add_argument("--method", choices=METHODS, action="append", help="both when not given")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--store", type=Path, help="8-bit RGB with labels and places; noise when not given")
    parser.add_argument("--pictures", choices=("uint8", "PIL"), default="uint8", help="what torchvision works on")
    parser.add_argument("--workers", type=int, default=0, help="of the baseline's data path")
    parser.add_argument("--compile", action="store_true", help="ours; the first round waits for it")
    parser.add_argument("--steps", type=int, default=10, help="in a row")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.empty(31 << 20, dtype=torch.uint8).fill_(0)  # as a training leaves the allocator, see views.py
    case = CASES[arguments.case]
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or make_store(Path(folder), case.size)
        times = {m: measure(METHODS[m], case, store, arguments) for m in arguments.method or METHODS}
    print(f"{case.title}, {case.size} px, batch {case.labelled} + {case.unlabelled}; {machine(arguments.device)};")
    print("ours compiled; " if arguments.compile else "", end="")
    print(f"baseline on {arguments.pictures} with {arguments.workers} worker(s); ", end="")
    print(f"median of {arguments.repeats} × {arguments.steps} steps, in turn\n")
    print(report(times, case.labelled + case.unlabelled))


if __name__ == "__main__":
    main()
