"""A small index in the layout of BigEarthNet version 2's."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

COUNTRIES = {"Portugal": (38.5, -8.3, 32629), "Ireland": (53.0, -7.0, 32629), "Finland": (63.0, 26.0, 32635)}


def index_rows(count: int = 60, seed: int = 0) -> pd.DataFrame:
    """`count` made-up records; every tenth is flagged for snow, every fifteenth for a cloud."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        country = list(COUNTRIES)[number % 3]
        lat, lon, epsg = COUNTRIES[country]
        time = pd.Timestamp("2017-06-13T10:10:31") + pd.Timedelta(days=int(rng.integers(340)))
        rows.append(
            {
                "patch_id": f"S2A_MSIL2A_{time:%Y%m%dT%H%M%S}_N9999_R022_T33UUP_{number}_{number % 7}",
                "split": ("train", "validation", "test")[number // 3 % 3],
                "country": country,
                "date": time.isoformat(),
                "lat": round(lat + rng.uniform(-1, 1), 5),
                "lon": round(lon + rng.uniform(-0.5, 0.5), 5),
                "epsg": epsg,
                "x0": 331200 + 1200 * number,
                "y0": 5331600,
                "labels_mask": int(sum(1 << k for k in rng.choice(19, rng.integers(1, 5), replace=False))),
                "contains_seasonal_snow": int(number % 10 == 9),
                "contains_cloud_or_shadow": int(number % 15 == 14),
            }
        )
    return pd.DataFrame(rows)


def write_index(path: Path, rows: pd.DataFrame) -> Path:
    """Write the rows as CSV, gzipped where the name ends so."""
    text = rows.to_csv(index=False).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
