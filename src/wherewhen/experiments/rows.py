"""The rows of a table: what the folder of configurations, overrides and controls make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wherewhen.errors import UserError
from wherewhen.experiments.cells import STUDENT, Question
from wherewhen.files import read_yaml
from wherewhen.tasks.samples import Target

ALGORITHMS = {
    "fixmatch": "FixMatch",
    "udal": "UDAL",
    "softmatch": "SoftMatch",
    "freematch": "FreeMatch",
    "defixmatch": "DeFixMatch",
    "cap": "CAP",
    "cdmad": "CDMAD",
}
INSIDE = " + ST-SSL (student)"
# file name without its ending -> what it says, in the order of the tables
TITLES = (
    {"supervised": "supervised"}
    | ALGORITHMS
    | {f"stssl_{name}": title + INSIDE for name, title in ALGORITHMS.items()}
    | {"all_labels": "image model, all labels"}
)
BUDGETS = ("labels_per_class", "label_share", "labelled_file")
ALL_LABELS = tuple(word for key in BUDGETS for word in (f"--data.{key}", "null"))

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
        question: What it asks that training's networks.
        control: Not a method, but a check.
        fixed: Its labels are all, or those of the configuration's file, whatever label budgets are compared.
        rivals: Of rows with the same word here the best is shown.
        pool: Rows with the same word here are replicates of one, which is shown under the first one's title.
        against: Names of the rows over which its gain is shown.
        published: Split and label budget -> the paper's figure in %.
    """

    name: str
    title: str
    kind: str
    config: Path
    words: tuple[str, ...] = ()
    base: str = ""
    question: Question = STUDENT
    control: bool = False
    fixed: bool = False
    rivals: str = ""
    pool: str = ""
    against: tuple[str, ...] = ()
    published: Mapping[tuple[str, float], float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What a report needs to know."""
        kept = ("name", "title", "kind", "control", "rivals", "pool", "against")
        published = [(*where, figure) for where, figure in self.published.items()]
        return {key: getattr(self, key) for key in kept} | {"published": published}


def configurations(folder: Path) -> list[Path]:
    """The YAML files of a folder in the order of the tables.

    Raises:
        UserError: There are none.
    """
    known = list(TITLES)
    found = sorted(folder.glob("*.yaml"), key=lambda p: (known.index(p.stem) if p.stem in known else 99, p.stem))
    if not found:
        raise UserError(f"{folder} holds no configuration (*.yaml); give a folder such as configs/eurosat/cpu")
    return found


def configuration(folder: Path, name: str) -> Path:
    """One of them by its name.

    Raises:
        UserError: It is missing.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing, and the experiment needs it; give a folder such as configs/eurosat/cpu")
    return path


def chosen(rows: Sequence[Row], wanted: Sequence[str] | None) -> list[Row]:
    """Every row, or those that are wanted with the trainings that they look at.

    Raises:
        UserError: A wanted row does not exist.
    """
    if wanted is None:
        return list(rows)
    if unknown := sorted(set(wanted) - {row.name for row in rows}):
        raise UserError(f"there is no row {unknown[0]!r}; choose among {', '.join(row.name for row in rows)}")
    bases = {row.base for row in rows if row.name in wanted}
    return [row for row in rows if row.name in (*wanted, *bases)]


def of_folder(folder: Path, controls: bool) -> list[Row]:
    """Rows without a trained network, and those of every configuration.

    Raises:
        UserError: The folder holds no configuration.
    """
    configs = configurations(folder)
    reference = next((path for path in configs if path.stem == "supervised"), configs[0])
    return compared(statistical(reference, controls) + [row for path in configs for row in trained(path, controls)])


def compared(rows: Sequence[Row]) -> list[Row]:
    """The same: ST-SSL held against its algorithm alone and its own control, and all against supervised training."""
    names = {row.name for row in rows}

    def opponents(row: Row) -> tuple[str, ...]:
        if row.kind != "trained" or row.fixed:
            return ()
        alone = row.name.removesuffix("-permuted").removeprefix("stssl_")
        wanted = (alone,) if row.control else (alone, "supervised", f"{row.name}-permuted")
        return tuple(name for name in dict.fromkeys(wanted) if name in names and name != row.name)

    return [replace(row, against=opponents(row)) for row in rows]


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
    config = read_yaml(path)
    data, has_teacher = config.get("data") or {}, (config.get("model") or {}).get("teacher") is not None
    fixed = data.get("labelled_file") is not None or (
        data.get("label_share") is None and data.get("labels_per_class", 0) is None
    )
    name, title = path.stem, TITLES.get(path.stem, path.stem)
    rows = [Row(name, title, "trained", path, fixed=fixed)]
    if not has_teacher:
        return rows
    plain = title.removesuffix(" (student)")
    teacher = f"{plain} (teacher: sees place, time)"
    rows.append(Row(f"{name}-teacher", teacher, "asked", path, base=name, question=Question("teacher"), fixed=fixed))
    if controls:
        permuted, far = ("--data.permute_where", "true"), "far places and times at test"
        check = Row(name, title, "asked", path, base=name, control=True, fixed=fixed)
        rows += [
            Row(
                f"{name}-permuted", f"{title}, permuted metadata", "trained", path, permuted, control=True, fixed=fixed
            ),
            replace(
                check,
                name=f"{name}-teacher-far",
                title=f"{plain} (teacher), {far}",
                question=Question("teacher", "far"),
            ),
            replace(
                check,
                name=f"{name}-student-far",
                title=f"{plain} (student: sees neither), {far}",
                question=Question("student", "far"),
            ),
        ]
    return rows


def target_of(config: Path) -> Target:
    """What a configuration learns, `data.target`.

    Raises:
        UserError: It cannot be read.
    """
    target: Target = (read_yaml(config).get("data") or {}).get("target", "patch")
    return target
