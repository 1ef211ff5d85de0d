"""The model card of an exported student (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wherewhen.errors import UserError
from wherewhen.files import read_json, sha256_of
from wherewhen.store_header import StoreHeader

if TYPE_CHECKING:
    from wherewhen.store import PatchStore
    from wherewhen.student_files import About

KINDS = {
    "one": "one class of a patch",
    "many": "the classes that a patch shows, each with a probability of its own",
    "mask": "a class of every pixel",
    "change": "of every pixel, whether it changed between two dates",
}
FILL = "**not stated: fill in before you pass the model on**"


def card(
    run: Path,
    out: Path,
    about: "About",
    settings: Mapping[str, Any],
    header: StoreHeader | None,
    store: "PatchStore | None",
    licence: str,
    difference: str,
) -> str:
    """The card.

    Args:
        run: The run's folder, whose `test.json`, `labelled.csv`, `environment.json` and `metadata.md` are read if
            they are there.
        out: The exported file.
        about: What the student is.
        settings: The run's configuration; empty where it is gone.
        header: Of its store; None where it is gone.
        store: The same, to say where and when its training patches were taken.
        licence: Of the model; empty where nobody said.
        difference: Largest between the checkpoint and the file, and over what.
    """
    facts = about.facts
    parts = [
        f"---\nlicense: {licence or 'unknown'}\nlibrary_name: wherewhen\n---",
        f"# {out.stem}",
        f"From an image alone: {KINDS[facts.label_kind]}. Place and time are never an input"
        + ("; a teacher that knew them made labels in the training." if part(settings, "model", "teacher") else "."),
        "## Use",
        use(out),
        "## Input",
        "\n".join(inputs(about)),
        "## Classes",
        "\n".join(f"{index}. {name}" for index, name in enumerate(facts.classes)),
        "## Data",
        "\n".join(data(settings, header, store)),
        "## Labels and training",
        "\n".join(training(run, settings)),
        "## Test",
        test(run),
        "## Metadata audit",
        audit(run),
        "## What it must not be used for",
        "\n".join(limits(about, run)),
        "## Licences",
        f"- model: {licence or FILL}\n- training data: {(header.licence if header else '') or FILL}",
        "## This file",
        f"- `{out.name}`, SHA-256 `{sha256_of(out)}`\n- largest difference of probabilities from the checkpoint "
        f"(float32): {difference}\n{versions(run)}",
    ]
    return "\n\n".join(parts) + "\n"


def use(out: Path) -> str:
    """Commands that load the file."""
    if out.suffix != ".pt2":
        return (
            f'```python\nimport wherewhen\n\nstudent = wherewhen.load("{out.name}")\n'
            "p = student.predict_proba(images)  # (N, C, H, W) stored numbers\n```"
        )
    return (
        f'```python\nimport torch\n\nanswer = torch.export.load("{out.name}").module()  # may run code\n'
        "p = answer(images)  # float32 (N, C, H, W) stored numbers\n```"
    )


def inputs(about: "About") -> Iterator[str]:
    """What an image must be."""
    facts = about.facts
    size = f"{facts.image_size} × {facts.image_size} pixels"
    if about.stride is not None:
        size = f"{size} in training; sides of any multiple of {about.stride}"
    elif not facts.dense:
        size = f"patches, resized to {size}"
        if about.patch_size is not None:
            size += f" (they were {about.patch_size} × {about.patch_size} when they were prepared)"
    yield f"Stored numbers, float32, (N, {len(facts.bands) * facts.dates}, H, W), {size}."
    if facts.dates == 2:
        yield "The bands of the earlier image come first, then those of the later."
    if about.pixel_size is not None:
        yield f"A pixel of the prepared patches was {about.pixel_size:g} m."
    yield ""
    yield "| band | wavelength (nm) | unit | means | mean ± std in training |"
    yield "|---|---|---|---|---|"
    for band, mean, std in zip(facts.bands, facts.mean, facts.std, strict=True):
        wavelength = "" if band.wavelength is None else f"{band.wavelength:g}"
        meaning = f"(stored + {band.offset:g}) × {band.scale:g}"
        yield f"| {band.name} | {wavelength} | {band.unit} | {meaning} | {mean:.4g} ± {std:.4g} |"


def data(settings: Mapping[str, Any], header: StoreHeader | None, store: "PatchStore | None") -> Iterator[str]:
    """Where the patches come from."""
    if header is None:
        yield f"- store: {part(settings, 'data', 'store') or 'unknown'}, which was not there when this card was written"
        return
    yield f"- source: {header.provenance or FILL}"
    yield f"- licence: {header.licence or FILL}"
    yield f"- {header.patches} patches of {' × '.join(map(str, header.shape))} (bands, rows, columns)"
    if header.skipped:
        yield f"- {len(header.skipped)} patches were left out when they were prepared"
    if store is None:
        return
    place, time = store.place(), store.table["time"]
    if not np.isnan(place).all():
        (south, west), (north, east) = np.nanmin(place, 0), np.nanmax(place, 0)
        yield f"- places: {south:.2f} to {north:.2f} degrees north, {west:.2f} to {east:.2f} east"
    if time.notna().any():
        yield f"- dates: {time.min():%Y-%m-%d} to {time.max():%Y-%m-%d}"


def training(run: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """Labels, budget and method."""
    if (labelled := run / "labelled.csv").is_file():
        yield f"- labelled: {len(labelled.read_text(encoding='utf-8').splitlines()) - 1} (`labelled.csv` of the run)"
    for name in ("labels_per_class", "label_share", "labelled_file"):
        if (value := part(settings, "data", name)) is not None:
            yield f"- budget: {name} {Path(value).name if name == 'labelled_file' else value}"
    for name in ("encoder", "decoder", "algorithm", "teacher"):
        if value := part(settings, "model", name):
            shown = ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
            yield f"- {name}: {shown}"
    if (steps := part(settings, "trainer", "max_steps")) is not None:
        yield f"- {steps} steps, seed {settings.get('seed')}"
    if not settings:
        yield "- the run has no config.yaml"


def test(run: Path) -> str:
    """What `wherewhen test` found."""
    try:
        report = read_json(run / "test.json")
    except UserError:
        return "Not tested. `wherewhen test` says how good it is."
    rows = ["| metric | value | 95 % interval |", "|---|---|---|"]
    for name, value in report.items():
        if isinstance(value, float):
            low, high = report.get(f"{name}_interval", (None, None))
            rows.append(f"| {name} | {value:.3f} | {'' if low is None else f'{low:.3f} to {high:.3f}'} |")
    rows += ["", f"{report.get('images', 0)} test images; intervals: bootstrap over images, not over trainings."]
    rows.append("The figures are of the checkpoint that was tested last: of the run's last one, if no other was named.")
    if left_out := report.get("classes_left_out"):
        rows.append(f"No test image shows {', '.join(left_out)}; means over classes leave them out.")
    return "\n".join(rows)


def audit(run: Path) -> str:
    """What `wherewhen analyse metadata` found."""
    path = run / "metadata.md"
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    return "None was made (`wherewhen analyse metadata`). By construction the network has no input but pixels."


def limits(about: "About", run: Path) -> Iterator[str]:
    """What the card warns of."""
    yield "- images of another sensor, processing level, unit or resolution than above"
    yield "- places, seasons or years far from those of the training, unless it was tested there"
    yield "- areas counted from predictions: estimate them from a reference sample (Olofsson et al. 2014)"
    yield "- decisions about people, property or safety without a check on the ground"
    if not (run / "test.json").is_file():
        yield "- anything, before it is tested"
    if about.facts.label_kind == "one":
        yield "- images of none of the classes: it always names one"


def versions(run: Path) -> str:
    """Of what it was trained with."""
    try:
        packages = read_json(run / "environment.json")["packages"]
    except (UserError, KeyError, TypeError):
        return "- versions: unknown"
    return "- trained with " + ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def part(settings: Mapping[str, Any], section: str, name: str) -> Any:
    """A setting, None where there is none."""
    inside = settings.get(section)
    return inside.get(name) if isinstance(inside, Mapping) else None
