"""Convolutions with weights channels last beside PyTorch's own order: steps of training, and answers for maps.

The same network twice, in turn in one process, on the same images; only the weights lie in another order. Run:

    python benchmarks/layout.py [--threads 2] [--device cpu] [--repeats 5]
"""

import argparse
import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from steps import clocks, in_turn, machine, table
from torch import Tensor, nn

from wherewhen.decoders import UNet
from wherewhen.encoders import DenseLearner, Timm, ViT, encode
from wherewhen.encoders.layout import channels_last

OURS, PLAIN = "channels last", "PyTorch's order"


class Case(NamedTuple):
    """A network and what it is shown."""

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int, int]  # (N, C, H, W)
    trained: bool  # forward and backward, or an answer alone
    bf16: bool


def unet() -> DenseLearner:
    """As maps are made by."""
    encoder = Timm(4, 256, model="resnet18")
    return DenseLearner(encoder, UNet(encoder.map_widths, encoder.map_strides), 6)


CASES = (
    Case("training, ResNet-18, 64 px", lambda: Timm(3, 64), (256, 3, 64, 64), trained=True, bf16=True),
    Case("training, ResNet-18, 64 px", lambda: Timm(3, 64), (256, 3, 64, 64), trained=True, bf16=False),
    Case("training, ResNet-10-T, 32 px", lambda: Timm(3, 32, "resnet10t"), (64, 3, 32, 32), trained=True, bf16=True),
    Case("training, ViT 192 × 4, patch 8", lambda: ViT(3, 32, 8, 192, 4, 3), (64, 3, 32, 32), trained=True, bf16=True),
    Case("answering, ResNet-18 and U-Net", unet, (8, 4, 256, 256), trained=False, bf16=False),
)


def work(network: nn.Module, case: Case, device: torch.device) -> Callable[[], None]:
    """One step, or one answer."""
    network.to(device).train(case.trained)
    images = torch.randn(case.shape, generator=torch.Generator().manual_seed(0)).to(device)

    def asked() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=case.bf16):
            dense = isinstance(network, DenseLearner)
            found: Tensor = network(images).logits if dense else encode(network, images).pooled
        return found.float()

    def step() -> None:
        asked().square().mean().backward()

    @torch.inference_mode()
    def answer() -> None:
        asked()

    return step if case.trained else answer


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [["", "numbers", f"{OURS}, ms", f"{PLAIN}, ms", "faster by"]]
    for case in CASES:
        torch.manual_seed(0)
        plain = case.make()
        contestants = {OURS: channels_last(copy.deepcopy(plain)), PLAIN: plain}
        works = {name: work(network, case, arguments.device) for name, network in contestants.items()}
        taken = in_turn(clocks(works, 1, arguments.device), arguments.repeats)
        numbers = "bfloat16" if case.bf16 else "float32"
        ratio = f"{taken[PLAIN] / taken[OURS]:.2f}"
        rows.append([case.title, numbers, f"{1e3 * taken[OURS]:.0f}", f"{1e3 * taken[PLAIN]:.0f}", ratio])
    print(f"{machine(arguments.device)}; median of {arguments.repeats}, in turn\n\n{table(rows)}")


if __name__ == "__main__":
    main()
