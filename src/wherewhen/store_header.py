"""`store.json`: what a PatchStore says of itself."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from wherewhen.bands import Band, check_names_differ, parse_band
from wherewhen.errors import UserError, naming
from wherewhen.files import read_json, write_json
from wherewhen.geoparquet import LabelKind

FORMAT = "wherewhen.patchstore"
VERSION = 1
DTYPES = ("uint8", "uint16", "int16")


@dataclass(frozen=True)
class FileFacts:
    """Length in bytes and hexadecimal SHA-256 of one file of pixels or masks."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class StoreHeader:
    """What a store holds. Whoever prepares one gives the first part; building it fills in the second.

    Args:
        bands: The C bands, in the order of axis 1 of the pixels.
        classes: Names of the classes that labels and masks index.
        label_kind: `one` class a patch, `many`, or `none`.
        pixel_size: Metres a pixel, None when unknown.
        provenance: Where the data come from and how they were made.
        licence: Licence of the data.
        patches: Number N of patches.
        shape: (C, H, W) of one patch.
        dtype: NumPy name of the stored integers.
        mean: Mean of each band over the training split (over all patches where none is), physical units.
        std: Population standard deviation likewise.
        files: Facts of every file of pixels and masks, by file name.
        skipped: Identifier and reason of every patch that was planned and left out.
        plan: SHA-256 of the plan that the store was built from.
    """

    bands: tuple[Band, ...]
    classes: tuple[str, ...] = ()
    label_kind: LabelKind = "none"
    pixel_size: float | None = None
    provenance: str = ""
    licence: str = ""
    patches: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)
    dtype: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: dict[str, FileFacts] = dataclasses.field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    plan: str = ""

    def __post_init__(self) -> None:
        if not self.bands:
            raise UserError("a store needs at least one band; name the bands of axis 1")
        check_names_differ(self.bands, "the store")
        if self.label_kind not in get_args(LabelKind):
            raise UserError(f"label kind {self.label_kind!r} is unknown; use one of {get_args(LabelKind)}")
        if self.label_kind != "none" and not self.classes:
            raise UserError(f"labels of kind {self.label_kind!r} need class names; give `classes`")
        if len(set(self.classes)) != len(self.classes):
            raise UserError(f"class names must differ, but are {', '.join(self.classes)}; rename one")

    def write(self, path: Path) -> None:
        """Write `store.json` atomically."""
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON can hold, led by format and version."""
        return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def read(cls, path: Path) -> "StoreHeader":
        """Read `store.json`.

        Raises:
            UserError: It is absent, broken, of another format or version, or a field is missing or wrong.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{path} is not the header of a PatchStore; choose a folder made by wherewhen prepare")
        if content.get("version") != VERSION:
            raise UserError(
                f"{path}: format version {content.get('version')!r}, but this wherewhen reads {VERSION}; "
                "prepare the store anew, or install the wherewhen that made it"
            )
        try:
            with naming(path):
                return cls._parse({k: v for k, v in content.items() if k not in ("format", "version")})
        except KeyError as error:
            raise UserError(f"{path}: field {error} is missing; restore the file or prepare anew") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: a field is wrong: {error}; restore the file or prepare anew") from error

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> "StoreHeader":
        for field in dataclasses.fields(cls):
            content[field.name]  # a KeyError names what is missing
        bands, height, width = (int(size) for size in content["shape"])
        header = cls(
            **content
            | {
                "bands": tuple(parse_band(entry) for entry in content["bands"]),
                "classes": tuple(map(str, content["classes"])),
                "pixel_size": None if content["pixel_size"] is None else float(content["pixel_size"]),
                "provenance": str(content["provenance"]),
                "licence": str(content["licence"]),
                "shape": (bands, height, width),
                "mean": tuple(float(value) for value in content["mean"]),
                "std": tuple(float(value) for value in content["std"]),
                "files": {name: FileFacts(**facts) for name, facts in content["files"].items()},
                "skipped": tuple((str(identifier), str(reason)) for identifier, reason in content["skipped"]),
            }
        )
        if not {bands, len(header.mean), len(header.std)} == {len(header.bands)}:
            raise ValueError(f"{len(header.bands)} bands need as many planes, means and deviations")
        if header.dtype not in DTYPES:
            raise ValueError(f"dtype {header.dtype!r} is none of {', '.join(DTYPES)}")
        return header
