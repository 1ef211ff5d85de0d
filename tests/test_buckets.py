"""Folders into a bucket and out of it, against a local S3 server."""

import json
from pathlib import Path

import numpy as np
import pytest

obstore = pytest.importorskip("obstore", reason="the extra `buckets` is not installed")

from tests.s3 import address, bucket  # noqa: E402, F401
from tests.tasks.conftest import make_store  # noqa: E402
from wherewhen import buckets  # noqa: E402
from wherewhen.cli import main  # noqa: E402
from wherewhen.errors import UserError  # noqa: E402
from wherewhen.store import PatchStore  # noqa: E402

URL = "s3://archive/stores/mine"


def objects() -> dict[str, int]:
    return buckets.Bucket(URL).files()


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != buckets.LISTING
    }


def test_a_store_goes_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store")
    (store.path / ".half.part").write_text("unfinished")
    assert main(["copy", str(store.path), URL]) == 0
    (store.path / ".half.part").unlink()
    assert objects().keys() == tree(store.path).keys()
    assert main(["copy", URL, str(tmp_path / "back")]) == 0
    assert tree(tmp_path / "back") == tree(store.path)
    copy = PatchStore.open(tmp_path / "back")
    copy.verify()
    rows = np.array([0, 7])
    np.testing.assert_array_equal(copy.pixels(rows), store.pixels(rows))
    capsys.readouterr()
    assert main(["copy", URL, str(tmp_path / "back")]) == 0
    count = len(tree(store.path))
    assert capsys.readouterr().out == f"{tmp_path / 'back'}: 0 files, 0.0 MB copied, {count} were there\n"


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_broken_copy_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    source = tmp_path / "source"
    for number in range(20):
        path = source / f"part{number % 3}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(number).bytes(5000))
    (source / "store.json").write_text("{}")
    first, second = str(source), URL
    if way == "down":
        buckets.copy(str(source), URL)
        first, second = URL, str(tmp_path / "target")
    name = "put" if way == "up" else "get"
    honest, asked = getattr(buckets.Bucket, name), []

    def breaking(self: buckets.Bucket, key: str, *rest: object) -> object:
        if key != buckets.LISTING:
            asked.append(key)
            if len(asked) == 12:
                raise KeyboardInterrupt
        return honest(self, key, *rest)

    monkeypatch.setattr(buckets, "_THREADS", 1)
    monkeypatch.setattr(buckets.Bucket, name, breaking)
    with pytest.raises(KeyboardInterrupt):
        buckets.copy(first, second)
    assert "store.json" not in asked  # it comes last, and says that all is there
    monkeypatch.setattr(buckets.Bucket, name, honest)
    files, _, skipped = buckets.copy(first, second)
    assert skipped >= 8
    assert files + skipped == 21
    if way == "up":
        buckets.copy(URL, str(tmp_path / "target"))
    assert tree(tmp_path / "target") == tree(source)


def test_what_has_changed_is_copied_again(tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_text(f"old {name}")
    buckets.copy(str(source), URL)
    buckets.copy(URL, str(back))
    (source / "a").write_text("new a")  # as long as before
    assert buckets.copy(str(source), URL) == (1, 5, 1)
    assert buckets.copy(URL, str(back)) == (1, 5, 1)
    assert (back / "a").read_text() == "new a"


def test_a_damaged_object_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("right")
    buckets.copy(str(source), URL)
    buckets.Bucket(URL).put("a", b"wrong")
    with pytest.raises(UserError, match=r"s3://archive/stores/mine/a is not what copied\.json says"):
        buckets.copy(URL, str(tmp_path / "back"))
    assert not (tmp_path / "back" / "a").exists()


def test_objects_that_no_listing_names_come_too(tmp_path: Path) -> None:
    buckets.Bucket(URL).put("deep/scene.tif", b"1234")
    assert buckets.copy(URL, str(tmp_path / "back")) == (1, 4, 0)
    assert (tmp_path / "back" / "deep" / "scene.tif").read_bytes() == b"1234"


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def said(*words: str) -> str:
        assert main(["copy", *words]) == 2
        return capsys.readouterr().err

    assert "must be a bucket" in said("a", "b")
    assert "must be a bucket" in said(URL, URL)
    assert "has no files" in said(str(folder), URL)
    assert "has no files" in said(URL, str(folder))
    (folder / "a").write_text("a")
    buckets.copy(str(folder), URL)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b").write_text("b")
    assert "holds 'a', which" in said(str(tmp_path / "other"), URL)
    buckets.Bucket(URL).put(buckets.LISTING, json.dumps([1]).encode())
    assert "copied.json is no listing" in said(URL, str(tmp_path / "back"))
    (folder / "link").symlink_to(folder / "a")
    assert "is a link" in said(str(folder), URL)
    assert "s3://nowhere/x: " in said("s3://nowhere/x", str(tmp_path / "back"))


@pytest.mark.parametrize("name", ["../out", "a/../../out"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore, "list", lambda store: [[{"path": name, "size": 1}]])
    with pytest.raises(UserError, match="would leave the folder"):
        buckets.copy(URL, str(tmp_path / "back"))
    assert not (tmp_path / "out").exists()
