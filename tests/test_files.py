import errno
import hashlib
import os
from pathlib import Path

import pytest

from tests.fakes import names_in
from wherewhen.errors import UserError
from wherewhen.files import (
    atomic_folder,
    atomic_path,
    read_json,
    read_yaml,
    refuse_used_folder,
    remove_leftovers,
    sha256_of,
    write_json,
    write_text,
)


def write_half(folder: Path) -> Path:
    write_text(folder / "half", "half")
    return folder


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names_in(path.parent) == ["file.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError), atomic_path(path) as temporary:
        temporary.write_text("half\n" * 10_000 + "\ud800", encoding="utf-8")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    full = pytest.raises(UserError, match=r"file\.txt: No space left.*free some space")
    with full, atomic_path(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names_in(tmp_path) == []


def test_a_really_full_disk_too(small_disk: Path) -> None:
    with pytest.raises(UserError, match=r"file\.txt: No space left.*free some space"):
        write_text(small_disk / "file.txt", "x" * 2**20)
    assert names_in(small_disk) == []


def test_a_parent_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "deep" / "x"):
        with pytest.raises(UserError, match=r"cannot write .*choose an output folder"):
            write_text(path, "text")


def test_failing_to_read_something_else_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file.txt"):
        (tmp_path / "absent").read_text()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(FileNotFoundError), atomic_folder(path) as temporary:
        sha256_of(write_half(temporary) / "absent")
    assert names_in(tmp_path) == []
    path.mkdir()  # an empty one may be there
    with atomic_folder(path) as temporary:
        write_text(temporary / "whole", "whole")
    assert names_in(tmp_path) == ["folder"]
    assert names_in(path) == ["whole"]
    with pytest.raises(UserError, match=r"not an empty folder.*choose another"), atomic_folder(path):
        raise AssertionError
    assert names_in(path) == ["whole"]


def test_leftovers_of_killed_writes_do_not_count(tmp_path: Path) -> None:
    (tmp_path / ".x.npy.123.part").write_text("half")
    refuse_used_folder(tmp_path)
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == []
    (tmp_path / "file").write_text("")
    for used in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="not an empty folder"):
            refuse_used_folder(used)


def test_json_there_and_back(tmp_path: Path) -> None:
    value = {"name": "Žatec", "numbers": [1, 2.5, None, 2**80]}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert "Žatec" in (tmp_path / "file.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"a": 1', "not valid JSON"), (b"\xff\xfe{}", "not valid JSON"), (None, "does not exist")],
)
def test_broken_json_is_one_clear_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.json.*{message}"):
        read_json(tmp_path / "file.json")
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"where when" * 1000)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"where when" * 1000).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "is not valid YAML"),
        (b"a: 2020-99-99", "is not valid YAML"),
        (b"[" * 5000, "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"- 1", "must hold a YAML mapping"),
        (b"", "must hold a YAML mapping"),
        (None, "does not exist"),
    ],
)
def test_settings_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_yaml(file)


def test_settings_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("zürich: {b: 2.5}", encoding="utf-8")
    assert read_yaml(tmp_path / "settings.yaml") == {"zürich": {"b": 2.5}}
