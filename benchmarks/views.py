"""Time of the weak and the strong view of a batch, beside torchvision's functions image by image.

Both sides do the work of the same draws: crop, flips, three operations and cutout of every sample. torchvision
gets RGB as PIL images and as uint8 tensors, a quarter of the memory that our float32 takes, and any number
of bands as float32 tensors, which reflectance needs. It applies every geometric operation by itself, as its
RandAugment does, returns no grid, and its results are not stacked. It refuses autocontrast, brightness,
contrast and sharpness for other than one or three bands: there, posterize takes their place on both sides.
Times are of one process that has allocated and freed large blocks before, as any training step does; without
that, the system's allocator hands memory back and forth. Run:

    python benchmarks/views.py [--threads 1] [--device cpu]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from wherewhen.views import Draws, Placement, Views
from wherewhen.views.policy import NAMES

BATCH = 64
CASES = ((3, 32), (3, 64), (12, 64))
ONLY_THREE_BANDS = ("autocontrast", "brightness", "contrast", "sharpness")

Picture = Image.Image | Tensor

OPERATIONS: dict[str, Callable[[Picture, float], Picture]] = {
    "identity": lambda image, v: image,
    "autocontrast": lambda image, v: tv.autocontrast(image),
    "brightness": tv.adjust_brightness,
    "colour": tv.adjust_saturation,
    "contrast": tv.adjust_contrast,
    "equalize": lambda image, v: tv.equalize(image),
    "posterize": lambda image, v: tv.posterize(image, int(v)),
    "sharpness": tv.adjust_sharpness,
    "solarize": lambda image, v: tv.solarize(image, v * top(image)),
    "rotate": lambda image, v: affine(image, angle=-v),
    "shear_x": lambda image, v: affine(image, shear=(v, 0)),
    "shear_y": lambda image, v: affine(image, shear=(0, v)),
    "translate_x": lambda image, v: affine(image, move=(v, 0)),
    "translate_y": lambda image, v: affine(image, move=(0, v)),
}


def top(image: Picture) -> float:
    return 1.0 if isinstance(image, Tensor) and image.is_floating_point() else 255.0


def affine(
    image: Picture, angle: float = 0, move: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)
) -> Picture:
    size = tv.get_size(image)[0]
    degrees = [float(torch.rad2deg(torch.tensor(s).atan())) for s in shear]
    pixels = [-int(size * m) for m in move]
    fill = [top(image) / 2] * tv.get_num_channels(image)
    centre = None if angle else [0.0, 0.0]
    bilinear = InterpolationMode.BILINEAR
    moved = tv.affine(image, angle, pixels, 1.0, degrees, interpolation=bilinear, fill=fill, center=centre)
    return cast(Picture, moved)


def place(image: Picture, placement: Placement, slot: int, reach: int) -> Picture:
    size = tv.get_size(image)[0]
    x, y = (placement.shift[slot] + reach).tolist()
    left_right, upside_down = placement.flip[slot].tolist()
    image = tv.crop(tv.pad(image, [reach], padding_mode="reflect"), y, x, size, size)
    image = tv.horizontal_flip(image) if left_right else image
    return cast(Picture, tv.vertical_flip(image) if upside_down else image)


def weak(images: list[Picture], draws: Draws, reach: int) -> list[Picture]:
    return [place(image, draws.weak, slot, reach) for slot, image in enumerate(images)]


def strong(images: list[Picture], draws: Draws, reach: int) -> list[Picture]:
    return [one_strong(image, draws, slot, reach) for slot, image in enumerate(images)]


def one_strong(image: Picture, draws: Draws, slot: int, reach: int) -> Picture:
    image = place(image, draws.strong, slot, reach)
    for code, value in zip(draws.operation[slot].tolist(), draws.value[slot].tolist(), strict=True):
        image = OPERATIONS[NAMES[code]](image, value)
    x, y, side = (draws.cutout[slot] * draws.size).tolist()
    left, upper = max(0, round(x - side / 2)), max(0, round(y - side / 2))
    right, lower = (min(draws.size, round(middle + side / 2)) for middle in (x, y))
    if isinstance(image, Tensor):
        grey = torch.tensor(top(image) / 2).to(image.dtype)
        return cast(Tensor, tv.erase(image, upper, left, lower - upper, right - left, grey))
    image.paste((128,) * 3, (left, upper, right, lower))
    return image


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return median(times[2:])


def measure(bands: int, size: int, device: torch.device, repeats: int) -> list[str]:
    views, generator = Views(colour=bands == 3), torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, bands, size, size, generator=generator)
    levels = (images * 255).byte()
    draws = views.draw(BATCH, size, generator)
    if bands != 3:
        left_out = torch.isin(draws.operation, torch.tensor([NAMES.index(name) for name in ONLY_THREE_BANDS]))
        draws = replace(
            draws,
            operation=draws.operation.masked_fill(left_out, NAMES.index("posterize")),
            value=draws.value.masked_fill(left_out, 5),
        )
    reach, images = int(size * (1 - views.crop_ratio)), images.to(device)
    rivals: dict[str, list[Picture]] = {"float32": list(images.cpu())}
    if bands == 3:
        rivals["uint8"] = list(levels)
        rivals["PIL"] = [Image.fromarray(level.permute(1, 2, 0).numpy()) for level in levels]
    lines = []
    for kind, ours, theirs in (("weak", views.weak, weak), ("strong", views.strong, strong)):
        here = milliseconds(partial(ours, images, draws), device, repeats)
        for rival, pictures in rivals.items():
            there = milliseconds(partial(theirs, pictures, draws, reach), torch.device("cpu"), repeats)
            label = f"{bands:>2} bands {size} px {kind:<6}  {here:8.2f} ms"
            lines.append(f"{label}   torchvision {rival:<7} {there:8.2f} ms   ratio {there / here:6.1f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.empty(31 << 20, dtype=torch.uint8).fill_(0)  # see above
    where = arguments.device.type
    print(f"batch {BATCH}, median of {arguments.repeats}, views on {where}, {arguments.threads} thread(s)")
    for bands, size in CASES:
        print("\n".join(measure(bands, size, arguments.device, arguments.repeats)))


if __name__ == "__main__":
    main()
