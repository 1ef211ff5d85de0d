"""The rows of the leaderboard: what the folder of configurations and the controls make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wherewhen.demo import METHODS
from wherewhen.errors import UserError

TITLES = METHODS | {"all_labels": "image model, all labels"}
ALL_LABELS = ("--data.labels_per_class", "null", "--data.label_share", "null")

# name -> what it says; the functions are in `classical.METHODS`
STATISTICAL = {
    "colour_statistics": "colour and gradient statistics + logistic regression (C = 0.1)",
    "colour_statistics_free": "colour and gradient statistics + logistic regression (C = 10)",
    "place_neighbour": "nearest neighbour on place alone",
    "random_features": "nearest neighbour on frozen random features",
}
STATISTICAL_CONTROLS = {
    "place_and_time_forest": "place and time alone, forest",
    "centre_pixel_forest": "centre pixel alone, forest",
    "centre_pixel_logistic": "centre pixel alone, logistic regression",
    "band_means_forest": "band means alone, forest",
    "band_means_logistic": "band means alone, logistic regression",
}
RIVALS = ("centre_pixel", "band_means")  # of the rows that begin like this the best is shown


@dataclass(frozen=True)
class Row:
    """A row.

    Args:
        name: For `--rows`, and the name of its folders.
        title: For people.
        kind: A key of `work.KINDS`.
        config: The YAML file that it is made from; of statistical rows, the one whose split is used.
        words: Overrides of the configuration that make it.
        base: Name of the row whose training it looks at; empty where it has its own, or none.
        control: Not a method, but a check.
        fixed: The label budget is the configuration's own, or all labels.
        rivals: Of rows with the same word here the best is shown.
    """

    name: str
    title: str
    kind: str
    config: Path
    words: tuple[str, ...] = ()
    base: str = ""
    control: bool = False
    fixed: bool = False
    rivals: str = ""


def rows_of(folder: Path, controls: bool, wanted: Sequence[str] | None) -> list[Row]:
    """Every row, or those that are wanted, with the trainings that they look at.

    Raises:
        UserError: The folder holds no configuration, or a wanted row does not exist.
    """
    known = list(TITLES)
    configs = sorted(folder.glob("*.yaml"), key=lambda p: (known.index(p.stem) if p.stem in known else 99, p.stem))
    if not configs:
        raise UserError(f"{folder} holds no configuration (*.yaml); give a folder such as configs/eurosat/cpu")
    reference = next((path for path in configs if path.stem == "supervised"), configs[0])
    rows = statistical(reference, controls)
    for path in configs:
        rows += trained(path, controls)
    if wanted is None:
        return rows
    if unknown := sorted(set(wanted) - {row.name for row in rows}):
        names = ", ".join(row.name for row in rows)
        raise UserError(f"there is no row {unknown[0]!r}; choose among {names} (more with --controls)")
    bases = {row.base for row in rows if row.name in wanted}
    return [row for row in rows if row.name in (*wanted, *bases)]


def statistical(reference: Path, controls: bool) -> list[Row]:
    """Rows without a trained network."""
    from_scratch = ("--from_scratch",)  # an encoder that starts from weights is not a random one
    rows = [Row(name, title, "statistical", reference, from_scratch) for name, title in STATISTICAL.items()]
    for name, title in STATISTICAL_CONTROLS.items() if controls else ():
        rivals = next((start for start in RIVALS if name.startswith(start)), "")
        rows.append(Row(name, title, "statistical", reference, ALL_LABELS, control=True, fixed=True, rivals=rivals))
    return rows


def trained(path: Path, controls: bool) -> list[Row]:
    """Rows of one configuration: its student, and its teacher where it has one."""
    config = read_config(path)
    data, has_teacher = config.get("data") or {}, (config.get("model") or {}).get("teacher") is not None
    fixed = data.get("label_share") is not None or data.get("labels_per_class", 0) is None
    name, title = path.stem, TITLES.get(path.stem, path.stem)
    rows = [Row(name, title, "trained", path, fixed=fixed)]
    if not has_teacher:
        return rows
    plain = title.removesuffix(" (student)")
    rows.append(Row(f"{name}-teacher", f"{plain} (teacher: sees place, time)", "teacher", path, base=name, fixed=fixed))
    if controls:
        permuted = ("--data.permute_where", "true")
        far = "far places and times at test"
        rows += [
            Row(f"{name}-permuted", f"{title}, permuted metadata", "trained", path, permuted, "", True, fixed),
            Row(f"{name}-teacher-far", f"{plain} (teacher), {far}", "teacher_far", path, (), name, True, fixed),
            Row(f"{name}-student-far", f"{title}, {far}", "student_far", path, (), name, True, fixed),
        ]
    return rows


def read_config(path: Path) -> dict[str, Any]:
    """A configuration as it is written.

    Raises:
        UserError: It is not YAML.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML ({error}); mend it, or move it out of the folder") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no settings; mend it, or move it out of the folder")
    return config
