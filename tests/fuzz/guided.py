"""Readers under Atheris, which looks for bytes that reach new branches of theirs; it needs `pip install atheris`.

    python -m tests.fuzz.guided READER [-max_total_time=60 and other options of libFuzzer]

Only a `UserError` may come out of a reader; anything else ends the search, and leaves the bytes in a file `crash-…`.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["wherewhen", "yaml"]):
    from wherewhen import patch_lists
    from wherewhen.bands import load_sensor
    from wherewhen.encoders.weight_files import read_file
    from wherewhen.errors import UserError
    from wherewhen.ingest import labels

IDS = [f"p{number:03d}" for number in range(20)]
SENSOR = (
    b"title: mine\nunit: reflectance\nscale: 1.0e-4\noffset: 0\nbands: [{name: B02, wavelength: 490, resolution: 9}]\n"
)


class Reader(NamedTuple):
    """What is read, and from what the search starts."""

    file: str
    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]


READERS = {
    "sensor": Reader("mine.yaml", load_sensor, (SENSOR,)),
    "list": Reader(
        "list.csv",
        lambda path: patch_lists.read_split(path, IDS),
        (b"id,split\np001,train\np002,val\n", b"p001\np002\n", b"p001,p002\n"),
    ),
    "labels": Reader(
        "labels.csv",
        lambda path: labels.read(path, "class", "time"),
        (b"id,class,time,lon,lat\n1,a,2020-01-01,10,50\n", b"class,time,wkt\na,2020-01-01,POINT (1 2)\n"),
    ),
    "weights": Reader("net.safetensors", read_file, (b'\x08\0\0\0\0\0\0\0{"a":{}}', b"\x02\0\0\0\0\0\0\0{}")),
}


def main() -> None:
    """Search until libFuzzer has enough."""
    reader = READERS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        for number, seed in enumerate(reader.seeds):
            (folder / "seeds" / str(number)).write_bytes(seed)
        path = folder / reader.file

        def once(content: bytes) -> None:
            path.write_bytes(content)
            try:
                reader.read(path)
            except UserError as error:
                told = str(error)
                if "\n" in told or path.name not in told:
                    raise RuntimeError(f"one line must name {path.name}: {told}") from error

        atheris.Setup([*sys.argv, str(folder / "seeds")], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
