"""A first layer for other bands than it was trained on.

Notation: O output channels, C bands of the weights, B bands of the network.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from wherewhen.errors import UserError

RGB = ("B04", "B03", "B02")  # red, green, blue by Sentinel-2's names
_COLOURS = dict(zip(("RED", "GREEN", "BLUE"), RGB, strict=True))


def canonical(band: str) -> str:
    """One name for one band: B4, b04 and red are B04."""
    name = band.upper()
    return _COLOURS.get(name, re.sub(r"^B(\d)(A?)$", lambda m: f"B0{m[1]}" if not m[2] else f"B{m[1]}A", name))


def adapt(
    weight: Tensor, theirs: Sequence[str] | None, ours: Sequence[str] | None, count: int
) -> tuple[Tensor, str | None]:
    """A convolution's weights (O, C, h, w) -> (O, B, h, w) for our bands, and what was done (None: nothing).

    Bands are found by name: each of ours takes the weights of the same band of theirs, and the mean of all theirs if
    they have none of that name. All is then multiplied by C/B: an image that is equal in all bands gives the same
    answer as before if all their bands are among ours. Without names, bands are counted: repeated and scaled, or summed
    up for one, as timm does.

    Args:
        weight: (O, C, h, w).
        theirs: C names; None where they are not known.
        ours: B names; None where they are not known.
        count: B.

    Raises:
        UserError: There are not as many names as bands, or without names the weights are no convolution's.
    """
    channels = weight.shape[1]
    if theirs is not None and len(theirs) != channels:
        raise UserError(f"the weights have {channels} bands, but {len(theirs)} names of bands came with them")
    if theirs is None or ours is None:
        return _by_count(weight, count)
    there, here = [canonical(band) for band in theirs], [canonical(band) for band in ours]
    if there == here:
        return weight, None
    mean = weight.float().mean(1)
    slices = [weight[:, there.index(band)].float() if band in there else mean for band in here]
    known = [name for name, band in zip(ours, here, strict=True) if band in there]
    done = f"{channels} → {count} bands by name: {', '.join(known) or 'none'} found"
    if len(known) < count:
        done += f", {count - len(known)} others take the mean"
    if dropped := [name for name, band in zip(theirs, there, strict=True) if band not in here]:
        done += f", {', '.join(dropped)} not used"
    return (torch.stack(slices, dim=1) * (channels / count)).to(weight.dtype), done


def _by_count(weight: Tensor, count: int) -> tuple[Tensor, str | None]:
    channels = weight.shape[1]
    if channels == count:
        return weight, None
    if weight.ndim != 4:
        raise UserError(f"weights {tuple(weight.shape)} are no convolution's; those of bands must be, (O, C, h, w)")
    whole = weight.float()
    if count == 1:
        adapted = whole.sum(1, keepdim=True)
    else:
        adapted = whole.repeat(1, -(-count // channels), 1, 1)[:, :count] * (channels / count)
    return adapted.to(weight.dtype), f"{channels} → {count} bands by repetition; names not known"
