"""`wherewhen copy SOURCE TARGET`: a folder into a bucket, or out of one, whole and checked; a killed copy goes on.

Everything else works on local files, which can be mapped into memory. A listing beside the copy, `copied.json`, holds
size and SHA-256 of every file that is there: what it names is not copied again, and what comes out of a bucket is
checked against it.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, sha256_of, write_json

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = {  # and where keys and addresses are
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_ENDPOINT",
}
LISTING = "copied.json"
LAST = ("store.json", "last.ckpt")  # without it a store counts as unfinished; a run goes on from the other
_THREADS, _PIECE = 8, 1 << 23

Entry = tuple[int, str]  # bytes, SHA-256


class Place(Protocol):
    """A folder, here or in a bucket; files are named by their paths within."""

    def files(self) -> dict[str, int]:
        """Name -> bytes."""

    def listing(self) -> dict[str, Entry]:
        """What `copied.json` says, empty where there is none."""

    def write_listing(self, listing: dict[str, Entry]) -> None:
        """Replace it."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> dict[str, int]:
        """Plain files; hidden ones are unfinished or somebody else's.

        Raises:
            UserError: One is a link, which a bucket cannot hold.
        """
        found = {}
        for folder, inner, names in os.walk(self.path):
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") or path == self.path / LISTING:
                    continue
                if path.is_symlink():
                    raise UserError(f"{path} is a link, which a bucket cannot hold; put the file in its place")
                found[path.relative_to(self.path).as_posix()] = path.stat().st_size
        return found

    def listing(self) -> dict[str, Entry]:
        """What `copied.json` says, empty where there is none."""
        path = self.path / LISTING
        return _parsed(path.read_bytes(), str(path)) if path.is_file() else {}

    def write_listing(self, listing: dict[str, Entry]) -> None:
        """Replace it."""
        write_json(self.path / LISTING, listing)


class Bucket:
    """A folder of a bucket, `s3://BUCKET/FOLDER`; keys, regions and endpoints are in the environment.

    Raises:
        UserError: The URL names no bucket, or the library is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise UserError("buckets need the extra `buckets`: `pip install 'wherewhen[buckets]'`") from error
        self.url = url.rstrip("/")
        try:
            self.store: ObjectStore = from_url(self.url)
        except (BaseError, ValueError) as error:
            raise self.failed(error) from error

    def failed(self, error: Exception) -> UserError:
        """The one message for a bucket that does not answer as it should."""
        lines = str(error).strip().splitlines()
        return UserError(
            f"{self.url}: {lines[0] if lines else type(error).__name__}; check its name, the network, and the keys in "
            f"the environment ({SCHEMES[urlsplit(self.url).scheme]})"
        )

    def files(self) -> dict[str, int]:
        """Objects under the URL.

        Raises:
            UserError: The bucket does not answer, or a name would leave the folder it is copied to.
        """
        import obstore
        from obstore.exceptions import BaseError

        try:
            found = {about["path"]: about["size"] for some in obstore.list(self.store) for about in some}
        except BaseError as error:
            raise self.failed(error) from error
        for name in found:
            if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute() or "\\" in name:
                raise UserError(f"{self.url} holds {name!r}, which would leave the folder; rename that object")
        return {name: size for name, size in found.items() if name != LISTING}

    def listing(self) -> dict[str, Entry]:
        """What `copied.json` says, empty where there is none."""
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            return _parsed(bytes(obstore.get(self.store, LISTING).bytes()), f"{self.url}/{LISTING}")
        except (NotFoundError, FileNotFoundError):
            return {}
        except BaseError as error:
            raise self.failed(error) from error

    def write_listing(self, listing: dict[str, Entry]) -> None:
        """Replace it."""
        self.put(LISTING, json.dumps(listing).encode())

    def put(self, name: str, content: bytes | Path) -> None:
        """Write an object, whole or not at all; a file is sent in parts."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.put(self.store, name, content)
        except BaseError as error:
            raise self.failed(error) from error

    def get(self, name: str) -> Iterator[bytes]:
        """An object in pieces."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            for piece in obstore.get(self.store, name).stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except BaseError as error:
            raise self.failed(error) from error

    def text(self, name: str) -> str:
        """A small object of text."""
        return b"".join(self.get(name)).decode("utf-8", "replace")


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen copy`.

    Raises:
        UserError: One of the two is no folder or bucket, holds something else, or a file came out damaged.
    """
    parser = argparse.ArgumentParser("wherewhen copy", description=__doc__)
    parser.add_argument("source", help="a folder, or s3://BUCKET/FOLDER, gs:// or az://")
    parser.add_argument("target", help="the other of the two")
    args = parser.parse_args(argv)
    if is_bucket(args.source) == is_bucket(args.target):
        raise UserError("one of SOURCE and TARGET must be a bucket, s3://BUCKET/FOLDER for example, the other a folder")
    count, size, skipped = copy(args.source, args.target)
    there = f", {skipped:,} were there" if skipped else ""
    print(f"{args.target}: {count:,} files, {size / 1e6:,.1f} MB copied{there}")
    return 0


