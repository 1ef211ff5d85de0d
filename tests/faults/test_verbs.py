"""What the five verbs that write bear: kills, a second run beside them, disks that are full or may not be written to.

A verb that is killed at any event and started again leaves what it leaves undisturbed, bit by bit, and no more.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.verbs import Verbs, same
from tests.faults.zygote import Ended, Zygote, started
from wherewhen.files import alone

KILLS = 10  # of each verb, at an event
REAL = 5  # of each verb, from outside
PATIENCE = 300.0  # seconds


@pytest.fixture(scope="module")
def calm(verbs: Verbs, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Ended]]:
    """What each verb leaves undisturbed, filled in when it is asked for; the parent is where all of its runs write."""
    return {}


def undisturbed(
    verb: str, verbs: Verbs, zygote: Zygote, calm: dict[str, tuple[Path, Ended]], folder: Path
) -> tuple[Path, Ended]:
    if verb not in calm:
        words = verbs.words(verb, folder / "out")
        done = zygote(words, folder / "out")
        assert done.code == 0, done.said
        (folder / "out").rename(folder / "calm")
        calm[verb] = folder / "calm", done
    return calm[verb]


CASES = [
    pytest.param(verb, number, marks=[] if number == 0 else [pytest.mark.slow])
    for verb in Verbs.NAMES
    for number in range(KILLS)
]


@pytest.mark.parametrize(("verb", "number"), CASES)
def test_killed_and_started_again(
    verb: str, number: int, verbs: Verbs, zygote: Zygote, calm: dict[str, tuple[Path, Ended]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    whole, done = undisturbed(verb, verbs, zygote, calm, tmp_path_factory.mktemp(verb))
    out, kill_at = whole.parent / "out", 1 + random.Random(f"{verb} {number}").randrange(done.events)
    words = verbs.words(verb, out)
    shutil.rmtree(out, ignore_errors=True)
    killed = zygote(words, out, kill_at)
    assert (killed.code, killed.events) == (-9, kill_at), killed.said
    again_as(whole, zygote, words)


def again_as(whole: Path, zygote: Zygote, words: Sequence[str]) -> None:
    """Run the command again, and compare."""
    out = whole.parent / "out"
    again = zygote(words, out)
    assert again.code == 0, again.said
    same(whole, out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["calm", "out"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(REAL))
@pytest.mark.parametrize("verb", Verbs.NAMES)
def test_kill_9_from_outside(
    verb: str, number: int, verbs: Verbs, zygote: Zygote, calm: dict[str, tuple[Path, Ended]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    whole, _ = undisturbed(verb, verbs, zygote, calm, tmp_path_factory.mktemp(verb))
    out, chance = whole.parent / "out", random.Random(f"{verb} {number} outside")
    words = verbs.words(verb, out)
    delay = chance.uniform(0, 2)
    while not killed_after(delay, words, out):
        delay /= 2  # it was through before
        assert delay > 1e-3
    again_as(whole, zygote, words)


def killed_after(delay: float, words: Sequence[str], out: Path) -> bool:
    """Start a command, kill it so many seconds after it began to write; false where it has ended by then."""
    shutil.rmtree(out, ignore_errors=True)
    process = started(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + PATIENCE
    while not out.exists():
        assert process.poll() is None, "it ended before it wrote"
        assert time.monotonic() < limit, "it wrote nothing"
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return process.wait() == -9


WRITERS = [verb for verb in Verbs.NAMES if verb != "export"]  # which writes two files, each whole or absent


@pytest.mark.parametrize("verb", WRITERS)
def test_the_second_run_in_a_folder_refuses(verb: str, verbs: Verbs, zygote: Zygote, tmp_path: Path) -> None:
    with alone(tmp_path / "out"):
        ended = zygote(verbs.words(verb, tmp_path / "out"), tmp_path)
    assert ended.code == 2
    assert f"wherewhen: another run is at work in {tmp_path / 'out'}; wait for it" in ended.said
    assert list((tmp_path / "out").iterdir()) == []


class Disk(NamedTuple):
    """A small disk.

    Args:
        folder: Where it is mounted.
    """

    folder: Path

    def fill(self, free: int) -> None:
        """Leave so many bytes."""
        there = os.statvfs(self.folder)
        (self.folder / "filler").write_bytes(bytes(there.f_bavail * there.f_frsize - free))

    def grow(self) -> None:
        """Make it large and empty it."""
        (self.folder / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(self.folder)], check=True)


FULL = [
    *(pytest.param(verb, 20 * 2**10, id=verb) for verb in Verbs.NAMES),
    *(pytest.param(verb, 0, id=f"{verb}-0", marks=pytest.mark.slow) for verb in Verbs.NAMES),
]


@pytest.mark.parametrize(("verb", "free"), FULL)
def test_a_full_disk(verb: str, free: int, verbs: Verbs, zygote: Zygote, small_disk: Path) -> None:
    disk, out = Disk(small_disk), small_disk / "out"
    words = verbs.words(verb, out)
    disk.fill(free)
    refused_for_space(zygote(words, out), small_disk)
    disk.grow()
    again = zygote(words, out)
    assert again.code == 0, again.said


@pytest.mark.slow
@pytest.mark.parametrize(("form", "suffix"), [("onnx", "onnx"), ("torch-export", "pt2")])
def test_a_full_disk_for_other_exports(form: str, suffix: str, verbs: Verbs, zygote: Zygote, small_disk: Path) -> None:
    command, run, option, _ = verbs.words("export", small_disk)
    Disk(small_disk).fill(20 * 2**10)
    words = [command, run, option, str(small_disk / "out" / f"student.{suffix}"), "--format", form]
    refused_for_space(zygote(words, small_disk / "out"), small_disk)


def refused_for_space(ended: Ended, folder: Path) -> None:
    """Assert that a command said that its disk is full, in one line, and left nothing half written."""
    assert ended.code == 2, ended.said
    (message,) = [line for line in ended.said.splitlines() if line.startswith("wherewhen:")]
    assert f"cannot write {folder / 'out'}" in message
    assert "free some space there" in message
    assert "Traceback" not in ended.said
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("verb", Verbs.NAMES)
def test_a_folder_that_may_not_be_written_to(verb: str, verbs: Verbs, zygote: Zygote, small_disk: Path) -> None:
    words = verbs.words(verb, small_disk / "out")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)  # root may write where it is forbidden
    ended = zygote(words, small_disk / "out")
    assert ended.code == 2, ended.said
    assert f"cannot write {small_disk / 'out'}" in ended.said.splitlines()[-1]
    assert "Read-only file system; free some space there, or choose an output folder" in ended.said
