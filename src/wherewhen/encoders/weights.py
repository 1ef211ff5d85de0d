"""Reading weights from outside: never pickle, never a silent partial load."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wherewhen.errors import UserError

HEADS = ("head.", "fc_norm.", "fc.", "classifier.", "mlp.")  # what pre-trainings put on top; not ours to keep


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a PyTorch file that holds tensors only.

    Raises:
        UserError: There is no such file, or it holds something else than tensors by name.
    """
    if not path.is_file():
        raise UserError(f"weights {path} do not exist; give the path of the file, or `weights: null`")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
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
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} does not hold tensors by name; give a file that holds a state_dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every weight of `module` from `state`; a head that `module` lacks may be left over.

    Raises:
        UserError: A weight is missing, or has another shape.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    wrong = [
        f"{name}: {tuple(state[name].shape)} there, {tuple(own[name].shape)} here"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    left = sorted(name for name in state.keys() - own.keys() if not name.startswith(HEADS))
    faults = [f"missing {missing[:3]}"] * bool(missing) + [f"shape of {wrong[:3]}"] * bool(wrong)
    faults += [f"no place for {left[:3]}"] * bool(left)
    if faults:
        raise UserError(
            f"weights {source} do not fit this network: {'; '.join(faults)}. "
            "Choose width, depth, heads and patch size as the weights have them"
        )
    module.load_state_dict({name: state[name] for name in own})
