"""SACo's three released models, whole, as their authors run them.

Read off lstival/SACo: eval_classification_lbp.py, modules/{resnet,senti_encoder,sentinel_bands,u_net,
segmentation_network}.py, lbp.py. Sizes are taken from the file, so the depth of the encoder need not be known.

Notation: N images, C bands, K classes, G band groups, D width of the features, H × W pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.encoders.band_weights import RGB, canonical
from wherewhen.encoders.sources import PASTIS, Source, recognise, split
from wherewhen.encoders.timm_encoder import Timm
from wherewhen.encoders.weight_files import read_weights
from wherewhen.encoders.weights import Found, load_found, load_into
from wherewhen.encoders.with_texture import texture_codes, texture_histograms
from wherewhen.errors import UserError

BINS = 16  # of the published histogram; it leaves out the last two of 18 codes
EUROSAT = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")  # of its TIFFs
# What the published indices mean in that order. They are not the README's groups: B8A is in none of them.
GROUPS = {
    "natural_colors": ("B04", "B03", "B02"),
    "near_infrared": ("B08", "B04", "B03"),
    "urban": ("B12", "B11", "B04"),
    "agriculture": ("B12", "B09", "B02"),
    "atmospheric_penetration": ("B12", "B11", "B01"),
    "complementary_1": ("B01", "B05", "B06"),
    "complementary_2": ("B07", "B09", "B10"),
}
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
}


class SacoClassifier(nn.Module):
    """The released EuroSAT classifier: features ⊕ texture histogram of 13 bands -> log-probabilities of 10 classes.

    Each group's picture is classified by itself; probabilities, not features, are averaged. Classes are counted as the
    authors' file system listed their folders, which is not published.

    Args:
        bands: Names of the C bands of the images; EuroSAT's 13, in any order.
        weights: `best_classification_model.pth`; None for a checkpoint that holds them.
        model: timm's name of the ResNet, without weights.
        classes: K, without weights.

    Raises:
        UserError: The file holds another model, or a band is missing.
    """

    def __init__(
        self, bands: Sequence[str], weights: str | None = None, model: str = "resnet18", classes: int = 10
    ) -> None:
        super().__init__()
        if weights is None:
            self.encoder = Timm(3, 64, model)
            self.head = nn.Linear(self.encoder.width + len(EUROSAT) * BINS, classes)
        else:
            self.encoder, self.head = _classifier(weights)
        self._order = _indices(EUROSAT, bands)
        self._groups = torch.tensor([_indices(triple, EUROSAT) for triple in GROUPS.values()])
        self.width = self.head.out_features
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in any unit that is one for all bands, such as reflectance -> (N, K) log-probabilities."""
        images = images[:, self._order].float()
        least, greatest = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        unit = (images - least) / (greatest - least).clamp(min=1e-12)  # each image over all its bands
        shown = unit[:, self._groups.to(unit.device)]  # (N, G, 3, H, W)
        features: Tensor = self.encoder(shown.flatten(0, 1)).unflatten(0, shown.shape[:2])  # (N, G, D)
        texture = texture_histograms(texture_codes((unit * 255).trunc()), BINS)[:, None].expand(-1, len(GROUPS), -1)
        logits: Tensor = self.head(torch.cat((features, texture), dim=2))
        return logits.log_softmax(2).logsumexp(1) - torch.tensor(float(len(GROUPS))).log()


class SacoDense(nn.Module):
    """The released change and segmentation models: a ResNet, and a decoder that concatenates and doubles.

    Change is seen between two images, in the absolute differences of all feature maps. Inputs as in the authors'
    readers: change takes B04, B03, B02 clipped to mean ± 2σ as [0, 1]; segmentation takes PASTIS's ten bands
    standardised with PASTIS's own statistics.

    Args:
        weights: `best_change_model.pth` or `best_pixel_segmentation.pth`.
        bands: Names of the C bands of the images, in any order.

    Raises:
        UserError: The file holds another model, or a band is missing.
    """

    def __init__(self, weights: str, bands: Sequence[str]) -> None:
        super().__init__()
        found, left = _read(weights, "SACo, change or segmentation")
        channels = found.state["conv1.weight"].shape[1]
        seen = {3: RGB, 10: PASTIS}.get(channels)
        if seen is None:
            raise UserError(
                f"the model in {weights} sees {channels} bands; those released see 3 (change) or 10 (PASTIS)"
            )
        self.encoder = _encoder(found, channels, weights)
        state = {name.removeprefix("decoder."): value for name, value in left["decoder"].items()}
        self.decoder = nn.ModuleList([*(_Doubled(state, f"{stage}.") for stage in range(4)), _convolution(state, "4.")])
        load_into(self.decoder, state, weights)
        self._order = _indices(seen, bands)
        self.eval()

    def forward(self, images: Tensor, after: Tensor | None = None) -> Tensor:
        """(N, C, H, W), for change also the later images -> logits (N, K, H, W); K is 1 for change, 20 for PASTIS."""
        maps = self.encoder.features(images[:, self._order]).maps[1:]
        if after is not None:
            later = self.encoder.features(after[:, self._order]).maps[1:]
            maps = tuple((a - b).abs() for a, b in zip(maps, later, strict=True))
        x = maps[-1]
        for stage, skip in zip(self.decoder, [*reversed(maps), None], strict=True):
            x = x if skip is None else torch.cat((x, skip), dim=1)
            x = stage(F.interpolate(x, scale_factor=2))
        return x


