"""Time and memory of local binary patterns, beside scikit-image's function plane by plane, on the same pixels.

Both get 64 images of 13 bands and 64 × 64 pixels in [0, 255], 16 points, radius 2, method uniform; scikit-image 8-bit
integers, which it asks for, ours float32. Codes are compared first. Time is a median; scikit-image's function runs in
one thread, because it has one. Memory is what the process's resident set grows by at its highest, while larger images
are computed, so that what the allocator holds from before counts for little; Linux only. Run:

    python benchmarks/texture.py [--threads 2] [--device cpu]
"""

import argparse
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from skimage.feature import local_binary_pattern as scikit_image
from torch import Tensor

from wherewhen.views import texture
from wherewhen.views.texture import local_binary_pattern

SHAPE = (64, 13, 64, 64)
LARGE = (64, 13, 256, 256)


def stepwise(image: Tensor) -> Tensor:
    """The path without a compiler."""
    worth, texture.WORTH_COMPILING = texture.WORTH_COMPILING, 1 << 62
    try:
        return local_binary_pattern(image)
    finally:
        texture.WORTH_COMPILING = worth


def plane_by_plane(image: np.ndarray) -> np.ndarray:
    codes = [scikit_image(plane, 16, 2, "uniform") for plane in image.reshape(-1, *image.shape[-2:])]
    return np.reshape(codes, image.shape)


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return median(times)


def growth(work: Callable[[], object], device: torch.device) -> int:
    """Bytes by which memory grows at its highest."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest is forgotten
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, generator = arguments.device, torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, SHAPE, generator=generator, dtype=torch.uint8)
    image, rival = levels.to(device, torch.float32), levels.numpy()

    start = time.perf_counter()
    local_binary_pattern(image)
    print(f"first call, which compiles: {time.perf_counter() - start:.1f} s")
    expected = torch.from_numpy(plane_by_plane(rival))
    for name, work in (("fused", local_binary_pattern), ("step by step", stepwise)):
        same = (work(image).cpu() == expected).double().mean().item()
        print(f"{name}: {same:.4%} of codes as scikit-image's")

    theirs = milliseconds(partial(plane_by_plane, rival), max(3, arguments.repeats // 3))
    print(f"{SHAPE} on {device.type}, {arguments.threads} thread(s), median of {arguments.repeats}")
    print(f"scikit-image  {theirs:8.1f} ms")
    for name, work in (("fused", local_binary_pattern), ("step by step", stepwise)):
        ours = milliseconds(partial(work, image), arguments.repeats)
        print(f"{name:<13} {ours:8.1f} ms   ratio {theirs / ours:6.1f}")

    large = torch.randint(0, 256, LARGE, generator=generator).to(device, torch.float32)
    size = large.numel() * large.element_size()
    for name, work in (("fused", local_binary_pattern), ("step by step", stepwise)):
        peak = 1 + growth(partial(work, large), device) / size
        print(f"{name}: memory at its highest {peak:.2f} times the {size >> 20} MiB of the images, these included")


if __name__ == "__main__":
    main()
