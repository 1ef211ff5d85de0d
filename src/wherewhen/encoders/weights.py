"""Weights from elsewhere and from here: never foreign code, never a silent partial load.

A file gives tensors by name. `sources` says which of them are an encoder's, `band_weights` fits the first layer to the
bands at hand, and every weight of the network must then be there in its shape. What was done is told.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from wherewhen.encoders.band_weights import RGB, adapt, canonical
from wherewhen.encoders.sources import recognise, split
from wherewhen.encoders.weight_files import OURS, read_file
from wherewhen.errors import UserError, note

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".tar", ".bin")
TORCHGEO = "torchgeo:"
TRUNKS = ("net.", "vit.")  # where `Timm` and `ViT` keep their network
COUNTER = "num_batches_tracked"  # of batch norm; old files lack it, and nothing depends on it


@dataclass(frozen=True)
class Found:
    """Tensors of an encoder, by timm's names."""

    state: dict[str, Tensor]
    title: str  # whose layout it is
    bands: tuple[str, ...] | None  # of the first layer, where they are known
    left: Mapping[str, Mapping[str, Tensor]]  # what is not the encoder's, by what it is; "" is not known
    extra: dict[str, Tensor]  # what our own ViT has beside timm's network
    groups: Mapping[str, Sequence[str]] | None = None  # band groups that it was trained on


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's weights.

    Args:
        weights: The file, or the name.
        title: Whose layout it has.
        matched: Names of the network's tensors that were loaded.
        adapted: What was changed to make them fit, in words.
        left: How many of the file's tensors were not wanted, by what they are.
    """

    weights: str
    title: str
    matched: tuple[str, ...]
    adapted: tuple[str, ...]
    left: Mapping[str, int]

    def __str__(self) -> str:
        parts = [f"{self.weights} ({self.title}): {len(self.matched)} tensors loaded", *self.adapted]
        if self.left:
            parts.append("left out " + ", ".join(f"{count} of the {what}" for what, count in self.left.items()))
        return "; ".join(parts)


def load_encoder(net: nn.Module, weights: str, bands: Sequence[str] | None = None, **model: Any) -> LoadReport:
    """Load a network of timm's from a file or by name, and say on stderr what was done.

    Args:
        net: The network, without classifier.
        weights: A file (see `docs/encoders.md` for those that are known), the name of a timm model with published
            weights, or `torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO`.
        bands: Names of the network's bands, in their order.
        model: For timm's published weights: what the network is built with (`img_size`).

    Raises:
        UserError: The weights do not exist or do not fit, with the reasons.
    """
    found = find_weights(weights, **model)
    if found.extra:
        raise UserError(f"weights {weights} are of a ViT that begins with statistics; load them into such a ViT")
    return tell(load_found(net, found, weights, bands))


def tell(report: LoadReport) -> LoadReport:
    """Print a report, and pass it on."""
    note(str(report))
    return report


def load_found(net: nn.Module, found: Found, weights: str, bands: Sequence[str] | None) -> LoadReport:
    """Fit tensors to a network and load them; arguments and errors as of `load_encoder`."""
    if unknown := found.left.get(""):
        raise UserError(
            f"weights {weights} ({found.title}) hold tensors that are neither the encoder's nor a known head: "
            f"{', '.join(sorted(unknown)[:3])}; give the encoder's alone"
        )
    own_state, adapted = net.state_dict(), []
    state = dict(found.state)
    for tensors in found.left.values():  # a network may end with what others call a head: a norm
        state |= {name: value for name, value in tensors.items() if name in own_state}
    first = first_convolution(net)
    if first in state:
        own = net.get_parameter(first)
        there, here = tuple(state[first].shape[2:]), tuple(own.shape[2:])
        state[first], done = adapt(state[first], found.bands, bands, own.shape[1])
        if done:
            adapted.append(done)
        if there != here and not isinstance(net, VisionTransformer):
            raise UserError(
                f"weights {weights} begin with a convolution of {there[0]} × {there[1]}, the network with one of "
                f"{here[0]} × {here[1]}; choose the stem that the weights have (stem: imagenet or small)"
            )
    if isinstance(net, VisionTransformer):
        before = {name: tuple(value.shape) for name, value in state.items()}
        state = checkpoint_filter_fn(state, net)
        adapted += [
            f"{name} resampled {before[name]} → {tuple(value.shape)}"
            for name, value in state.items()
            if name in before and before[name] != tuple(value.shape)
        ]
    state |= {name: own_state[name] for name in own_state if name.endswith(COUNTER) and name not in state}
    load_into(net, state, source=weights)
    left = {what: len(rest) for what, part in found.left.items() if (rest := part.keys() - own_state.keys())}
    return LoadReport(weights, found.title, tuple(own_state), tuple(adapted), left)


def first_convolution(net: nn.Module) -> str:
    """Name of the weight that sees the image: that of the first convolution."""
    return next(f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Conv2d))


# -- finding ----------------------------------------------------------------------------------------


def find_weights(weights: str, **model: Any) -> Found:
    """The encoder's tensors of a file, of timm's published weights, or of torchgeo's.

    Raises:
        UserError: They cannot be had.
    """
    if weights.startswith(TORCHGEO):
        return torchgeo_weights(weights.removeprefix(TORCHGEO))
    path = Path(weights)
    if path.suffix not in SUFFIXES and not path.is_file():
        return Found(timm_weights(weights, **model), "timm, published", RGB, {}, {})
    state, metadata = read_file(path)
    if OURS in metadata:
        return own_weights(state, metadata[OURS])
    source = recognise(state)
    encoder, left = split(state, source)
    stem = next((value for value in encoder.values() if value.ndim == 4), None)
    return Found(encoder, source.title, None if stem is None else source.bands.get(stem.shape[1]), left, {})


def own_weights(state: Mapping[str, Tensor], about: str) -> Found:
    """Tensors that `save_encoder` wrote."""
    kept = json.loads(about)
    trunk = next((start for start in TRUNKS if any(key.startswith(start) for key in state)), "")
    inner = {key.removeprefix(trunk): value for key, value in state.items() if key.startswith(trunk)}
    extra = {key: value for key, value in state.items() if not key.startswith(trunk)}
    bands = None if kept["bands"] is None else tuple(kept["bands"])
    return Found(inner, f"wherewhen's {kept['encoder']}", bands, {}, extra, kept["groups"])


def timm_weights(name: str, **model: Any) -> dict[str, Tensor]:
    """Published weights of a timm model, downloaded or from its cache.

    Raises:
        UserError: timm has no such model, or it could not be had.
    """
    try:
        return dict(timm.create_model(name, pretrained=True, num_classes=0, **model).state_dict())
    except Exception as error:  # timm and its hub raise many kinds
        raise UserError(
            f"no weights of the timm model {name!r} ({type(error).__name__}: {error}); check the name with "
            "timm.list_pretrained(), or give the path of a .safetensors file, or start from scratch "
            "(weights: null)"
        ) from error


def torchgeo_weights(name: str) -> Found:
    """Weights that torchgeo publishes, such as `ResNet50_Weights.SENTINEL2_ALL_MOCO`.

    Raises:
        UserError: torchgeo is not installed, or the weights cannot be had.
    """
    try:
        from torchgeo.models import get_weight
    except ImportError as error:
        raise UserError(f"weights {name} need torchgeo, which is not installed; install wherewhen[torchgeo]") from error
    try:
        entry = get_weight(name)
        state = entry.get_state_dict(progress=False, weights_only=True)
    except Exception as error:  # torchgeo, torchvision and the network raise many kinds
        raise UserError(
            f"no torchgeo weights {name!r} ({type(error).__name__}: {error}); give the name as its documentation has "
            "it, such as torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"
        ) from error
    encoder, left = split(state, recognise(state))
    bands = entry.meta.get("bands")
    return Found(encoder, "torchgeo", None if bands is None else tuple(canonical(band) for band in bands), left, {})


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every weight of `module` from `state`, which must have them all and no other.

    Raises:
        UserError: A weight is missing, has another shape, or has no place.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    wrong = [
        f"{name}: {tuple(state[name].shape)} there, {tuple(own[name].shape)} here"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    left = sorted(state.keys() - own.keys())
    faults = [f"missing {missing[:3]}"] * bool(missing) + [f"shape of {wrong[:3]}"] * bool(wrong)
    faults += [f"no place for {left[:3]}"] * bool(left)
    if faults:
        raise UserError(
            f"weights {source} do not fit this network: {'; '.join(faults)}. "
            "Choose the model, or width, depth, heads and patch size, as the weights have them"
        )
    module.load_state_dict(dict(state))
