"""`wherewhen prepare DATASET …`: from a dataset, or from nothing, to a PatchStore."""

from collections.abc import Sequence

from wherewhen import subcommands
from wherewhen.engines import options

# A dataset is a module of `wherewhen.ingest` with `add_arguments(parser)` and `run(args)`, imported when asked for.
# `args.workers` is the engine that runs it.
DATASETS = {
    "folder": "your own imagery and labels: GeoTIFFs, SAFE folders; points and polygons with a class",
    "stac": "your own labels, and imagery that a STAC catalog names, local or remote",
    "bigearthnet": "BigEarthNet, version 1 or 2: many labels, with place and time, in RGB or twelve bands",
    "oscd": "OSCD: 24 cities at two dates in 13 bands, with masks of change",
    "seco": "SeCo, CACo, SSL4EO-S12: places seen on several dates, PLACE/TIMESTAMP/BAND.tif",
    "pastis": "PASTIS: series of French farmland with the crop of every pixel",
    "gid15": "GID-15: windows of Gaofen-2 scenes with fifteen land covers",
    "eurosat": "EuroSAT: the RGB pictures with a table of places, or the 13-band GeoTIFFs",
    "world": "a synthetic continent with place, time, labels and masks; needs no input",
}


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen prepare`; returns the exit code.

    Raises:
        UserError: The source, the output or the engine is wrong.
    """
    args = subcommands.parse(
        argv, "prepare", __doc__, "DATASET", "wherewhen.ingest", DATASETS, common=options.add_arguments
    )
    with options.opened(args) as args.workers:
        args.run(args)
    return 0
