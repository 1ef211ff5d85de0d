"""Which files make a scene: one with all its bands, or one a band, by their names.

A band is found at the end of a name (`*_B02_10m.tif`, `B02.tif`, `*_SR_B4.TIF`); what stands before is the scene.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wherewhen.errors import UserError
from wherewhen.scenes.clouds import CODES

SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
_WORDS = 3  # of a file's name that may be a band's, such as QA_PIXEL

_Start = tuple[Path, str]  # folder, and what stands before the band


class Group(NamedTuple):
    """The files of one scene.

    Args:
        name: Of the file without its band, or of the folder.
        bands: Key of a band (see `key`) -> its file; the key is empty for a file that holds several.
        masks: Key of a mask -> its file.
        product: Name of a SAFE folder, else empty.
    """

    name: str
    bands: dict[str, Path]
    masks: dict[str, Path]
    product: str = ""

    @property
    def first(self) -> Path:
        """The file that comes first by its band."""
        return self.bands[min(self.bands)]


def key(name: str) -> str:
    """What ways of writing a band have in common: `B2`, `b02` and `SR_B2` are one, `Red Edge` and `rededge` too."""
    name = re.sub(r"^sr[_ ]", "", name.strip().lower())
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[^a-z0-9]", "", name))


def group(paths: Sequence[Path], names: Collection[str], mask: str | None = None) -> tuple[list[Group], list[Path]]:
    """Scenes in files and folders, in the order of their names, and rasters beside them that are of no use.

    Args:
        paths: Files, and folders that are searched at any depth.
        names: Keys of bands.
        mask: What a band or file of clouds is called, besides those of `clouds.CODES`.

    Raises:
        UserError: A path does not exist or is a part of a product, no raster is there, or a band of a scene is there
            twice.
    """
    products: list[Path] = []
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; give GeoTIFFs, SAFE folders, or folders of them")
        if product := next(filter(_is_safe, path.absolute().parents), None):
            raise UserError(f"{path} is a part of a product, whose name says what its numbers mean; give {product}")
        inside = [path] if path.is_file() or _is_safe(path) else sorted(filter(_is_shown, path.rglob("*")))
        products += [entry for entry in inside if entry.is_dir() and _is_safe(entry)]
        files |= dict.fromkeys(e for e in inside if e.suffix.lower() in SUFFIXES and e.is_file() and not _in_safe(e))
    masks = {*CODES, *([key(mask)] if mask else [])}
    found = [_product(path, names, masks) for path in dict.fromkeys(products)]
    loose, aside = _loose(list(files), names, masks)
    if not found and not loose:
        raise UserError(
            f"no raster ({', '.join(SUFFIXES)}) in {', '.join(map(str, paths))}; give the folder of imagery"
        )
    return sorted(_told_apart(found + loose), key=lambda one: one.name), aside


def _is_safe(path: Path) -> bool:
    return path.suffix.upper() == ".SAFE"


def _in_safe(path: Path) -> bool:
    return any(_is_safe(parent) for parent in path.parents)


def _is_shown(path: Path) -> bool:
    """What file systems and programs keep beside files is hidden: `._B02.tif` of a Mac is no raster."""
    return not path.name.startswith(".")


def _product(folder: Path, names: Collection[str], masks: Collection[str]) -> Group:
    """A SAFE folder: all of `GRANULE/*/IMG_DATA`, each band at its finest."""
    made = Group(folder.stem, {}, {}, folder.stem)
    for path in sorted(folder.glob("**/IMG_DATA/**/*")):
        if path.suffix.lower() in SUFFIXES:
            band, _ = split(path.stem, {*names, *masks})
            _add(made.masks if band in masks else made.bands, band, path)
    made.bands.pop("", None)
    if not made.bands:
        raise UserError(f"{folder} has no band in GRANULE/*/IMG_DATA; unpack the product again")
    return made


def _loose(files: Sequence[Path], names: Collection[str], masks: Collection[str]) -> tuple[list[Group], list[Path]]:
    """Files outside SAFE folders, by folder and what stands before the band."""
    made: dict[_Start, Group] = {}
    nameless: list[Path] = []
    clouds: list[tuple[Path, str, str]] = []
    for path in files:
        band, before = split(path.stem, {*names, *masks})
        if band in masks:
            clouds.append((path, band, before))
        elif not band:
            nameless.append(path)
        else:
            one = made.setdefault((path.parent, before), Group(before or path.parent.name, {}, {}))
            _add(one.bands, band, path)
    aside = [made.pop(start).first for start in _strays(made)]
    for start, one in list(made.items()):
        if len(one.bands) == 1 and _count(one.first) > 1:  # a name that only looks like a band's
            nameless.append(made.pop(start).first)
    of_bands = set(made)
    for path in sorted(nameless):
        beside = any((path.parent, path.stem[:end]) in of_bands for end in range(len(path.stem) + 1))
        if beside and _count(path) == 1:
            aside.append(path)
        else:
            made[path.parent, path.stem] = Group(path.stem, {"": path}, {})
    for path, band, before in clouds:
        for one in _shown_by(made, path.parent, before):
            _add(one.masks, band, path)
    return list(made.values()), aside


def _strays(made: Mapping[_Start, Group]) -> list[_Start]:
    """Groups of one file whose names go on where those of several end: Landsat's ST_B10 beside SR_B1 to SR_B7."""
    several = {(folder, before) for (folder, before), one in made.items() if before and len(one.bands) > 1}
    return [
        (folder, before)
        for (folder, before), one in made.items()
        if len(one.bands) == 1
        and any((folder, before[: gap.start()]) in several for gap in re.finditer(r"[_.\- ]", before))
    ]


