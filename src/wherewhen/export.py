"""`wherewhen export RUN`: the student as one file, checked against the checkpoint, and a model card beside it.

Notation: N images, C bands (of all dates), H × W pixels, K classes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from wherewhen.store import PatchStore
    from wherewhen.student_files import About

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-4  # of probabilities, in float32
SHOWN, BATCH = 33, 16  # patches of the check, and how many at a time: batches of 16, 16 and 1


class Shown(NamedTuple):
    """Images of the check, and where they come from."""

    pixels: "np.ndarray"  # (N, C, H, W), (N, 2, C, H, W) for change
    origin: str


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen export`.

    Raises:
        UserError: There is no such run, a library is missing, the network cannot be captured, or the exported file
            answers differently; then there is no file.
    """
    parser = argparse.ArgumentParser(prog="wherewhen export", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--format", choices=SUFFIXES, default="safetensors", help="(default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: student with the format's suffix, in the run"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="CKPT", help="default: the run's last")
    parser.add_argument("--store", type=Path, metavar="S", help="the run's store, where it does not lie where it did")
    parser.add_argument("--licence", default="", help="of the model, for its card")
    args = parser.parse_args(argv)
    out = args.out or args.run / f"student{SUFFIXES[args.format]}"
    difference, shown = export(args.run, args.format, out, args.checkpoint, args.store, args.licence)
    print(f"largest difference of probabilities: {difference:.1e} over {len(shown.pixels)} {shown.origin}")
    print(f"wrote {out} and {card_of(out)}")
    return 0


def export(
    run: Path, form: str, out: Path, checkpoint: Path | None = None, store: Path | None = None, licence: str = ""
) -> tuple[float, Shown]:
    """Write the student of a run and its card; nothing is written unless both answer alike.

    Args:
        run: Folder of the run.
        form: "safetensors", "onnx" or "torch-export".
        out: The file; its suffix is the format's.
        checkpoint: Another than the run's last.
        store: Where the run's store lies now.
        licence: Of the model.

    Returns:
        The largest difference between probabilities of the checkpoint and of the file, and what was shown to both.

    Raises:
        UserError: As `main` says.
    """
    path = checkpoint or run / "checkpoints" / "last.ckpt"
    check(path, form, out)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # an encoder of one's own lies where one works

    from wherewhen.answering import spec_of
    from wherewhen.errors import UserError, described_by
    from wherewhen.export_formats import FORMATS
    from wherewhen.files import atomic_path, write_text
    from wherewhen.model_card import card
    from wherewhen.student import Student
    from wherewhen.student_files import header_of, settings_of, student_of
    from wherewhen.tasks.checkpoint import read_checkpoint, saved

    saved_there = read_checkpoint(path)
    with described_by(path, "train it again"):
        about, answering = student_of(saved_there, path)
    settings = settings_of(path)
    opened = store_of(settings, store, about)
    if opened is not None:
        about = replace(about, patch_size=max(opened.shape[1:]), pixel_size=opened.header.pixel_size)
    shown = images(about, opened)
    with atomic_path(out) as temporary:
        written = FORMATS[form].write(temporary, answering, about, spec_of(saved(saved_there)))
        reopened = Student(written, FORMATS[form].read(temporary))
        difference = largest_difference(Student(about, answering), reopened, shown.pixels)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the exported network answers differently: probabilities differ by up to {difference:.1e}, more than "
                f"{TOLERANCE:g}; nothing was written. Choose another --format, and report this"
            )
    header = header_of(settings) if opened is None else opened.header
    told = f"{difference:.1e} over {len(shown.pixels)} {shown.origin}"
    write_text(card_of(out), card(run, out, written, settings, header, opened, licence, told))
    return difference, shown


def check(checkpoint: Path, form: str, out: Path) -> None:
    """Refuse what cannot be exported, before long work.

    Raises:
        UserError: There is no such checkpoint, the file is named like another format, or a library is missing.
    """
    from wherewhen.errors import UserError

    if out.suffix != SUFFIXES[form]:
        raise UserError(
            f"{out}: a file of format {form} ends in {SUFFIXES[form]}; name it so, or choose another --format"
        )
    if form == "onnx" and not all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        raise UserError("ONNX needs libraries that are not installed; run: pip install 'wherewhen[export]'")
    if not checkpoint.is_file():
        raise UserError(f"there is no checkpoint {checkpoint}; give a folder that `wherewhen fit --run` made")


def card_of(out: Path) -> Path:
    """Where the model card of an exported file lies."""
    return out.with_name(f"{out.name}.md")


def store_of(settings: dict[str, Any], moved: Path | None, about: "About") -> "PatchStore | None":
    """The run's store, None where it is gone.

    Raises:
        UserError: The store that was named is none, or has other bands.
    """
    from wherewhen.errors import UserError
    from wherewhen.scale import check_bands
    from wherewhen.store import PatchStore

    path = moved or settings.get("data", {}).get("store")
    try:
        store = PatchStore.open(path) if path else None
    except UserError:
        if moved is not None:
            raise
        return None
    if store is not None:
        check_bands(about.facts.bands, store.bands, str(path))
    return store


def images(about: "About", store: "PatchStore | None") -> Shown:
    """Patches of the store, evenly from its first to its last; generated ones in the stored range where it is gone."""
    import numpy as np

    from wherewhen.tasks.samples import samples_of, target_of

    facts = about.facts
    if store is not None:
        samples = samples_of(store, target_of(facts.label_kind))
        rows = np.unique(np.linspace(0, len(samples.ids) - 1, SHOWN).astype(int))
        pixels = samples.pixels(rows)
        if facts.dates == 2:
            pixels = pixels.reshape(len(pixels), 2, -1, *pixels.shape[2:])
        return Shown(pixels, "patches of the run's store")
    band = np.array([(b.scale, b.offset) for b in facts.bands]).T[:, :, None, None]
    mean, std = (np.array(values)[:, None, None] for values in (facts.mean, facts.std))
    shape = (SHOWN, *((2,) if facts.dates == 2 else ()), len(facts.bands), facts.image_size, facts.image_size)
    physical = np.random.default_rng(0).normal(mean, std, shape).clip(0, 255 if facts.bands[0].unit == "8-bit" else 2)
    return Shown((physical / band[0] - band[1]).round(), "generated patches: the run's store is gone")


def largest_difference(ours: Any, theirs: Any, pixels: "np.ndarray") -> float:
    """Between probabilities of two students; of pixels also for larger images, where both take those."""
    import numpy as np

    shown = [pixels]
    if ours.stride is not None and theirs.stride is not None:
        shown.append(np.concatenate((pixels[:2], pixels[-2:]), axis=-1))  # twice as wide
    return max(
        float(abs(ours.predict_proba(x, batch=BATCH) - theirs.predict_proba(x, batch=BATCH)).max()) for x in shown
    )
