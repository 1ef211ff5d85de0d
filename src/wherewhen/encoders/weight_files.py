"""Files of weights: read without running what is in them, written for `weights:` to take.

Tensors by name, and for our own files what they are of, as JSON under the metadata key `wherewhen`.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wherewhen.errors import UserError
from wherewhen.files import atomic_path

OURS = "wherewhen"  # key of the metadata in our own files


class _Ignored:
    """What stands for the foreign classes of a checkpoint: made of anything, it does and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __new__(cls, *_: Any, **__: Any) -> "_Ignored":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a file; see `read_file`."""
    return read_file(path)[0]


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name and the metadata of a .safetensors file, or of a PyTorch file.

    A PyTorch file is read with `weights_only=True`: nothing in it is ever executed. The classes that Lightning
    pickles into a checkpoint (hyper-parameters, callbacks) are not imported; an inert stand-in takes their place, and
    is thrown away.

    Raises:
        UserError: There is no such file, or it holds something else than tensors by name.
    """
    if not path.is_file():
        raise UserError(f"weights {path} do not exist; give the path of the file, or `weights: null`")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with torch.serialization.safe_globals(_stand_ins(path)):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}); get it again") from error
    except Exception as error:  # torch.load raises many kinds for damaged or unsafe files
        raise UserError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}); convert it to .safetensors "
            "where you trust it, and give that file"
        ) from error
    for key in ("model", "state_dict"):  # how training scripts wrap their weights
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} does not hold tensors by name; give a file that holds a state_dict")
    return {name.removeprefix("module."): value for name, value in state.items()}, {}


def _stand_ins(path: Path) -> list[Any]:
    """For each class or function of a checkpoint that torch refuses: what is made instead, and its name.

    Lightning's hyper-parameters are a kind of dictionary, and torch fills nothing else than dictionaries.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (ValueError, RuntimeError):  # from before torch 1.6, or no such file at all: `torch.load` will tell
        return []
    return [(OrderedDict if name.endswith(".AttributeDict") else _Ignored, name) for name in names]


def save_encoder(encoder: nn.Module, path: Path, bands: Sequence[str] | None = None) -> None:
    """Write an encoder such that `weights:` of any of ours takes it; of a wrapped encoder (`Grouped`) the inner one.

    Args:
        encoder: The module; its own keys are kept.
        path: A .safetensors file.
        bands: Names of the bands it sees.

    Raises:
        UserError: The file cannot be written.
    """
    groups: Mapping[str, Sequence[str]] | None = None
    while isinstance(inner := getattr(encoder, "encoder", None), nn.Module):
        if hasattr(encoder, "groups"):
            groups = {**encoder.groups, **encoder.patterns}  # type: ignore[dict-item]
            bands = next(iter(groups.values()))
        encoder = inner
    about = {
        "encoder": type(encoder).__name__,
        "bands": None if bands is None else list(bands),
        "groups": None if groups is None else {name: list(triple) for name, triple in groups.items()},
    }
    state = {name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
    with atomic_path(path) as temporary:
        save_tensors(state, temporary, {OURS: json.dumps(about)})


def save_tensors(state: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors by name and metadata as safetensors.

    Raises:
        OSError: They cannot be written there; safetensors has an error of its own for that.
    """
    try:
        save_file(state, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error
