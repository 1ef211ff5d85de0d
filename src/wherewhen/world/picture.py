"""Pictures of a world: its maps, and a contact sheet of patches in true colour."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from wherewhen.files import atomic_path
from wherewhen.world.climate import Climate
from wherewhen.world.cover import COVERS
from wherewhen.world.fields import Array
from wherewhen.world.place import Site, World, day_of_year
from wherewhen.world.render import OFFSET, SCALE
from wherewhen.world.spectra import BANDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COVER_COLOURS = (
    "#2f6fb3", "#3f9b45", "#14523a", "#a9d46a", "#f0d264",
    "#e8973a", "#8e4a8f", "#8a8f3c", "#b5876b", "#c8443c",
)  # fmt: skip
_SEA = "#ccdeed"
_GAP = 2  # white pixels between tiles


def true_colour(pixels: Array, white: float = 0.3) -> Array:
    """Stored pixels `(12, H, W)` as a picture `(H, W, 3)` in 0…1; reflectance `white` and above is full."""
    red_green_blue = pixels[[BANDS.index(band) for band in ("B04", "B03", "B02")]].astype(np.float32)
    reflectance = (red_green_blue + OFFSET) * SCALE
    return np.asarray(np.clip(reflectance / white, 0, 1) ** (1 / 1.6)).transpose(1, 2, 0)


def picture(world: World, path: Path, places: int = 3, visits: int = 4) -> None:
    """Write maps of cover, height and temperature over a contact sheet, as PNG.

    Args:
        world: The world to draw.
        path: PNG file to write.
        places: Places of each cover, from south to north.
        visits: Dates of each place, through the year.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 17), dpi=80, layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 2.35))
    _draw_maps(world, [figure.add_subplot(grid[0, column]) for column in range(3)])
    _draw_sheet(world, figure.add_subplot(grid[1, :]), places, visits)
    figure.suptitle(f"wherewhen: synthetic world {world.seed} (no real place, no real image)")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with atomic_path(path) as temporary:  # 256 colours are enough, and a quarter of the bytes
        Image.open(drawn).convert("RGB").quantize(256).save(temporary, format="PNG", optimize=True)


def _grid(world: World, rows: int = 240, columns: int = 260) -> Climate:
    ground = world.parameters.ground
    lat = np.linspace(ground.latitude[1], ground.latitude[0], rows)
    lon = np.linspace(*ground.longitude, columns)
    return world.land(*np.meshgrid(lat, lon, indexing="ij"))


def _draw_maps(world: World, axes: "list[Axes]") -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch as Swatch

    climate, ground = _grid(world), world.parameters.ground
    sea = climate.land <= 0
    extent = (*ground.longitude, *ground.latitude)
    probable = world.covers(climate).argmax(-1).astype(float)
    layers: tuple[tuple[str, Array, str | ListedColormap, tuple[float, float]], ...] = (
        ("most probable cover", probable, ListedColormap(COVER_COLOURS), (-0.5, 9.5)),
        ("height, km", climate.height, "gist_earth", (-0.8, 3)),
        ("annual mean temperature, °C", climate.temperature, "RdYlBu_r", (-8, 20)),
    )
    for axis, (title, values, colours, limits) in zip(axes, layers, strict=True):
        axis.set_facecolor(_SEA)
        shown = axis.imshow(
            np.where(sea, np.nan, values), cmap=colours, extent=extent, aspect=1.6,
            vmin=limits[0], vmax=limits[1], interpolation="nearest",
        )  # fmt: skip
        axis.set(title=title, xlabel="longitude", ylabel="latitude")
        if values is not probable:
            axis.figure.colorbar(shown, ax=axis, shrink=0.6)
    swatches = [Swatch(color=c, label=name) for c, name in zip(COVER_COLOURS, COVERS, strict=True)]
    axes[0].legend(handles=swatches, fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _draw_sheet(world: World, axis: "Axes", places: int, visits: int) -> None:
    size = world.parameters.layout.size + _GAP
    sheet = np.ones((len(COVERS) * size, places * visits * size, 3))
    for row, sites in enumerate(_typical(world, places)):
        for column in range(places * visits):
            site, visit = sites[column // visits], column % visits
            tile = true_colour(world.patch(site.number, visit=visit, visits=visits).pixels)
            top, left = row * size, column * size
            sheet[top : top + size - _GAP, left : left + size - _GAP] = tile
            when = world.time(site, 0, visit, visits)
            note = f"{site.climate.lat:.0f}°N d{day_of_year(when):.0f}"
            axis.text(left + 2, top + 8, note, color="white", fontsize=5.5)
    axis.imshow(sheet, interpolation="nearest")
    axis.set_yticks([(row + 0.5) * size for row in range(len(COVERS))], COVERS)
    axis.set_xticks([])


def _typical(world: World, places: int) -> list[list[Site]]:
    """For each cover, the first `places` sites whose main cover it is, from south to north."""
    found: list[list[Site]] = [[] for _ in COVERS]
    number = 0
    while any(len(sites) < places for sites in found):
        site = world.site(number)
        if len(found[site.main]) < places:
            found[site.main].append(site)
        number += 1
    return [sorted(sites, key=lambda site: float(site.climate.lat)) for sites in found]
