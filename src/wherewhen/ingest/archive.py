"""A folder or a zip as named files, read without unpacking."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from wherewhen.errors import UserError

# What reading and decoding a damaged file can raise, in a zip or not.
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error)


def names_in(source: Path) -> list[str]:
    """Names of the files in a folder or zip, relative, with `/`; hidden ones and `__MACOSX` are left out.

    Raises:
        UserError: There is no such folder or zip, or a member of the zip points outside it.
    """
    names = _names_in_zip(source) if source.is_file() else _names_in_folder(source)
    return [name for name in names if not any(part.startswith((".", "__")) for part in name.split("/"))]


def _names_in_folder(source: Path) -> list[str]:
    if not source.is_dir():
        raise UserError(f"{source} does not exist; give a zip or a folder that does")
    return [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]


def _names_in_zip(source: Path) -> list[str]:
    try:
        with zipfile.ZipFile(source) as archive:
            names = [info.filename for info in archive.infolist() if info.filename and not info.is_dir()]
    except UNREADABLE as error:
        raise UserError(f"cannot read {source} as a zip: {error}; fetch it again, or give a folder") from error
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.split("/")[0]:
            raise UserError(f"{source} has a member that points outside it, {name!r}; fetch it from a safe place")
    return names


@contextmanager
def opened(source: Path, *, largest: int) -> Iterator[Callable[[str], bytes]]:
    """Give a function from a file's name to its bytes.

    It raises one of `UNREADABLE` for a damaged file, or one of more than `largest` bytes (a zip bomb, a mistake).
    """
    if source.is_dir():
        yield lambda name: _read((source / name).open("rb"), largest)
    else:
        with zipfile.ZipFile(source) as archive:
            yield lambda name: _read(archive.open(name), largest)


def _read(file: IO[bytes], largest: int) -> bytes:
    with file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"it is longer than {largest} bytes")
    return data
