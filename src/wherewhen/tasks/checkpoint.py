"""Checkpoints as plain tensors and values; nothing here imports Lightning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wherewhen.errors import UserError


def read_checkpoint(path: str | Path, map_location: Any = None) -> Any:
    """Tensors and plain values of a file; no code of it is run.

    Raises:
        UserError: The file is absent or damaged, or holds something else.
    """
    try:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"checkpoint {path} does not exist; give an existing one, or train first") from error
    except Exception as error:  # torch.load raises many kinds for damaged or unsafe files
        raise UserError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or not a checkpoint: "
            "remove it and run the same command again"
        ) from error


def saved(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What `LabelEfficient` wrote into a checkpoint.

    Raises:
        UserError: It was not saved by that task.
    """
    if "wherewhen" not in checkpoint:
        raise UserError("this checkpoint is not one of wherewhen's; give a run's last.ckpt or best.ckpt")
    kept: dict[str, Any] = checkpoint["wherewhen"]
    return kept