class _Doubled(nn.Module):
    """Two 3×3 convolutions with batch norm, as one chain (change) or with the input kept beside (segmentation)."""

    def __init__(self, state: Mapping[str, Tensor], start: str) -> None:
        super().__init__()
        self.kept = f"{start}conv_1.0.weight" in state
        if self.kept:
            self.conv_1 = nn.Sequential(*_layer(state, f"{start}conv_1.0."), nn.ReLU())
            self.conv_2 = nn.Sequential(*_layer(state, f"{start}conv_2.0."), nn.ReLU())
        else:
            first, second = (_layer(state, f"{start}double_conv.{place}.") for place in (0, 3))
            self.double_conv = nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_2(torch.cat((x, self.conv_1(x)), dim=1)) if self.kept else self.double_conv(x)
        return out


def _layer(state: Mapping[str, Tensor], start: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = _convolution(state, start)
    return convolution, nn.BatchNorm2d(convolution.out_channels)


def _convolution(state: Mapping[str, Tensor], start: str) -> nn.Conv2d:
    """A convolution of the size that the file has."""
    if f"{start}weight" not in state:
        raise UserError(f"the decoder has no weight {start}weight; it is not a released one")
    out, into, size, _ = state[f"{start}weight"].shape
    return nn.Conv2d(into, out, size, padding=size // 2)


def _classifier(weights: str) -> tuple[Timm, nn.Linear]:
    """The released encoder and its linear layer."""
    found, left = _read(weights, "SACo, classifier")
    encoder = _encoder(found, 3, weights)
    state = {name.rpartition(".")[2]: value for name, value in left["classifier"].items()}
    classes, width = state["weight"].shape
    if width != encoder.width + len(EUROSAT) * BINS:
        raise UserError(
            f"the classifier in {weights} sees {width} numbers, not {encoder.width} features and {BINS} bins of "
            f"{len(EUROSAT)} bands; it is not the released one"
        )
    head = nn.Linear(width, classes)
    load_into(head, state, weights)
    return encoder, head


def _read(weights: str, title: str) -> tuple[Found, dict[str, dict[str, Tensor]]]:
    state = read_weights(Path(weights))
    source: Source = recognise(state)
    if source.title != title:
        raise UserError(f"{weights} is laid out as {source.title}, not as {title}; give SACo's released file")
    encoder, left = split(state, source)
    return Found(encoder, title, None, left, {}), left


def _encoder(found: Found, channels: int, weights: str) -> Timm:
    """The ResNet of the depth that the file has."""
    depth = tuple(1 + max(_blocks(found.state, f"layer{stage}."), default=-1) for stage in range(1, 5))
    model = _RESNETS.get((depth, "layer1.0.conv3.weight" in found.state))
    if model is None:
        raise UserError(f"the encoder in {weights} has {depth} blocks; it is no ResNet-18, -34 or -50")
    encoder = Timm(channels, 64, model)
    encoder.loaded = load_found(encoder.net, found, weights, None)
    return encoder


def _blocks(state: Mapping[str, Tensor], start: str) -> list[int]:
    return [int(name.split(".")[1]) for name in state if name.startswith(start)]


def _indices(wanted: Sequence[str], bands: Sequence[str]) -> list[int]:
    """Where each wanted band is among those given.

    Raises:
        UserError: One is missing.
    """
    names = [canonical(band) for band in bands]
    if lacking := [band for band in wanted if band not in names]:
        raise UserError(f"the model needs {', '.join(lacking)}, but the images have {', '.join(bands) or 'no bands'}")
    return [names.index(band) for band in wanted]
