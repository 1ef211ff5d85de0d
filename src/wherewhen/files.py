"""Files and folders that are either whole or absent."""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherewhen.errors import UserError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # seven milliseconds of every start


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there when the block ends well, drop it otherwise.

    A reader sees the old file or the new one, never half of it: the bytes are on the disk before the name is.
    The block should only write: an `OSError` that names another file than the temporary one passes unchanged.

    Raises:
        UserError: The folder cannot be written to, or the disk is full.
    """
    _sweep(make_folder(path.parent), os.getpid())
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (temporary, path.parent):
            raise
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written to holds nothing of ours
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` when the block ends well, else it vanishes.

    Raises:
        UserError: `path` exists and is not an empty folder, or the place cannot be written to.
    """
    refuse_used_folder(path)
    _sweep(make_folder(path.parent), os.getpid())
    temporary = _temporary(path)
    try:
        make_folder(temporary)
        yield temporary
        try:
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.part")


@cache
def _sweep(folder: Path, process: int) -> None:
    """Remove what killed processes of this machine left half written in a folder; once a process, it may be long."""
    for entry in folder.glob(".*.part*"):
        writer = re.search(rf"\.{re.escape(platform.node())}-(\d+)\.part", entry.name)
        if writer and not _lives(int(writer[1])):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only run that writes to a folder, which is made where there is none.

    The lock is the folder's own: it leaves no file, and the system lets go of it however this process ends. A file
    system that knows no such locks, as NFS, lets everybody in.

    Raises:
        UserError: Another run is at work there, or the folder cannot be made.
    """
    try:
        handle = os.open(make_folder(folder), os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another run is at work in {folder}; wait for it, or choose another folder") from error
        except OSError:
            pass  # no such locks here
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in `folder` that killed runs of `atomic_path` left behind."""
    for leftover in folder.glob(".*.part"):
        with suppress(OSError):  # another process may have been quicker
            leftover.unlink()


def refuse_used_folder(path: Path) -> None:
    """Raise UserError unless `path` is absent or an empty folder; what killed writes left does not count."""
    if path.is_dir():
        used = any(not (e.name.startswith(".") and e.name.endswith(".part")) for e in path.iterdir())
    else:
        used = path.exists()
    if used:
        raise UserError(f"{path} exists and is not an empty folder; choose another folder, or remove it first")


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, unless it exists; the same path.

    Raises:
        UserError: It cannot be made there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError) -> UserError:
    """The one message for an output that cannot be written."""
    return UserError(
        f"cannot write {path}: {error.strerror or error}; "
        "free some space there, or choose an output folder that you may write to"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: It does not exist, cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path, or make the file anew") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the path and its rights") from error
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 both raise kinds of the first
        raise UserError(f"{path} is not valid JSON ({error}); restore it or make it anew") from error


def read_yaml(path: "Path | Traversable") -> dict[str, Any]:
    """Read a YAML file that holds settings by name.

    Raises:
        UserError: It does not exist, cannot be read, is not YAML or no mapping.
    """
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path, or make the file anew") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the path and its rights") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # a date such as 2020-99-99 is a ValueError
        raise UserError(f"{path} is not valid YAML in UTF-8 ({error}); mend it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a YAML mapping, settings by name; mend it")
    return value


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
