"""One encoder of three channels that sees a many-band image as several pictures: band groups, and their texture.

Notation: N images, C bands, G pictures of an image, D width. Images come as a network sees them,
`(unit - 0.5) / spread` with unit in [0, 1].
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

import wherewhen.bands
from wherewhen.build import build
from wherewhen.encoders.learner import feature_width
from wherewhen.encoders.vit import Encoded, encode
from wherewhen.encoders.weights import LoadReport
from wherewhen.encoders.with_texture import CODES, grey_values, texture_codes
from wherewhen.errors import UserError

Texture = Literal["none", "bands", "semantic"]
Groups = Mapping[str, Sequence[str]]
STANDARD = "readme_l2a"  # has no B10, which only Level-1C has


class Grouped(nn.Module):
    """Show one encoder several band triples of an image, and average what it says (SACo+: "semantic awareness").

    All pictures of all images go through the encoder in one call, folded into the batch dimension.

    Args:
        encoder: A module for images of three channels, or its description: `{name: Timm, model: resnet18}`.
        groups: A table of `wherewhen.bands.semantic_groups`, or `{group: (red, green, blue)}` by band name.
        bands: Names of the C bands of the images, in their order.
        texture: "bands" adds the four published triples of bands as local binary patterns, "semantic" adds the patterns
            of the groups themselves.
        missing: What becomes of a group with a band that images do not have: "error", or "drop" with a warning.
        spread: That of the images, as `wherewhen.scale.Scale` has it.
        image_size: Height and width of the images in pixels.
        weights: Start the inner encoder from a file or a name, as its own `weights`.

    Raises:
        UserError: A group has not three bands, or the images lack one of them.
    """

    def __init__(
        self,
        encoder: nn.Module | Mapping[str, Any],
        groups: str | Groups = STANDARD,
        bands: Sequence[str] = (),
        texture: Texture = "none",
        missing: Literal["error", "drop"] = "error",
        spread: float = 0.5,
        image_size: int = 64,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if texture not in ("none", "bands", "semantic"):
            raise UserError(f"texture {texture!r} is unknown; use none, bands or semantic")
        table = wherewhen.bands.semantic_groups(groups) if isinstance(groups, str) else groups
        patterns: Groups = {}
        if texture == "bands":
            patterns = wherewhen.bands.texture_groups(groups if isinstance(groups, str) else STANDARD)
        elif texture == "semantic":
            patterns = {f"lbp_{name}": triple for name, triple in table.items()}
        self.groups = available(table, bands, missing)
        self.patterns = available(patterns, bands, missing)
        self.spread = spread
        self._spectral: Tensor
        self._patterned: Tensor
        self._pattern: Tensor
        shown = sorted({bands.index(band) for triple in self.patterns.values() for band in triple})
        for name, index in (
            ("spectral", [[bands.index(band) for band in triple] for triple in self.groups.values()]),
            ("patterned", shown),
            ("pattern", [[shown.index(bands.index(band)) for band in t] for t in self.patterns.values()]),
        ):
            self.register_buffer(f"_{name}", torch.tensor(index, dtype=torch.long), persistent=False)
        if not isinstance(encoder, nn.Module):
            found = {"channels": 3, "image_size": image_size, "spread": spread}
            encoder = build(encoder, nn.Module, "wherewhen.encoders", bands=next(iter(self.groups.values())), **found)
        self.encoder: Any = encoder
        self.image_size = image_size
        self.map_widths: tuple[int, ...] = getattr(encoder, "map_widths", ())
        self.map_strides: tuple[int, ...] = getattr(encoder, "map_strides", ())
        if weights is not None:
            self.load(weights)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the G pictures, in the order of `each`."""
        return (*self.groups, *self.patterns)

    @property
    def width(self) -> int:
        """D."""
        known = getattr(self.encoder, "width", None)
        return feature_width(self.encoder, 3, self.image_size) if known is None else int(known)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D), the mean over the pictures."""
        return self.each(images).mean(1)

    def each(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, G, D)."""
        shown = self.pictures(images)
        pooled: Tensor = encode(self.encoder, shown.flatten(0, 1)).pooled.unflatten(0, shown.shape[:2])
        return pooled

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """(N, C, H, W) -> features and feature maps, each the mean over the pictures.

        Raises:
            UserError: A token was given.
        """
        if token is not None:
            raise UserError("an encoder of band groups takes no token; set teacher.distill_weight to 0, or use a ViT")
        shown = self.pictures(images)
        count = shown.shape[:2]
        pooled, maps, _ = encode(self.encoder, shown.flatten(0, 1), maps=True)
        return Encoded(pooled.unflatten(0, count).mean(1), tuple(m.unflatten(0, count).mean(1) for m in maps))

    def load(self, weights: str) -> LoadReport:
        """Take published or own weights into the inner encoder, and say on stderr what was done.

        Raises:
            UserError: The file or model does not exist or does not fit, or the inner encoder cannot load.
        """
        if not hasattr(self.encoder, "load"):
            raise UserError(f"{type(self.encoder).__name__} has no method load, so weights cannot be given; leave them")
        report: LoadReport = self.encoder.load(weights)
        return report

    def pictures(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, G, 3, H, W): the groups, then the texture, on one scale."""
        shown = images[:, self._spectral]
        if not self.patterns:
            return shown
        return torch.cat((shown, self.texture(images[:, self._patterned])[:, self._pattern]), dim=1)

    @torch.no_grad()
    def texture(self, images: Tensor) -> Tensor:
        """(N, B, H, W) -> local binary patterns of the same shape: code 0 becomes -0.5/spread, the last 0.5/spread."""
        codes = texture_codes(grey_values(images, self.spread))
        return ((codes / (CODES - 1) - 0.5) / self.spread).to(images.dtype)


GroupedEncoder = Grouped  # the name that `wherewhen.contrast` gives it


def available(groups: Groups, bands: Sequence[str], missing: str) -> dict[str, tuple[str, ...]]:
    """The groups whose bands are all there.

    Raises:
        UserError: A group has not three bands; a band is missing and `missing` is "error"; no group is left.
    """
    kept: dict[str, tuple[str, ...]] = {}
    for name, triple in groups.items():
        if len(triple) != 3:
            raise UserError(f"band group {name!r} has {len(triple)} bands; it needs three: red, green, blue")
        lacking = [band for band in triple if band not in bands]
        if not lacking:
            kept[name] = tuple(triple)
            continue
        what = f"band group {name!r} needs {', '.join(lacking)}, but the images have {', '.join(bands) or 'no bands'}"
        if missing == "error":
            raise UserError(f"{what}; choose other groups, or set missing to drop")
        warnings.warn(f"{what}; the group is dropped", stacklevel=3)
    if groups and not kept:
        raise UserError(f"none of the groups {', '.join(groups)} has all its bands in {', '.join(bands)}")
    return kept
