"""Damaged checkpoints, exports, weights and configurations."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import strategies as st

from tests.fuzz.harness import bear, cases
from tests.fuzz.mutations import ODD, damaged, replaced
from tests.students import Runs
from tests.tasks.conftest import make_store, settings
from wherewhen.cli import for_the_user
from wherewhen.encoders.weight_files import read_file
from wherewhen.errors import UserError
from wherewhen.export import export
from wherewhen.student import load
from wherewhen.tasks.verbs import Cli

LENGTH = 8  # bytes of the length of a safetensors header


def on_cpu(path: Path) -> object:
    return load(path, "cpu")


def writer(path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    return write


@cases("safetensors")
def test_safetensors(count: int, runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    export(runs("taught") / "run", "safetensors", path)
    whole = path.read_bytes()
    end = LENGTH + int.from_bytes(whole[:LENGTH], "little")
    header, tensors = json.loads(whole[LENGTH:end]), whole[end:]
    about = json.loads(header["__metadata__"]["wherewhen"])

    def file_of(changed: dict[str, Any]) -> bytes:
        text = json.dumps(changed).encode()
        return len(text).to_bytes(LENGTH, "little") + text + tensors

    told = replaced(about).map(lambda value: file_of(header | {"__metadata__": {"wherewhen": json.dumps(value)}}))
    inputs = st.one_of(told, replaced(header).map(file_of), damaged(whole))
    bear(count, inputs, writer(path), on_cpu)


@cases("checkpoint")
def test_checkpoints(count: int, runs: Runs, tmp_path: Path) -> None:
    whole = (runs("taught") / "run" / "checkpoints" / "last.ckpt").read_bytes()
    bear(count, damaged(whole), writer(tmp_path / "last.ckpt"), on_cpu)


@cases("checkpoint values")
def test_values_of_checkpoints(count: int, runs: Runs, tmp_path: Path) -> None:
    whole = torch.load(runs("taught") / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    kept, path = {key: whole[key] for key in ("state_dict", "wherewhen")}, tmp_path / "last.ckpt"
    odd = st.sampled_from((*ODD, torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64)))
    told = replaced(whole["wherewhen"]).map(lambda value: kept | {"wherewhen": value})
    names = st.sampled_from(sorted(kept["state_dict"]))
    weights = st.tuples(names, odd).map(lambda new: kept | {"state_dict": kept["state_dict"] | {new[0]: new[1]}})
    tops = st.tuples(st.sampled_from(sorted(kept)), odd).map(lambda new: kept | {new[0]: new[1]})

    def write(value: Any) -> Path:
        torch.save(value, path)
        return path

    bear(count, st.one_of(told, told, weights, tops, odd), write, on_cpu)


@cases("weights")
def test_weights(count: int, runs: Runs, tmp_path: Path) -> None:
    run = runs("taught") / "run"
    export(run, "safetensors", tmp_path / "seed.safetensors")
    seeds = {
        "pth": (run / "checkpoints" / "last.ckpt").read_bytes(),
        "safetensors": (tmp_path / "seed.safetensors").read_bytes(),
    }
    inputs = st.sampled_from(sorted(seeds)).flatmap(lambda s: st.tuples(st.just(s), damaged(seeds[s])))

    def write(value: tuple[str, bytes]) -> Path:
        path = tmp_path / f"weights.{value[0]}"
        path.write_bytes(value[1])
        return path

    bear(count, inputs, write, read_file)


@cases("onnx")
def test_onnx(count: int, runs: Runs, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX is not installed")
    path = tmp_path / "student.onnx"
    export(runs("taught") / "run", "onnx", path)
    bear(count, damaged(path.read_bytes()), writer(path), on_cpu)


@cases("config")
def test_configurations(count: int, tmp_path: Path) -> None:
    """As far as the networks: a configuration that is whole would train."""
    whole, path = settings(make_store(tmp_path / "store", 12).path), tmp_path / "fit.yaml"

    def read(file: Path) -> None:
        try:
            cli = Cli(["--config", str(file), "--run", str(tmp_path / "run")])
            cli.datamodule.setup("fit")
            cli.datamodule.labelled_ids()
            cli.model.build(cli.datamodule.facts)
        except OSError as error:  # of a path that cannot be; the command line tells it as its own
            raise UserError(for_the_user(error) or "") from error

    values = replaced(copy.deepcopy(whole)).map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode())
    bear(count, st.one_of(values, damaged(yaml.safe_dump(whole).encode())), writer(path), read, named=False)
