"""Pictures of patches within the page.

Notation: n patches, H × W pixels, S side of a thumbnail.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from wherewhen.analyse.patches import coloured
from wherewhen.plots import true_colour
from wherewhen.tasks.samples import Pairs, Samples

ACROSS = 32  # thumbnails of a sheet along each side
SHEET = ACROSS**2
SHEETS_BYTES = 2_700_000  # of all thumbnails, before they become text
QUALITIES = (70, 55, 40, 25, 10)
LARGEST = 128  # pixels of a picture in a gallery


def side(count: int, patch: int) -> int:
    """Pixels of a thumbnail: the more there are, the smaller."""
    return min(patch, 48 if count <= 1500 else 40 if count <= 3000 else 32)


def sheets(samples: Samples, rows: np.ndarray) -> tuple[int, list[str]]:
    """Thumbnails in true colour, row by row on sheets of `SHEET`; their side, and the sheets as data addresses.

    Many small pictures on one sheet take a third of the bytes that they take each by itself.
    """
    size = side(len(rows), samples.shape[-1])
    drawn = [sheet(samples, rows[start : start + SHEET], size) for start in range(0, len(rows), SHEET)]
    for quality in QUALITIES:
        files = [encoded(picture, "WEBP", quality=quality, method=4) for picture in drawn]
        if sum(map(len, files)) <= SHEETS_BYTES:
            break
    return size, [address(file, "webp") for file in files]


def sheet(samples: Samples, rows: np.ndarray, size: int) -> Image.Image:
    """One sheet of up to `SHEET` thumbnails."""
    across = min(ACROSS, len(rows))
    whole = Image.new("RGB", (size * across, size * -(-len(rows) // across)))
    for number, picture in enumerate(images(samples, rows)[:, -1]):
        small = Image.fromarray(picture).resize((size, size), Image.Resampling.BOX)
        whole.paste(small, (size * (number % across), size * (number // across)))
    return whole


def images(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """True colour of samples, (n, dates, H, W, 3) uint8."""
    patches = samples.members[rows] if isinstance(samples, Pairs) else rows[:, None]
    flat = patches.ravel()
    parts = [true_colour(samples.store, flat[start : start + SHEET]) for start in range(0, len(flat), SHEET)]
    pictures = (np.concatenate(parts) * 255).round().astype(np.uint8)
    return pictures.reshape(*patches.shape, *pictures.shape[1:])


def photograph(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 as a data address, at most `LARGEST` pixels wide."""
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return address(encoded(image, "WEBP", quality=80, method=4), "webp")


def painted(mask: np.ndarray, classes: int) -> str:
    """Classes of pixels (H, W), 255 unknown, as a data address."""
    image = Image.fromarray((coloured(mask, classes) * 255).round().astype(np.uint8))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.NEAREST)
    return address(encoded(image.quantize(64), "PNG", optimize=True), "png")


def encoded(image: Image.Image, form: str, **settings: Any) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def address(content: bytes, form: str) -> str:
    """Bytes of a picture as a data address."""
    return f"data:image/{form};base64,{base64.b64encode(content).decode('ascii')}"
