"""How long a large store takes to open, and how much memory: its table alone, for patches of one pixel.

A process that has imported everything opens the store; what is told is its processor time (others may use the
machine) and the growth of its resident memory, at its peak and afterwards. Beside it stands pandas, which reads the
same file and checks nothing. Run:

    python benchmarks/index.py [--patches 549488] [--repeats 5]

549,488 is the number of patches of BigEarthNet 2.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from steps import table

from wherewhen.bands import load_sensor
from wherewhen.ingest.engine import build
from wherewhen.shards import Shard
from wherewhen.store_header import StoreHeader

CLASSES = tuple(f"class {number}" for number in range(19))
MIB = 2**20
OPENING = """
import json, sys, time
from wherewhen.store import PatchStore
import pandas as pd
def memory(name):
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
before, start = memory("VmRSS"), time.process_time()
opened = PatchStore.open(sys.argv[1]) if sys.argv[2] == "ours" else pd.read_parquet(sys.argv[1] + "/patches.parquet")
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "peak": memory("VmHWM") - before, "stays": memory("VmRSS") - before}))
"""


def one_pixel_each(plan: pd.DataFrame) -> Shard:
    """Rows with 1 × 1 pixels."""
    return Shard(plan, np.zeros((len(plan), 1, 1, 1), np.uint8))


def make_store(path: Path, count: int) -> None:
    """A store of many patches without pixels worth speaking of, with labels as BigEarthNet has them."""
    rng = np.random.default_rng(0)
    names = [f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{n // 1000}_{n % 1000}" for n in range(count)]
    frame = pd.DataFrame(
        {
            "id": names,
            "lat": rng.uniform(36, 70, count),
            "lon": rng.uniform(-9, 31, count),
            "time": pd.Timestamp("2017-06-13 10:10:31") + pd.to_timedelta(rng.integers(0, 365, count), unit="D"),
            "label": list(rng.integers(0, len(CLASSES), (count, 3))),
            "split": rng.choice(["train", "val", "test"], count),
            "source": "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP",
        }
    )
    header = StoreHeader(load_sensor("rgb8").bands[:1], CLASSES, "many", 10.0, "made for a benchmark", "")
    build(path, frame, one_pixel_each, header, shard_size=1024, workers=1, title="benchmark")


def measured(path: Path, who: str) -> dict[str, float]:
    """One opening in a process of its own."""
    done = subprocess.run([sys.executable, "-c", OPENING, str(path), who], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--patches", type=int, default=549_488)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        make_store(store, args.patches)
        rows = [[f"{args.patches:,} patches", "seconds of processor", "peak, MiB", "afterwards, MiB"]]
        for who in ("ours", "pandas"):
            runs = pd.DataFrame([measured(store, who) for _ in range(args.repeats)]).median()
            rows.append([who, f"{runs.seconds:.2f}", f"{runs.peak / MIB:.0f}", f"{runs.stays / MIB:.0f}"])
    print(table(rows))


if __name__ == "__main__":
    main()
