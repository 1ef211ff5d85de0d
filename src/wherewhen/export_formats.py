"""The formats of `wherewhen export`: each is written from the checkpoint's network, and read again to be checked.

Notation: N images, C bands (of all dates), H × W pixels.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.export import Dim, ExportedProgram

from wherewhen.answering import Answering
from wherewhen.encoders.weight_files import save_tensors
from wherewhen.errors import UserError
from wherewhen.student_files import KEY, About, Answer, of_onnx, of_safetensors

LEAST, LONGEST = 2, 512  # strides, of a side that a graph is captured for; sizes of 1 are captured as constants
METADATA = "wherewhen.json"  # in a torch-export file


def write_safetensors(path: Path, answering: Answering, about: About, spec: dict[str, Any]) -> About:
    """Tensors, and in the metadata how the networks are built."""
    state = {name: value.contiguous().clone() for name, value in answering.state_dict().items()}
    save_tensors(state, path, {KEY: about.to_json(**{k: v for k, v in spec.items() if k != "facts"})})
    return about


def write_torch_export(path: Path, answering: Answering, about: About, spec: dict[str, Any]) -> About:
    """A graph of PyTorch's; its metadata is the extra file `METADATA`."""
    program, about = captured(answering, about)
    buffer = io.BytesIO()  # torch ends the whole process where it cannot write
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: about.to_json()})
    path.write_bytes(buffer.getbuffer())
    return about


def write_onnx(path: Path, answering: Answering, about: About, spec: dict[str, Any]) -> About:
    """A graph of standard operators.

    Raises:
        UserError: The network has an operation that ONNX has not.
    """
    program, about = captured(answering, about)
    try:
        with quiet():
            program = program.run_decompositions(torch.export.default_decompositions() | in_standard_operators())
            exported = torch.onnx.export(program, input_names=["pixels"], output_names=["probabilities"], verbose=False)
    except Exception as error:  # the exporter has a class for every step that can fail
        missing = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
        reason = f"ONNX has no {missing[1]}" if missing else first_line(error)
        raise UserError(
            f"{network_name(answering)} cannot be written as ONNX ({reason}); use --format safetensors"
        ) from error
    assert exported is not None
    exported.model.metadata_props[KEY] = about.to_json()
    exported.save(path, external_data=False)
    return about


def captured(answering: Answering, about: About) -> tuple[ExportedProgram, About]:
    """The network as a graph for any number of images, and of pixels for any multiples of the stride where that works.

    Raises:
        UserError: It cannot be captured.
    """
    size = about.facts.image_size
    if about.stride is not None and size % about.stride == 0 and size >= LEAST * about.stride:
        with contextlib.suppress(Exception):  # some networks of free size compute with it; then it is fixed
            return capture(answering, (2 * about.stride, 3 * about.stride), about.stride), about
    about = replace(about, stride=None)
    try:
        return capture(answering, (size, size), None), about
    except Exception as error:  # torch.export has no common class for what it cannot capture
        raise UserError(
            f"{network_name(answering)} cannot be captured as a graph ({first_line(error)}); use --format safetensors"
        ) from error


def capture(answering: Answering, size: tuple[int, int], stride: int | None) -> ExportedProgram:
    """The graph, captured with three images of this height and width."""
    free: dict[int, Any] = {0: Dim("batch", min=1)}
    if stride is not None:
        free |= {axis: stride * Dim(name, min=LEAST, max=LONGEST) for axis, name in ((2, "rows"), (3, "columns"))}
    example = torch.rand(3, answering.channels, *size, generator=torch.Generator().manual_seed(0))
    with quiet(), torch.no_grad():
        return torch.export.export(answering, (example,), dynamic_shapes=(free,))


def in_standard_operators() -> dict[Any, Callable[..., Any]]:
    """Operations that ONNX has not, in those that it has."""
    return {torch.ops.aten.hypot.default: lambda a, b: (a * a + b * b).sqrt()}


def network_name(answering: Answering) -> str:
    """Of the encoder, for messages."""
    return type(getattr(answering.network.encoder, "encoder", answering.network.encoder)).__name__


def first_line(error: Exception) -> str:
    """Of what an error says."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters tell about themselves; what matters is raised."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def read_safetensors(path: Path) -> Answer:
    """The network of a file."""
    return of_safetensors(path)[1]


def read_onnx(path: Path) -> Answer:
    """Likewise."""
    return of_onnx(path)[1]


def read_torch_export(path: Path) -> Answer:
    """Likewise; only ever of a file that was just written here, because reading such a file may run code."""
    with path.open("rb") as file, quiet():
        module: Answer = torch.export.load(file).module()
    return module


class Format(NamedTuple):
    """How a file is written, which says what the student in it is, and read again."""

    write: Callable[[Path, Answering, About, dict[str, Any]], About]
    read: Callable[[Path], Answer]


FORMATS = {
    "safetensors": Format(write_safetensors, read_safetensors),
    "onnx": Format(write_onnx, read_onnx),
    "torch-export": Format(write_torch_export, read_torch_export),
}
