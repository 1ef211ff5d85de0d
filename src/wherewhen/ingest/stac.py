"""`prepare folder` for imagery that a STAC catalog names, beside it or on the web.

`docs/own-scenes.md` says what catalogs may look like.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from wherewhen.ingest import folder
from wherewhen.scenes import stac
from wherewhen.store import PatchStore


def prepare(catalog: str | Path, out: Path, *, items: int | None = None, **options: Any) -> PatchStore:
    """Turn the scenes of a catalog and labels into a PatchStore.

    Args:
        catalog: Path or http(s) URL; see `wherewhen.scenes.stac.find`.
        out: A new or empty folder, or an unfinished store of the same command.
        items: Read the first so many; None takes all.
        options: As of `wherewhen.ingest.folder.prepare`.

    Raises:
        UserError: The catalog, an option, a label or the output is wrong; the message says what to do.
    """
    return folder.prepare(catalog, out, find=partial(stac.find, items=items), **options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare stac` takes."""
    parser.add_argument("catalog", help="path or URL of an item collection, an item, a collection or a catalog")
    folder.add_options(parser)
    parser.add_argument("--items", type=int, metavar="N", help="read the first N items (default: all)")


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    prepare(args.catalog, args.out, items=args.items, **folder.options(args))
