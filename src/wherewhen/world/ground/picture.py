"""Pictures of real ground: a map of the places, and patches of every class in true colour."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from wherewhen.files import atomic_path
from wherewhen.world.ground.parameters import CLASSES
from wherewhen.world.ground.scene import Ground, Record
from wherewhen.world.picture import true_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 2  # white pixels between tiles
_SEASONS = {
    "winter": ((12, 1, 2), "#2f6fb3"),
    "spring": ((3, 4, 5), "#6cb33f"),
    "summer": ((6, 7, 8), "#e8b33a"),
    "autumn": ((9, 10, 11), "#a6503a"),
}
_MAPPED = {
    "Marine waters": "#2f6fb3",
    "Pastures": "#8cc152",
    "Coniferous forest": "#14523a",
    "Agro-forestry areas": "#e8973a",
    "Urban fabric": "#c8443c",
}


def picture(ground: Ground, records: Sequence[Record], path: Path, columns: int = 8) -> None:
    """Write maps of the records' places over patches of each class, as PNG.

    Args:
        ground: Renders them.
        records: What to show; the sheet has some of them, those with few labels first.
        path: PNG file to write.
        columns: Patches of each class.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 13), dpi=80, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 2))
    _draw_seasons(records, figure.add_subplot(grid[0, 0]))
    _draw_classes(records, figure.add_subplot(grid[0, 1]))
    half = (len(CLASSES) + 1) // 2
    for place, labels in enumerate((range(half), range(half, len(CLASSES)))):
        _draw_sheet(ground, records, labels, figure.add_subplot(grid[1, place]), columns)
    figure.suptitle("wherewhen: simulated pixels on real places, times and label sets (no image here was observed)")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with atomic_path(path) as temporary:  # 256 colours are enough, and a quarter of the bytes
        Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(
            temporary, format="PNG", optimize=True
        )


def _draw_seasons(records: Sequence[Record], axis: "Axes") -> None:
    months = [int(str(record.time)[5:7]) for record in records]
    colours = [next(colour for names, colour in _SEASONS.values() if month in names) for month in months]
    axis.scatter([r.lon for r in records], [r.lat for r in records], 3, colours, linewidths=0)
    for name, (_, colour) in _SEASONS.items():
        axis.scatter([], [], 3, colour, label=name)
    axis.legend(fontsize=7, markerscale=3)
    axis.set(title=f"{len(records)} places, by season", xlabel="longitude", ylabel="latitude", aspect=1.6)


def _draw_classes(records: Sequence[Record], axis: "Axes") -> None:
    for name, colour in _MAPPED.items():
        here = [record for record in records if CLASSES.index(name) in record.labels]
        axis.scatter([r.lon for r in here], [r.lat for r in here], 3, colour, linewidths=0, label=name)
    axis.legend(fontsize=7, markerscale=3)
    axis.set(title="places of some classes", xlabel="longitude", ylabel="latitude", aspect=1.6)


def _draw_sheet(ground: Ground, records: Sequence[Record], labels: Sequence[int], axis: "Axes", columns: int) -> None:
    size = ground.parameters.numbers.size + _GAP
    sheet = np.ones((len(labels) * size, columns * size, 3))
    for row, label in enumerate(labels):
        for column, record in enumerate(_chosen(records, label, columns)):
            top, left = row * size, column * size
            patch = ground.patch(record)
            sheet[top : top + size - _GAP, left : left + size - _GAP] = true_colour(patch.pixels)
            note = f"{record.lat:.0f}°N {str(record.time)[5:10]} {(patch.mask == label).mean():.0%}"
            axis.text(left + 2, top + 8, note, color="white", fontsize=5.5)
    axis.imshow(sheet, interpolation="nearest")
    axis.set_yticks(
        [(row + 0.5) * size for row in range(len(labels))], [_wrapped(CLASSES[k]) for k in labels], fontsize=8
    )
    axis.set_xticks([])
    axis.set_xlabel("latitude, month and day, share of the class")


def _chosen(records: Sequence[Record], label: int, count: int) -> list[Record]:
    """Records with the label and few others, from many places and days, south to north."""
    having = sorted((record for record in records if label in record.labels), key=lambda record: len(record.labels))
    few = having[: 3 * count]
    spread = [few[i] for i in np.random.default_rng(label).permutation(len(few))[:count]]
    return sorted(spread, key=lambda record: record.lat)


def _wrapped(name: str, width: int = 22) -> str:
    words, lines = name.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
