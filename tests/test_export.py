"""The student as a file that answers as the checkpoint does."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import wherewhen
from tests.students import RECIPES, Runs, asked_of
from wherewhen import export_formats
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.export import TOLERANCE, export
from wherewhen.export_formats import FORMATS, METADATA, Format, captured, write_onnx
from wherewhen.student_files import About, of_checkpoint

# Writing a graph takes seconds to tens of them, so most of these run on demand.
GRAPHS = [
    pytest.param(
        name, form, marks=() if (name, form) in (("cdmad", "onnx"), ("taught", "torch-export")) else pytest.mark.slow
    )
    for name in RECIPES
    for form in ("onnx", "torch-export")
]


@pytest.mark.parametrize("name", RECIPES)
def test_safetensors_hold_the_same_student(runs: Runs, tmp_path: Path, name: str) -> None:
    there, out = runs(name), tmp_path / "student.safetensors"
    difference, shown = export(there / "run", "safetensors", out)
    assert (difference, shown.origin) == (0, "patches of the run's store")
    ours, theirs, images = wherewhen.load(there / "run"), wherewhen.load(out), asked_of(there, name)
    assert ours.about == theirs.about
    np.testing.assert_array_equal(ours.predict_proba(images), theirs.predict_proba(images))
    with safe_open(out, "pt") as file:
        names = set(file.keys())
    assert not [name for name in names if "ema" in name or "optimizer" in name or "metadata" in name]
    assert ("nothing" in names) == (name in ("cdmad", "many", "unet"))


@pytest.mark.parametrize(("name", "form"), GRAPHS)
def test_graphs_answer_alike_for_any_number_of_images(runs: Runs, tmp_path: Path, name: str, form: str) -> None:
    there = runs(name)
    out = tmp_path / ("student.onnx" if form == "onnx" else "student.pt2")
    assert export(there / "run", form, out)[0] <= TOLERANCE
    student, images = wherewhen.load(there / "run", device="cpu"), asked_of(there, name)
    flat = (
        torch.from_numpy(images).flatten(1, 2).float() if student.kind == "change" else torch.from_numpy(images).float()
    )
    if name == "many":
        flat = torch.nn.functional.interpolate(flat, (8, 8), mode="bilinear", antialias=True).round()
    answer = in_onnx(out) if form == "onnx" else in_torch(out)
    network: Any = student.answer
    others = [flat[:2].repeat(1, 1, 3, 2)] if name == "unet" else []
    if name == "unet" and form == "onnx":
        others.append(flat[:2, :, :32, :32])  # one stride, which PyTorch's own graphs refuse
    for pixels in (flat[:1], flat[:7], *others):
        with torch.no_grad():
            expected = network(pixels)
        torch.testing.assert_close(answer(pixels), expected, atol=TOLERANCE, rtol=0)


def in_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """By onnxruntime itself, without this package."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["wherewhen"])["facts"]
    assert [band["unit"] for band in facts["bands"]] == ["8-bit"] * 3
    assert len(facts["classes"]) in (2, 3)
    return lambda pixels: torch.from_numpy(session.run(["probabilities"], {"pixels": pixels.numpy()})[0])


def in_torch(path: Path) -> Callable[[Tensor], Tensor]:
    files = {METADATA: ""}
    module: Any = torch.export.load(path, extra_files=files).module()
    assert json.loads(files[METADATA])["facts"]["bands"][0]["name"] == "red"
    return module  # type: ignore[no-any-return]


def test_an_onnx_file_is_a_student(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "student.onnx"
    assert main(["export", str(runs("cdmad") / "run"), "--format", "onnx", "--out", str(out)]) == 0
    ours, theirs = wherewhen.load(runs("cdmad") / "run"), wherewhen.load(out)
    assert ours.about == theirs.about
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 40, 20), dtype=np.uint8)
    np.testing.assert_allclose(ours.predict_proba(images), theirs.predict_proba(images, batch=2), atol=TOLERANCE)


# -- what goes wrong leaves no file


def bent(form: str) -> Format:
    """A format that writes other weights."""
    right = FORMATS[form]

    def write(path: Path, answering: Any, about: About, spec: dict[str, Any]) -> About:
        head = answering.network.head
        was = head.bias.clone()
        head.bias[0] += 0.01
        try:
            return right.write(path, answering, about, spec)
        finally:
            head.bias.copy_(was)

    return Format(write, right.read)


