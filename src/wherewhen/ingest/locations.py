"""Tables of places that come beside pictures which know none."""

from pathlib import Path, PurePosixPath

import pandas as pd
import yaml

from wherewhen.errors import UserError


def read_locations(path: Path) -> pd.DataFrame:
    """Columns `lat`, `lon` (degrees, NaN where there is no number), `stated` (class, if any), `line`; by patch id.

    Args:
        path: A CSV with the columns file, class_name, lat, lon; or YAML, `STEM: [longitude, latitude, …]`.

    Raises:
        UserError: The file cannot be read, has another form, or names a patch twice.
    """
    table = _read_yaml(path) if path.suffix in (".yaml", ".yml") else _read_csv(path)
    ids = table["file"].map(lambda file: PurePosixPath(file).stem)
    if (twice := ids.duplicated()).any():
        line, name = table["line"][twice].iloc[0], ids[twice].iloc[0]
        raise UserError(f"{path}: line {line} names {name!r} a second time; remove one of its rows")
    columns = {
        "lat": pd.to_numeric(table["lat"], errors="coerce"),
        "lon": pd.to_numeric(table["lon"], errors="coerce"),
        "stated": table["class_name"],
        "line": table["line"],
    }
    return pd.DataFrame(columns).set_index(ids)


def _read_csv(path: Path) -> pd.DataFrame:
    """Columns file, class_name, lat, lon as text, and the line."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; --locations must be a CSV or YAML file") from error
    for column in ("file", "class_name", "lat", "lon"):
        if column not in table:
            raise UserError(f"{path}: column {column!r} is missing; the columns must be file, class_name, lat, lon")
    return table.assign(line=table.index + 2)


def _read_yaml(path: Path) -> pd.DataFrame:
    """The same of `STEM: [longitude, latitude, …]`; there is no class in it.

    The nodes are looked at as they are written: nothing is constructed, and a name that comes twice is seen.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where libyaml is there
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path} as YAML: {error}; fetch it again, or give a CSV file") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path} is no mapping; each line must be STEM: [longitude, latitude]")
    rows = []
    for key, value in root.value:
        line = key.start_mark.line + 1
        pair = value.value[:2] if isinstance(value, yaml.SequenceNode) else []
        if len(pair) < 2 or not all(isinstance(node, yaml.ScalarNode) for node in (key, *pair)):
            raise UserError(f"{path}: line {line} is not STEM: [longitude, latitude]; correct it")
        rows.append((key.value, None, pair[1].value, pair[0].value, line))
    return pd.DataFrame(rows, columns=["file", "class_name", "lat", "lon", "line"])
