"""What a student is beside its weights, and the files that hold both: checkpoints, safetensors, ONNX."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wherewhen.answering import Answering, answering_of, built
from wherewhen.errors import UserError
from wherewhen.files import read_yaml
from wherewhen.store_header import StoreHeader
from wherewhen.tasks.checkpoint import read_checkpoint, saved
from wherewhen.tasks.facts import Facts

KEY = "wherewhen"  # of the metadata in a file
FORMAT, VERSION = "wherewhen.student", 1

Answer = Callable[[Tensor], Tensor]  # stored numbers (N, C, H, W) float32 -> probabilities


@dataclass(frozen=True)
class About:
    """What a student is, beside its weights.

    Args:
        facts: Bands, classes and statistics of the training.
        stride: Of dense ones: sides of images may be any multiple; None where they must be S.
        patch_size: Pixels of a side of the training's patches, as they lay in the store; None where that is not known.
        pixel_size: Metres a pixel there, likewise.
    """

    facts: Facts
    stride: int | None = None
    patch_size: int | None = None
    pixel_size: float | None = None

    def to_json(self, **more: Any) -> str:
        """The metadata of a file."""
        own = {"stride": self.stride, "patch_size": self.patch_size, "pixel_size": self.pixel_size}
        return json.dumps({"format": FORMAT, "version": VERSION, "facts": self.facts.to_dict(), **own, **more})

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> tuple["About", dict[str, Any]]:
        """The other way round, and everything that the metadata say.

        Raises:
            UserError: The file is no student's, or of another version.
        """
        try:
            values = json.loads(text or "{}")
            if values["format"] != FORMAT or values["version"] != VERSION:
                raise ValueError(f"it is {values['format']} {values['version']}, not {FORMAT} {VERSION}")
            own = {name: values[name] for name in ("stride", "patch_size", "pixel_size")}
            return cls(Facts.from_dict(values["facts"]), **own), values
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} holds no student of wherewhen ({error}); give a run's folder or a file of `wherewhen export`"
            ) from error


def of_checkpoint(path: Path) -> tuple[About, Answering]:
    """The student of a run's checkpoint; its store is looked up where the run says it lay."""
    return student_of(read_checkpoint(path), path)


def student_of(checkpoint: Mapping[str, Any], path: Path) -> tuple[About, Answering]:
    """The same, of a checkpoint that was read from `path`."""
    answering = answering_of(saved(checkpoint), checkpoint["state_dict"])
    header = header_of(settings_of(path))
    size = None if header is None else max(header.shape[1:])
    about = About(answering.facts, answering.stride(), size, None if header is None else header.pixel_size)
    return about, answering


def settings_of(checkpoint: Path) -> dict[str, Any]:
    """The configuration of the run that a checkpoint lies in; empty where there is none."""
    path = checkpoint.parents[1] / "config.yaml" if len(checkpoint.parents) > 1 else checkpoint
    try:
        return read_yaml(path)
    except UserError:
        return {}


def header_of(settings: Mapping[str, Any]) -> StoreHeader | None:
    """What the store of a run says of itself, if it is still there."""
    try:
        return StoreHeader.read(Path(settings["data"]["store"]) / "store.json")
    except (KeyError, TypeError, UserError):
        return None


def of_safetensors(path: Path) -> tuple[About, Answering]:
    """The student of a file of tensors: networks are built as it describes them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); export it again") from error
    about, values = About.from_json(text, path)
    answering = Answering(*built(values))
    try:
        answering.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not hold the tensors of its networks ({error}); export it again") from error
    return about, answering


def of_onnx(path: Path) -> tuple[About, Answer]:
    """The student of an ONNX file, which onnxruntime runs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("onnxruntime is not installed; run: pip install 'wherewhen[export]'") from error
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for every reason, and no common one
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}); export it again") from error
    about, _ = About.from_json(session.get_modelmeta().custom_metadata_map.get(KEY), path)
    name = session.get_inputs()[0].name

    def answer(pixels: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: pixels.cpu().numpy()})[0])

    return about, answer


READERS: dict[str, Callable[[Path], tuple[About, Answer]]] = {
    ".ckpt": of_checkpoint,
    ".safetensors": of_safetensors,
    ".onnx": of_onnx,
}