def test_a_file_that_answers_differently_is_not_kept(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "safetensors", bent("safetensors"))
    out = tmp_path / "student.safetensors"
    words = ["export", str(runs("taught") / "run"), "--out", str(out)]
    assert main(words) == 2
    assert re.search(r"differ by up to \d\.\de-03, more than 0.0001; nothing was written", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
    out.write_bytes(b"an older one")
    assert main(words) == 2
    assert out.read_bytes() == b"an older one"


class Spectrum(nn.Module):
    """Something that ONNX has not."""

    def forward(self, images: Tensor, token: Tensor | None = None) -> Tensor:
        answer: Tensor = torch.special.bessel_j0(images.mean((2, 3)))
        return answer


class Moody(nn.Module):
    """What it does depends on what it sees."""

    def forward(self, images: Tensor, token: Tensor | None = None) -> Tensor:
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Spectrum(), r"Spectrum cannot be written as ONNX \(ONNX has no .*bessel_j0.*\); use --format safetensors"),
        (Moody(), r"Moody cannot be captured as a graph \(.*\); use --format safetensors"),
    ],
)
def test_what_no_graph_can_hold_is_one_clear_error(
    runs: Runs, tmp_path: Path, encoder: nn.Module, message: str
) -> None:
    about, answering = of_checkpoint(runs("resnet") / "run" / "checkpoints" / "last.ckpt")
    answering.network.encoder, answering.network.head = encoder, nn.Linear(3, 3)
    with pytest.raises(UserError, match=message):
        write_onnx(tmp_path / "student.onnx", answering, about, {})
    assert not list(tmp_path.iterdir())


def test_a_size_that_is_no_multiple_of_the_stride_stays_fixed(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    about, answering = of_checkpoint(runs("change") / "run" / "checkpoints" / "last.ckpt")  # 16 pixels, stride 32
    sizes = []
    monkeypatch.setattr(export_formats, "capture", lambda network, size, stride: sizes.append((size, stride)))
    assert captured(answering, about)[1].stride is None
    assert sizes == [((16, 16), None)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onnx", "--out", "student.pt2"], "a file of format onnx ends in .onnx"),
        (["--checkpoint", "nowhere.ckpt"], "there is no checkpoint nowhere.ckpt"),
        (["--store", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    run = runs("taught") / "run"
    before = sorted(run.iterdir())
    assert main(["export", str(run), *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(run.iterdir()) == before


def test_a_run_whose_store_is_gone_is_checked_on_generated_patches(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "student.safetensors"
    (run / "checkpoints").mkdir(parents=True)
    last = Path("checkpoints") / "last.ckpt"
    (run / last).write_bytes((runs("unet") / "run" / last).read_bytes())
    assert main(["export", str(run), "--out", str(out)]) == 0
    assert "over 33 generated patches: the run's store is gone" in capsys.readouterr().out
    card = Path(f"{out}.md").read_text(encoding="utf-8")
    assert "was not there when this card was written" in card
    assert "- anything, before it is tested" in card
    store = runs("unet") / "store"
    assert main(["export", str(run), "--out", str(out), "--store", str(store)]) == 0
    assert "over 33 patches of the run's store" in capsys.readouterr().out
    assert wherewhen.load(out).about.patch_size == 64
    strange = str(runs("change") / "store")
    assert main(["export", str(run), "--out", str(out), "--store", strange]) == 2


# -- the card


def test_the_card_says_what_a_user_must_know(runs: Runs, tmp_path: Path) -> None:
    run, out = runs("taught") / "run", tmp_path / "forests.safetensors"
    audit = run / "metadata.md"
    audit.write_text("| network | is told |\n", encoding="utf-8")
    try:
        export(run, "safetensors", out, licence="CC-BY-4.0")
    finally:
        audit.unlink()
    card = Path(f"{out}.md").read_text(encoding="utf-8")
    report = json.loads((run / "test.json").read_text(encoding="utf-8"))
    low, high = report["accuracy_interval"]
    for text in (
        "license: CC-BY-4.0",
        "a teacher that knew them made labels",
        "| red | 664.6 | 8-bit |",
        "1. forest",
        "- 60 patches of 3 × 16 × 16",
        "- labelled: 6 ",
        "- budget: labels_per_class 2",
        f"| accuracy | {report['accuracy']:.3f} | {low:.3f} to {high:.3f} |",
        "| network | is told |",
        "estimate them from a reference sample",
        "- training data: **not stated",
        "0.0e+00 over 33 patches",
    ):
        assert text in card
    assert str(run.parent) not in card  # whoever gets the card has no use for our paths
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    names: dict[str, Any] = {"images": asked_of(runs("taught"), "taught")}
    with contextlib.chdir(tmp_path):
        exec(code, names)
    np.testing.assert_array_equal(names["p"], wherewhen.load(run).predict_proba(names["images"]))
