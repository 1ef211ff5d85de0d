"""SACo's three released models, whole, as their authors run them.

Read off lstival/SACo: eval_classification_lbp.py, change_detection_eval.py, segmentation_PASTIS.py, modules/{resnet,
senti_encoder,sentinel_bands,u_net,segmentation_network}.py, data_reader/{OSCD_ms_reader,PASTIS_datalaoder}.py, lbp.py.
Sizes are taken from the file, so the depth of the encoder need not be known. `wherewhen adopt` makes a run of them.

Notation: N images, C bands, K classes, G band groups, B bins, D width of the features, H × W pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.build import Spec
from wherewhen.encoders.band_weights import RGB, canonical
from wherewhen.encoders.sources import PASTIS, Source, recognise, split
from wherewhen.encoders.timm_encoder import Timm
from wherewhen.encoders.vit import Encoded
from wherewhen.encoders.weight_files import read_weights
from wherewhen.encoders.weights import Found, load_found, load_into
from wherewhen.encoders.with_texture import CODES, texture_codes, texture_histograms
from wherewhen.errors import UserError

HERE = "wherewhen.encoders.saco"  # how a configuration names what is here
CLASSIFIER, DENSE = "SACo, classifier", "SACo, change or segmentation"  # layouts of the released files
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


class Reader(NamedTuple):
    """What a released model of pixels is shown."""

    bands: tuple[str, ...]
    mean: tuple[float, ...]  # of each band, in digital numbers: reflectance × 10,000
    std: tuple[float, ...]


# By how many bands the model sees. Change: BAND_STATS of the authors' reader of OSCD. Segmentation: means over the
# folds it was trained on, 1 to 3, of what PASTIS publishes of each (NORM_S2_patch.json), as the authors' reader does.
READERS = {
    3: Reader(RGB, (590.24, 614.22, 429.94), (675.89, 582.88, 572.42)),
    10: Reader(
        PASTIS,
        (1186.80, 1395.04, 1446.36, 1782.50, 2741.71, 3085.48, 3229.00, 3343.13, 2425.97, 1639.51),
        (1978.52, 1918.44, 1997.82, 1904.61, 1785.86, 1796.91, 1811.61, 1793.27, 1473.42, 1310.10),
    ),
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
        bins: B, without weights: 16 as published, or all 18.

    Raises:
        UserError: The file holds another model, or a band is missing.
    """

    def __init__(
        self,
        bands: Sequence[str],
        weights: str | None = None,
        model: str = "resnet18",
        classes: int = 10,
        bins: int = BINS,
    ) -> None:
        super().__init__()
        if weights is None:
            self.encoder = Timm(3, 64, model)
            self.head = nn.Linear(self.encoder.width + len(EUROSAT) * bins, classes)
        else:
            self.encoder, self.head, model, bins = _classifier(weights)
        self.bins, self.width = bins, self.head.out_features
        self.spec: Spec = {"name": f"{HERE}.SacoClassifier", "model": model, "classes": self.width, "bins": bins}
        self._order = indices_of(EUROSAT, bands)
        self._groups = torch.tensor([indices_of(triple, EUROSAT) for triple in GROUPS.values()])
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in any unit that is one for all bands, such as reflectance -> (N, K) log-probabilities."""
        images = images[:, self._order].float()
        least, greatest = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        unit = (images - least) / (greatest - least).clamp(min=1e-12)  # each image over all its bands
        shown = unit[:, self._groups.to(unit.device)]  # (N, G, 3, H, W)
        features: Tensor = self.encoder(shown.flatten(0, 1)).unflatten(0, shown.shape[:2])  # (N, G, D)
        texture = texture_histograms(texture_codes((unit * 255).trunc()), self.bins)[:, None].expand(
            -1, len(GROUPS), -1
        )
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
        found, left = _read(weights, DENSE)
        self.sees = found.state["conv1.weight"].shape[1]
        if self.sees not in READERS:
            raise UserError(
                f"the model in {weights} sees {self.sees} bands; those released see 3 (change) or 10 (PASTIS)"
            )
        self.encoder, self.model = _encoder(found, self.sees, weights)
        state = {name.removeprefix("decoder."): value for name, value in left["decoder"].items()}
        self.decoder = SacoDecoder(self.encoder.map_widths, **_sizes(state))
        load_into(self.decoder.stages, state, weights)
        self._order = indices_of(READERS[self.sees].bands, bands)
        self.eval()

    def forward(self, images: Tensor, after: Tensor | None = None) -> Tensor:
        """(N, C, H, W), for change also the later images -> logits (N, K, H, W); K is 1 for change, 20 for PASTIS."""
        maps = self.encoder.features(images[:, self._order]).maps
        if after is not None:
            later = self.encoder.features(after[:, self._order]).maps
            maps = tuple((a - b).abs() for a, b in zip(maps, later, strict=True))
        decoded: Tensor = self.decoder(maps)
        return decoded


class SacoMaps(nn.Module):
    """The encoder of the released change and segmentation models, which shows it what the authors' readers do.

    Change: [0, 1] in 256 steps. Segmentation: standardised.

    Args:
        bands: Names of the C bands of the images, in any order.
        spread: Of the images, as `wherewhen.scale.Scale` has it.
        sees: Bands that the model sees: 3 (change) or 10 (PASTIS).
        model: timm's name of the ResNet.
        reach: The σ of the images is so many times the reader's, so that nothing is clipped that the reader keeps.

    Raises:
        UserError: A band is missing.
    """

    def __init__(
        self, bands: Sequence[str], spread: float, sees: int = 3, model: str = "resnet18", reach: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder = Timm(sees, 64, model)
        self.width, self.map_widths = self.encoder.width, self.encoder.map_widths
        self.map_strides, self.spread, self.reach = self.encoder.map_strides, spread, reach
        self._order = indices_of(READERS[sees].bands, bands)
        self._steps = sees == 3

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) as of a `Scale` with the reader's mean and `reach` times its σ -> (N, D)."""
        return self.features(images).pooled

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """The same images -> features and maps, finest first."""
        images = images[:, self._order]
        shown = ((images * self.spread + 0.5) * 255).floor() / 255 if self._steps else images * self.reach
        return self.encoder.features(shown, token)