def is_bucket(text: str) -> bool:
    """Whether it is the URL of a folder in a bucket."""
    return urlsplit(text).scheme in SCHEMES


def copy(source: str, target: str) -> tuple[int, int, int]:
    """Copy a folder into a bucket, or out of one.

    Args:
        source: A path or a URL.
        target: The other of the two.

    Returns:
        Files and bytes that were copied, and files that were there.

    Raises:
        UserError: Nothing is there to copy, the target holds files that are no part of it, or a file came out damaged.
    """
    up = is_bucket(target)
    here = Folder(Path(source if up else target))
    there = Bucket(target if up else source)
    first: Place = here if up else there
    second: Place = there if up else here
    wanted = first.files()
    if not wanted:
        raise UserError(f"{source} has no files; check its name")
    present, told, done = second.files(), first.listing(), second.listing()
    if strange := sorted(set(present) - set(wanted)):
        raise UserError(f"{target} holds {strange[0]!r}, which {source} has not; give an empty or the same folder")

    def is_there(name: str) -> bool:
        known = done.get(name)
        if known is None or not (wanted[name] == present.get(name) == known[0]):
            return False
        return known[1] == (sha256_of(here.path / name) if up or name not in told else told[name][1])

    def moved(name: str) -> Entry:
        if up:
            return send(here.path / name, there, name)
        return fetch(there, name, here.path / name, told.get(name))

    skipped = {name for name in wanted if is_there(name)}
    copied, names = 0, sorted(set(wanted) - skipped, key=lambda name: (PurePosixPath(name).name in LAST, name))
    head = [name for name in names if PurePosixPath(name).name not in LAST]
    if done.keys() & set(names):  # a file must not be another than the listing says, not even if this is killed
        done = {name: entry for name, entry in done.items() if name in skipped}
        second.write_listing(done)
    with ThreadPoolExecutor(_THREADS) as pool:
        for part in (head, names[len(head) :]):
            with closing(_each(pool, moved, part)) as answers:
                for name, entry in answers:
                    done[name] = entry
                    copied += entry[0]
                    second.write_listing(dict(sorted(done.items())))
    return len(names), copied, len(skipped)


def send(path: Path, bucket: Bucket, name: str) -> Entry:
    """Write a file as an object; one that grows meanwhile, as a log does, is written again."""
    entry = None
    while entry != (entry := (path.stat().st_size, sha256_of(path))):
        bucket.put(name, path)
    return entry


def fetch(bucket: Bucket, name: str, path: Path, told: Entry | None) -> Entry:
    """Write one object to a file, whole or not at all.

    Raises:
        UserError: It is not what the listing says.
    """
    digest, size = hashlib.sha256(), 0
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            for piece in bucket.get(name):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        entry = size, digest.hexdigest()
        if told is not None and entry != told:
            raise UserError(f"{bucket.url}/{name} is not what {LISTING} says; copy it there again, from its source")
    return entry


def _each(pool: ThreadPoolExecutor, work: Callable[[str], Entry], names: Sequence[str]) -> Generator[tuple[str, Entry]]:
    """Name and answer in order; what waits is dropped when somebody stops listening."""
    waiting = [(name, pool.submit(work, name)) for name in names]
    try:
        for name, answer in waiting:
            yield name, answer.result()
    finally:
        for _, answer in waiting:
            answer.cancel()


def _parsed(content: bytes, name: str) -> dict[str, Entry]:
    try:
        found = {str(key): (int(size), str(digest)) for key, (size, digest) in json.loads(content).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{name} is no listing of `wherewhen copy` ({error}); remove it, and copy again") from error
    return found
