"""Small fakes in the real layouts, generated: nothing of a dataset lies in the repository."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

EUROSAT_CLASSES = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)


class FakeEuroSAT(NamedTuple):
    """Paths of a fake as zip and unpacked, and its table of places."""

    zip: Path
    folder: Path
    locations: Path


def jpeg(seed: int = 0, size: tuple[int, int] = (64, 64)) -> bytes:
    """A smooth random RGB picture as JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_eurosat(where: Path, per_class: int = 5) -> FakeEuroSAT:
    """`per_class` pictures of each class, numbered from 1, one folder deep, and a row of the table for each."""
    fake = FakeEuroSAT(where / "EuroSAT_RGB.zip", where / "EuroSAT_RGB", where / "locations.csv")
    rng = np.random.default_rng(1)
    lines = ["file,class_name,lat,lon"]
    with zipfile.ZipFile(fake.zip, "w") as archive:
        for label, name in enumerate(EUROSAT_CLASSES):
            (fake.folder / name).mkdir(parents=True)
            for number in range(1, per_class + 1):
                file, data = f"{name}/{name}_{number}.jpg", jpeg(1000 * label + number)
                archive.writestr(f"EuroSAT_RGB/{file}", data)
                (fake.folder / file).write_bytes(data)
                lat, lon = rng.uniform((35, -10), (65, 30)).round(6)
                lines.append(f"{file},{name},{lat},{lon}")
    fake.locations.write_text("\n".join(lines) + "\n")
    return fake


def replace_member(archive: Path, name: str, data: bytes | None) -> None:
    """Write a zip anew with other bytes for one member, or without it."""
    with zipfile.ZipFile(archive) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    if data is None:
        del members[name]
    else:
        members[name] = data
    with zipfile.ZipFile(archive, "w") as new:
        for member, content in members.items():
            new.writestr(member, content)


def names_in(folder: Path) -> list[str]:
    """Sorted names of what is in a folder."""
    return sorted(entry.name for entry in folder.iterdir())
