"""Images a second of MoCo v2: our step beside torchgeo's task and lightly's example; and what SACo's groups cost.

MoCo v2, ResNet-18 with the published stem, 64 px, batch 256, 4,096 keys, SGD; steps in turn in one process:

- ours: the task as a Trainer drives it (its batches, views, both networks, optimiser, key network, queue), without
  the Trainer;
- torchgeo: its `MoCoTask`, version 2, whose kornia views are made of batches; a DataLoader of float tensors;
- lightly: the step of its MoCo example over torchvision's network, with its `MoCoV2Transform`; a DataLoader of PIL
  images.

Loaders work between the steps, or in as many processes as asked for. Each side has its own augmentations: crops,
flips, brightness, contrast, grey and blur in all, hue and saturation in lightly's and ours.

SACo's cost: seven semantic groups and four of texture, seen as one batch by the encoder, beside eleven plain images of
three bands, batch 32, 64 px: forward and backward of the encoder, the groups' texture counted. Install the rivals
alone, then run:

    uv pip install --no-deps torchgeo==0.8.1 lightly==1.6.0 lightly_utils kornia kornia_rs einops
    python benchmarks/contrastive.py [--threads 2] [--workers 0] [--bf16 all|ours] [--repeats 5]
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torchvision
from steps import STEPS, Driven, clocks, in_turn, machine, make_store, table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from wherewhen.bands import load_sensor
from wherewhen.build import build
from wherewhen.contrast.methods import METHODS
from wherewhen.encoders import Grouped, encode
from wherewhen.encoders.layout import channels_last
from wherewhen.store import PatchStore
from wherewhen.tasks.pretrain import Pretraining, shown_groups
from wherewhen.tasks.pretrain_data import PlacesData

SIZE, QUEUE, MOMENTUM, TEMPERATURE, RATE = 64, 4096, 0.999, 0.2, 0.03
CPU = torch.device("cpu")
OURS = "ours"


class Ours(Driven):
    """The pre-training."""

    def __init__(self, store: Path, batch: int) -> None:
        encoder = {"name": "Timm", "model": "resnet18"}
        task = Pretraining(encoder, "moco_v2", queue=QUEUE, temperature=TEMPERATURE, learning_rate=RATE)
        data = PlacesData(str(store), batch, SIZE)
        super().__init__(task, data, CPU)
        data.choose(1, 1)
        task.configure_model()
        self.ready(data.train_dataloader())


class Images(Dataset[Any]):
    """The store's images, made by `make` one by one."""

    def __init__(self, store: PatchStore, make: Callable[[Tensor], Any]) -> None:
        self.images, self.make = torch.from_numpy(store.pixels(np.arange(len(store)))), make

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.make(self.images[index])


def endless(images: Images, batch: int, workers: int) -> Any:
    """Batches at random, with replacement."""
    sampler = RandomSampler(images, replacement=True, num_samples=batch * STEPS)
    return iter(DataLoader(images, batch, sampler=sampler, num_workers=workers, drop_last=True))