class SacoDecoder(nn.Module):
    """The decoder of the released change and segmentation models: four times concatenate, double, convolve.

    Args:
        widths: Channels of the encoder's maps, finest first; all but the first are used.
        outs: Channels after each doubling.
        kept: Keep the input beside the first convolution's output (segmentation).
        classes: K.
    """

    def __init__(self, widths: Sequence[int], outs: Sequence[int], kept: bool, classes: int) -> None:
        super().__init__()
        self.spec: Spec = {"name": f"{HERE}.SacoDecoder", "outs": list(outs), "kept": kept, "classes": classes}
        self.width = classes
        skips = list(reversed(widths))[: len(outs)]
        intos = [before + skip for before, skip in zip((widths[-1], *outs), skips, strict=False)]
        doubled = (_Doubled(into, out, kept) for into, out in zip(intos, outs, strict=True))
        self.stages = nn.ModuleList([*doubled, nn.Conv2d(outs[-1], classes, 1)])

    def forward(self, maps: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor:
        """Maps, finest first, of images whose sides are multiples of 32 pixels -> (N, K, H, W)."""
        *doubled, last = self.stages
        x = maps[-1]
        for stage, skip in zip(doubled, reversed(maps), strict=False):
            x = stage(F.interpolate(torch.cat((x, skip), dim=1), scale_factor=2))
        decoded: Tensor = last(F.interpolate(x, scale_factor=2))
        return decoded


class _Doubled(nn.Module):
    """Two 3×3 convolutions with batch norm, as one chain (change) or with the input kept beside (segmentation)."""

    def __init__(self, into: int, out: int, kept: bool) -> None:
        super().__init__()
        self.kept = kept
        if kept:
            self.conv_1 = nn.Sequential(*_layer(into, out), nn.ReLU())
            self.conv_2 = nn.Sequential(*_layer(into + out, out), nn.ReLU())
        else:
            self.double_conv = nn.Sequential(*_layer(into, out), nn.ReLU(), *_layer(out, out), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_2(torch.cat((x, self.conv_1(x)), dim=1)) if self.kept else self.double_conv(x)
        return out


def _layer(into: int, out: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out)


def _sizes(state: Mapping[str, Tensor]) -> Spec:
    """Arguments of the decoder that a file holds."""
    kept = "0.conv_1.0.weight" in state
    last = "conv_2.0.weight" if kept else "double_conv.3.weight"
    names = [*(f"{stage}.{last}" for stage in range(4)), "4.weight"]
    for name in names:
        if name not in state:
            raise UserError(f"the decoder has no weight {name}; it is not a released one")
    *outs, classes = (len(state[name]) for name in names)
    return {"outs": outs, "kept": kept, "classes": classes}


def _classifier(weights: str) -> tuple[Timm, nn.Linear, str, int]:
    """The released encoder and its linear layer, the encoder's name, and the bins of a band's histogram."""
    found, left = _read(weights, CLASSIFIER)
    encoder, model = _encoder(found, 3, weights)
    state = {name.rpartition(".")[2]: value for name, value in left["classifier"].items()}
    classes, width = state["weight"].shape
    bins = (width - encoder.width) / len(EUROSAT)
    if bins not in (BINS, CODES):
        raise UserError(
            f"the classifier in {weights} sees {width} numbers, not {encoder.width} features and {BINS} bins of "
            f"{len(EUROSAT)} bands, or all {CODES}; it is not the released one"
        )
    head = nn.Linear(width, classes)
    load_into(head, state, weights)
    return encoder, head, model, int(bins)


def _read(weights: str, title: str) -> tuple[Found, dict[str, dict[str, Tensor]]]:
    state = read_weights(Path(weights))
    source: Source = recognise(state)
    if source.title != title:
        raise UserError(f"{weights} is laid out as {source.title}, not as {title}; give SACo's released file")
    encoder, left = split(state, source)
    if not left:
        raise UserError(f"{weights} holds an encoder and nothing on top; start a training from it: encoder.weights")
    return Found(encoder, title, None, left, {}), left


def _encoder(found: Found, channels: int, weights: str) -> tuple[Timm, str]:
    """The ResNet of the depth that the file has, and its name."""
    depth = tuple(1 + max(_blocks(found.state, f"layer{stage}."), default=-1) for stage in range(1, 5))
    model = _RESNETS.get((depth, "layer1.0.conv3.weight" in found.state))
    if model is None:
        raise UserError(f"the encoder in {weights} has {depth} blocks; it is no ResNet-18, -34 or -50")
    encoder = Timm(channels, 64, model)
    encoder.loaded = load_found(encoder.net, found, weights, None)
    return encoder, model


def _blocks(state: Mapping[str, Tensor], start: str) -> list[int]:
    return [int(name.split(".")[1]) for name in state if name.startswith(start)]


def indices_of(wanted: Sequence[str], bands: Sequence[str]) -> list[int]:
    """Where each wanted band is among those given.

    Raises:
        UserError: One is missing.
    """
    names = [canonical(band) for band in bands]
    if lacking := [band for band in wanted if band not in names]:
        raise UserError(f"the model needs {', '.join(lacking)}, but the images have {', '.join(bands) or 'no bands'}")
    return [names.index(band) for band in wanted]
