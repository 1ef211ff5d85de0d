"""Masks of clouds that come with imagery, by the code they are written in."""

from collections.abc import Callable

import numpy as np

# Which values hide the ground: clouds, their shadows, cirrus. The key is the name, without case and punctuation, of the
# file or the band.
CODES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # Sentinel-2 L2A, scene classification: 3 shadow, 8 and 9 cloud, 10 cirrus (ESA, Sen2Cor product definition)
    "scl": lambda values: np.isin(values, (3, 8, 9, 10)),
    # Landsat Collection 2: bits 1 dilated cloud, 2 cirrus, 3 cloud, 4 shadow (USGS, LSDS-1619)
    "qapixel": lambda values: values & 0b11110 != 0,
    # HLS 2: bits 1 cloud, 2 next to it, 3 shadow; 255 is no data (HLS User Guide 2.0)
    "fmask": lambda values: (values & 0b1110 != 0) & (values != 255),
    # Planet's usable data mask, band 1: 1 clear
    "udm2": lambda values: values != 1,
    # Earth Engine's Sentinel-2: bits 10 cloud, 11 cirrus
    "qa60": lambda values: values.astype(np.uint32) & 0xC00 != 0,
}


def cloudy(kind: str, values: np.ndarray) -> np.ndarray:
    """Whether a mask of this kind (a key of `CODES`, or else "not 0 is cloud") hides the ground, (h, w) bool."""
    if kind in CODES:
        values = values if values.dtype.kind in "iu" else np.nan_to_num(values).astype(np.int64)
        return CODES[kind](values)
    hidden: np.ndarray = values != 0
    return hidden