def torchgeo_step(store: PatchStore, batch: int, workers: int) -> Callable[[], None]:
    """A step of torchgeo's task."""
    from torchgeo.trainers import MoCoTask  # type: ignore[import-not-found,import-untyped,unused-ignore]

    task = MoCoTask(
        "resnet18",
        in_channels=3,
        version=2,
        layers=2,
        hidden_dim=512,
        output_dim=128,
        lr=RATE,
        weight_decay=1e-4,
        temperature=TEMPERATURE,
        memory_bank_size=QUEUE,
        moco_momentum=MOMENTUM,
        size=SIZE,
    )
    task.log = lambda *_, **__: None
    task.train()
    optimizer = task.configure_optimizers()["optimizer"]
    batches = endless(Images(store, lambda x: {"image": x.float() / 255}), batch, workers)

    def step() -> None:
        loss = task.training_step(next(batches), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def lightly_step(store: PatchStore, batch: int, workers: int) -> Callable[[], None]:
    """A step of lightly's MoCo example."""
    from lightly.loss import NTXentLoss  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from lightly.models.modules import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        MoCoProjectionHead,
    )
    from lightly.models.utils import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        deactivate_requires_grad,
        update_momentum,
    )
    from lightly.transforms import MoCoV2Transform  # type: ignore[import-not-found,import-untyped,unused-ignore]

    backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1], nn.Flatten())
    head = MoCoProjectionHead(512, 512, 128)
    key_backbone, key_head = copy.deepcopy(backbone), copy.deepcopy(head)
    deactivate_requires_grad(key_backbone)
    deactivate_requires_grad(key_head)
    criterion = NTXentLoss(TEMPERATURE, memory_bank_size=(QUEUE, 128))
    learned = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(learned, RATE, momentum=0.9, weight_decay=1e-4)
    views = MoCoV2Transform(input_size=SIZE, gaussian_blur=0.5)
    batches = endless(Images(store, lambda x: views(torchvision.transforms.functional.to_pil_image(x))), batch, workers)

    def step() -> None:
        update_momentum(backbone, key_backbone, MOMENTUM)
        update_momentum(head, key_head, MOMENTUM)
        query, key = next(batches)
        with torch.no_grad():
            keys = key_head(key_backbone(key)).detach()
        loss = criterion(head(backbone(query)), keys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def groups(batch: int = 32) -> dict[str, Callable[[], None]]:
    """An encoder of SACo's groups, and the same encoder on as many plain images."""
    bands = load_sensor("sentinel2_l2a").bands
    spec = shown_groups({"name": "Timm", "model": "resnet18"}, METHODS["saco"])
    about = {"channels": len(bands), "image_size": SIZE, "bands": tuple(band.name for band in bands)}
    grouped = channels_last(build(spec, Grouped, "wherewhen.encoders", **about, spread=0.5))
    plain = channels_last(build(spec["encoder"], nn.Module, "wherewhen.encoders", channels=3, image_size=SIZE))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, len(bands), SIZE, SIZE, generator=generator)
    shown = len(grouped.groups) + len(grouped.patterns)
    images = torch.randn(shown * batch, 3, SIZE, SIZE, generator=generator)

    def work(encoder: nn.Module, x: Tensor) -> Callable[[], None]:
        return lambda: cast(None, encode(encoder, x).pooled.sum().backward())

    return {f"SACo's {shown} groups": work(grouped, image), f"{shown} plain images": work(plain, images)}


def in_bfloat16(step: Callable[[], None]) -> Callable[[], None]:
    """The same step under automatic bfloat16, as `bf16-mixed` trains."""
    return cast(Callable[[], None], torch.autocast("cpu", torch.bfloat16)(step))


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=0, help="of torchgeo's and lightly's loaders")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--bf16",
        choices=("nobody", "ours", "all"),
        default="nobody",
        help="who works under automatic bfloat16: ours alone as our configurations train, which say bf16-mixed",
    )
    parser.add_argument("--steps", type=int, default=1, help="in a row")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder), SIZE)
        store = PatchStore.open(path)
        contestants = {OURS: Ours(path, arguments.batch).step}
        rivals = {"torchgeo": torchgeo_step, "lightly": lightly_step}
        for name, make in rivals.items():
            if find_spec(name):
                contestants[name] = make(store, arguments.batch, arguments.workers)
        halved = {"nobody": (), "ours": (OURS,), "all": tuple(contestants)}[arguments.bf16]
        contestants |= {name: in_bfloat16(contestants[name]) for name in halved}
        whole = in_turn(clocks(contestants, arguments.steps, CPU), arguments.repeats)
        parts = groups()
        parts |= {name: in_bfloat16(parts[name]) for name in parts if arguments.bf16 == "all"}
        cost = in_turn(clocks(parts, arguments.steps, CPU), arguments.repeats)
    print(f"ResNet-18, {SIZE} px, batch {arguments.batch}, {QUEUE:,} keys; {machine(CPU)}; ", end="")
    print(f"in bfloat16: {arguments.bf16}; ", end="")
    print(f"{arguments.workers} worker(s); median of {arguments.repeats} × {arguments.steps} steps, in turn\n")
    rows = [["MoCo v2", "images/s", "ours is faster by"]]
    rows += [[name, f"{arguments.batch / t:.1f}", f"{t / whole[OURS]:.2f}"] for name, t in whole.items()]
    print(table(rows), end="\n\n")
    plain = cost[next(name for name in cost if "plain" in name)]
    rows = [["forward and backward, batch 32", "ms", "× plain"]]
    print(table(rows + [[name, f"{1e3 * t:.0f}", f"{t / plain:.2f}"] for name, t in cost.items()]))


if __name__ == "__main__":
    main()