def _shown_by(made: Mapping[_Start, Group], folder: Path, before: str) -> list[Group]:
    """Scenes that a mask is of: the one of its name, or all in its folder whose names go on from it."""
    if (folder, before) in made:
        return [made[folder, before]]
    here = [one for (there, start), one in made.items() if there == folder and start.startswith(before)]
    return here if before or len(here) == 1 else []


def split(stem: str, names: Collection[str]) -> tuple[str, str]:
    """Key of the band at the end of a name and what stands before it; an empty key where there is none."""
    stem = re.sub(r"_\d+m$", "", stem, flags=re.IGNORECASE)
    words = list(re.finditer(r"[^_.\- ]+", stem))
    for word in words[-_WORDS:]:
        if (band := key(stem[word.start() :])) in names:
            return band, stem[: word.start()].rstrip("_.- ")
    return "", stem


def _add(files: dict[str, Path], band: str, path: Path) -> None:
    """Keep the finer of two files of a band."""
    if band in files and band:
        sides = [_side(files[band]), _side(path)]
        if sides[0] == sides[1]:
            raise UserError(f"band {band} is there twice, {files[band]} and {path}; move one of them elsewhere")
        if sides[0] < sides[1]:
            return
    files[band] = path


def _side(path: Path) -> int:
    found = re.search(r"_(\d+)m$", path.stem, flags=re.IGNORECASE)
    return int(found[1]) if found else 0


def _count(path: Path) -> int:
    """Bands of a file; 0 where it cannot be read, which is said when it is opened as a scene."""
    import rasterio

    from wherewhen.ingest.rasters import readable

    try:
        with readable(), rasterio.open(path) as raster:
            return int(raster.count)
    except ValueError:
        return 0


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """The same groups, the folder before the name where two names are alike, and a number if that is not enough."""
    alike = Counter(one.name for one in groups)
    seen: Counter[str] = Counter()
    named = []
    for one in groups:
        name = f"{one.first.parent.name}-{one.name}" if alike[one.name] > 1 else one.name
        named.append(one._replace(name=f"{name}-{seen[name] + 1}" if seen[name] else name))
        seen[name] += 1
    return named
