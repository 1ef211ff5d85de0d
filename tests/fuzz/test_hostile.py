"""Files that are made to do harm: pickles that run code, archives that burst, names and links that lead elsewhere."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.students import Runs
from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.encoders.weight_files import read_file
from wherewhen.errors import UserError
from wherewhen.ingest import archive
from wherewhen.patch_lists import read_names, read_positions
from wherewhen.scenes.hrefs import Origin
from wherewhen.store import PatchStore
from wherewhen.student import load
from wherewhen.tasks.checkpoint import read_checkpoint


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self.mark), "w"))


READERS: dict[str, Callable[[Path], object]] = {
    "last.ckpt": load,
    "best.ckpt": read_checkpoint,
    "weights.pth": read_file,
    "weights.pt": read_file,
    "weights.ckpt": read_file,
    "weights.safetensors": read_file,
    "student.safetensors": load,
    "student.onnx": load,
    "student.pt2": load,
    "ids.pkl": lambda path: read_names(path, ["a"]),
    "ids.npy": read_positions,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("form", ["torch", "torch, old", "pickle", "inside a checkpoint", "numpy"])
def test_no_foreign_file_runs_code(name: str, form: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / name
    value: Any = {"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": Bomb(mark), "wherewhen": Bomb(mark)}
    match form:
        case "torch":
            torch.save(Bomb(mark), path)
        case "torch, old":
            torch.save(value, path, _use_new_zipfile_serialization=False)
        case "inside a checkpoint":
            torch.save(value, path)
        case "numpy":
            with path.open("wb") as file:
                np.save(file, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
        case _:
            path.write_bytes(pickle.dumps(value))
    try:
        READERS[name](path)
    except UserError as error:
        assert name in str(error)  # noqa: PT017  # it need not come
    else:  # tensors are taken, what lies beside them is not even made
        assert (READERS[name], form) == (read_file, "inside a checkpoint")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark))).close()  # so it would have
    assert mark.exists()


def test_a_checkpoint_builds_networks_only(runs: Runs, tmp_path: Path) -> None:
    """Names in it lead to classes; only those that are networks, or algorithms, are called."""
    whole = torch.load(runs("taught") / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    for part, name in (("encoder", "os.system"), ("encoder", "subprocess.Popen"), ("algorithm", "pathlib.Path")):
        changed = whole["wherewhen"] | {part: {"name": name, "args": f"touch {tmp_path / 'ran'}"}}
        torch.save(whole | {"wherewhen": changed}, tmp_path / "last.ckpt")
        with pytest.raises(UserError, match=r"last\.ckpt: .*is no "):
            load(tmp_path / "last.ckpt", "cpu")
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_bursts_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/zeros.jpg", bytes(64 * 2**20))
    assert path.stat().st_size < 100_000
    with archive.opened(path, largest=2**20) as content, pytest.raises(ValueError, match="longer than 1048576 bytes"):
        content("a/zeros.jpg")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:/a.jpg", "C:\\a.jpg"])
def test_an_archive_that_leads_outside_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as made:
        made.writestr(name, "x")
    with pytest.raises(UserError, match="member that points outside"):
        archive.names_in(tmp_path / "data.zip")


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/passwd", "a/pixels-00000.npy"])
def test_a_store_reads_its_own_files_only(name: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 12).path
    np.save(tmp_path / "outside.npy", np.zeros((12, 3, 16, 16), np.uint8))
    text = (store / "store.json").read_text(encoding="utf-8")
    (store / "store.json").write_text(text.replace("pixels-00000.npy", name), encoding="utf-8")
    with pytest.raises(UserError, match="is no file of a store"):
        PatchStore.open(store)


def test_links_in_place_of_outputs_are_not_written_through(tmp_path: Path) -> None:
    """A file that is written takes the place of a link, and leaves what it led to."""
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    run.mkdir()
    for name in ("config.yaml", "metrics.csv", "labelled.csv", "environment.json"):
        (run / name).symlink_to(victim)
    config = settings(make_store(tmp_path / "store").path, algorithm=None, teacher=None)
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    assert main(["fit", "--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(run)]) == 0
    assert victim.read_text() == "mine"
    assert not (run / "metrics.csv").is_symlink()


LOCAL = ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "0.0.0.0", "[fe80::1]")
ENCODED = ("2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]")


@pytest.mark.parametrize("host", [*LOCAL, *ENCODED])
@pytest.mark.parametrize("catalog", ["/data/catalog.json", "https://example.org/catalog.json"])
def test_hrefs_do_not_lead_into_this_network(host: str, catalog: str) -> None:
    with pytest.raises(ValueError, match="on this machine or its network"):
        Origin.of(catalog).resolve(f"http://{host}/b.tif", catalog)


def test_deep_json_is_refused(tmp_path: Path) -> None:
    """A text that Python's reader cannot follow."""
    store = make_store(tmp_path / "store", 12).path
    (store / "store.json").write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(UserError, match=r"store\.json"):
        PatchStore.open(store)


def test_no_file_is_read_into_memory_for_its_name_alone(tmp_path: Path) -> None:
    """A header that promises gigabytes is a damaged one."""
    store = make_store(tmp_path / "store", 12).path
    path, buffer = store / "pixels-00000.npy", io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 3, 512, 512)}
    )
    path.write_bytes(buffer.getvalue().ljust(path.stat().st_size, b"\0"))
    with pytest.raises(UserError, match=r"cannot read .*pixels-00000\.npy"):
        PatchStore.open(store)
