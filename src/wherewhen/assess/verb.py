"""`wherewhen assess`: how right is a map, and how much of each class is there?

First draw points to look at (--design), tell the class of each by looking at better pictures or by going there, then
compare (--reference). Areas are estimated from the points; counting a map's pixels repeats its errors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherewhen.errors import UserError
from wherewhen.files import write_json

if TYPE_CHECKING:
    import numpy as np

    from wherewhen.assess.maps import ClassMap

_BY_ERROR = 0  # --design without a number
_STANDARD_ERROR = 0.01  # of overall accuracy, as in the example of Olofsson et al.


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen assess`; 0.

    Raises:
        UserError: The map or the points cannot be used, or the options do not fit each other.
    """
    args = _parser().parse_args(argv)
    from wherewhen.assess.maps import ClassMap

    raster = ClassMap(args.map, args.classes)
    _ = raster.cells  # a map that lies nowhere is refused before anything else
    if args.reference is not None:
        _compare(args, raster, ["wherewhen", "assess", *argv])
    else:
        _design(args, raster)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wherewhen assess", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("map", type=Path, help="GeoTIFF of classes: one band of uint8, 255 is no data")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--reference", type=Path, metavar="POINTS", help="GeoJSON, GPKG, GeoParquet or CSV (lon, lat)")
    what.add_argument("--design", type=int, nargs="?", const=_BY_ERROR, metavar="N", help="draw N points to look at")
    parser.add_argument("--out", type=Path, help="design: the GeoJSON; reference: name of a JSON and a Markdown file")
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="names of classes 0, 1, … (default: the map's tags)"
    )
    reference = parser.add_argument_group("with --reference")
    reference.add_argument("--class-column", default="class", metavar="C", help="(default: class)")
    reference.add_argument("--crs", help="of the points, where the file does not tell (CSV: lon and lat are EPSG:4326)")
    reference.add_argument("--strata", type=Path, metavar="MAP", help="the map they were drawn from, if it was another")
    design = parser.add_argument_group("with --design")
    design.add_argument("--seed", type=int, default=0, help="another seed, another sample (default: 0)")
    design.add_argument("--minimum", type=int, metavar="M", help="points a class (default: 50, or N / (2 × classes))")
    design.add_argument(
        "--expected",
        nargs="+",
        default=["0.8"],
        metavar="U",
        help="user's accuracy that you expect: one number, or NAME=NUMBER for some classes (default: 0.8)",
    )
    design.add_argument(
        "--standard-error", type=float, metavar="S", help="of overall accuracy, instead of N (default: 0.01)"
    )
    return parser


def _compare(args: argparse.Namespace, raster: "ClassMap", command: list[str]) -> None:
    from wherewhen.assess import report
    from wherewhen.assess.compare import compare
    from wherewhen.assess.maps import ClassMap
    from wherewhen.assess.points import read_points

    frame = read_points(args.reference, args.class_column, raster.grid.crs, args.crs)
    result = compare(raster, frame, None if args.strata is None else ClassMap(args.strata))
    print(report.as_text(result, raster.cells.how), end="")
    if args.out is not None:
        print("written:", *report.write(args.out, result, raster.cells.how, command))


def _design(args: argparse.Namespace, raster: "ClassMap") -> None:
    import numpy as np

    from wherewhen.assess.design import as_geojson, draw, expected, expected_error
    from wherewhen.assess.maps import tally

    _check_design(args)
    expectations = expected(args.expected, raster.classes)
    found = tally(raster, raster)
    there = np.flatnonzero(found.pixels.sum(1))
    pixels, weights = found.pixels.sum(1)[there], found.area.sum(1)[there] / found.area.sum()
    points = _points(args, pixels, weights, expectations[there])
    wanted = np.zeros(256, np.int64)
    wanted[there] = points
    write_json(args.out, as_geojson(raster, draw(raster, wanted, args.seed)))
    error = expected_error(weights, expectations[there], points)
    for k, weight, count in zip(there, weights, points, strict=True):
        print(f"{raster.classes[k]:<24}{100 * weight:7.2f} % of the map{count:7d} points")
    print(
        f"{points.sum()} points; if user's accuracies are as expected, the standard error of overall accuracy will be "
        f"about {error:.3f}\nwritten: {args.out}\n"
        "Shares of the map's pixels are no estimates of area. Fill in the column 'class' without looking at 'stratum', "
        f"then:\nwherewhen assess {args.map} --reference {args.out}"
    )


def _check_design(args: argparse.Namespace) -> None:
    if args.design != _BY_ERROR and args.design < 2:
        raise UserError(f"--design {args.design} is too few; ask for 2 points or more, or leave the number out")
    if args.out is None or args.out.suffix.lower() not in (".geojson", ".json"):
        raise UserError(f"--out is {args.out}; a design is written as GeoJSON: give --out sample.geojson")
    if args.minimum is not None and args.minimum < 2:
        raise UserError(f"--minimum {args.minimum} is too few; a standard error needs 2 points a class or more")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed} is negative; give 0 or more")
    if args.standard_error is None:
        args.standard_error = _STANDARD_ERROR
    elif args.design != _BY_ERROR:
        raise UserError(f"--standard-error sets the number of points; leave out it, or {args.design}")
    if not 0 < args.standard_error < 0.5:
        raise UserError(f"--standard-error {args.standard_error} is outside (0, 0.5); 0.01 is one percent")


def _points(
    args: argparse.Namespace, pixels: "np.ndarray", weights: "np.ndarray", expectations: "np.ndarray"
) -> "np.ndarray":
    """Points of each class that is there, (K,), by its pixels, its share of the area and its expected accuracy."""
    import numpy as np

    from wherewhen.assess.design import MINIMUM, allocate, sample_size

    if args.design != _BY_ERROR:
        minimum = args.minimum or max(2, min(MINIMUM, args.design // (2 * len(pixels))))
        return allocate(args.design, weights, expectations, minimum, pixels)
    total = sample_size(weights, expectations, args.standard_error, int(pixels.sum()))
    least = np.minimum(args.minimum or MINIMUM, pixels)
    points: np.ndarray = np.maximum(allocate(total, weights, expectations, 0, pixels), least)
    return points  # the minimum comes on top of what the error asks for
