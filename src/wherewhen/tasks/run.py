"""The run folder: what a training leaves behind, and how it goes on after a kill.

config.yaml       every setting, as resolved
environment.json  versions, machine, git revision
metrics.csv       step, name, value: one row a figure, losses as means since the last row
timing.json       seconds and steps of the training, over all its interruptions
checkpoints/      last.ckpt to go on from, best.ckpt by the validation metric
labelled.csv      ids of the labelled patches
curves.png        losses and validation
test.json, …      of the test, see `wherewhen.tasks.evaluation`
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, cannot_write, read_json, remove_leftovers, write_json, write_text
from wherewhen.semi.state import mean_over_processes
from wherewhen.tasks.checkpoint import read_checkpoint
from wherewhen.tasks.evaluation import HEADLINE

NAMED = ("wherewhen", "torch", "timm", "lightning", "torchmetrics", "numpy", "pandas", "pyarrow")


class Run:
    """Names of a run's files."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.metrics = self.folder / "metrics.csv"
        self.labelled = self.folder / "labelled.csv"
        self.timing = self.folder / "timing.json"
        self.last = self.folder / "checkpoints" / "last.ckpt"
        self.best = self.folder / "checkpoints" / "best.ckpt"

    def begin(self, config: str, labelled: Sequence[str], sweep: bool = True) -> None:
        """Take the folder for a training with this configuration and these labelled ids, new or interrupted.

        Args:
            config: As resolved.
            labelled: Ids.
            sweep: Remove what killed runs of any machine left half written; other processes of this one may be writing.

        Raises:
            UserError: The folder holds a run with other settings, or other labelled patches.
        """
        chosen = "\n".join(["id", *labelled]) + "\n"
        holds = self.config.exists() and (self.last.exists() or self.best.exists())
        old = self.config.read_text(encoding="utf-8") if holds else config
        if settings(old) != settings(config):  # a run that came to no checkpoint is simply begun anew
            changed = sorted(set(settings(config)) ^ set(settings(old)))[:4]
            raise UserError(
                f"{self.folder} holds a run with other settings ({'; '.join(c.strip() for c in changed)}); "
                "give another --run, or remove that folder"
            )
        if self.last.exists() and self.labelled.exists() and self.labelled.read_text(encoding="utf-8") != chosen:
            raise UserError(
                f"{self.folder} holds a run with other labelled patches: the store or data.labelled_file has changed "
                "since; restore it, give another --run, or remove that folder"
            )
        for folder in (self.folder, self.last.parent) if sweep else ():
            remove_leftovers(folder)
        write_text(self.config, config)
        write_json(self.folder / "environment.json", environment())
        write_text(self.labelled, chosen)


def settings(config: str) -> list[str]:
    """The lines of a configuration but that of where the run lies, which may be moved."""
    return [line for line in config.splitlines() if not line.startswith("run:")]


def environment() -> dict[str, Any]:
    """Versions, machine and git revision, as far as they can be known."""
    return {
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in NAMED},
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git_revision": git_revision(),
        "command": " ".join(Path(word).name if i == 0 else word for i, word in enumerate(sys.argv)),
    }


def installed(package: str) -> str | None:
    """A package's version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """The commit of the code that runs, with "+changes" where files differ; None outside a checkout."""
    try:
        commit = ask_git("rev-parse", "HEAD")
        changes = ask_git("status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "")


def ask_git(*words: str) -> str:
    """What git says of the folder that this code lies in."""
    here = Path(__file__).parents[1]
    done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and never run code when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside, then move into place.

        Raises:
            UserError: The disk is full, or the folder cannot be written to.
        """
        with atomic_path(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:
                if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
                    raise  # not about the file
                raise cannot_write(Path(path), OSError(str(error))) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Read tensors and plain values.

        Raises:
            UserError: The file is damaged, or holds something else.
        """
        return read_checkpoint(path, map_location)


class Saving(pl.Callback):
    """Save `last.ckpt` every so many steps and at the end, `best.ckpt` when validation improves.

    A step is saved just before the next one begins: then its validation lies behind it, and a resumed run
    neither repeats nor skips one.

    Args:
        run: Where to.
        every: Steps between saves.
        saved: Called by the first process after each of `last.ckpt` but that of the end; None calls nothing.
    """

    def __init__(self, run: Run, every: int, saved: Callable[[], None] | None = None) -> None:
        self.run, self.every, self.saved = run, every, saved
        self.best: float | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Save the state after the last step, if it is due."""
        if trainer.global_step and trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.run.last)
            if self.saved is not None and trainer.is_global_zero:
                self.saved()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep the weights that validated best."""
        value = headline(trainer.callback_metrics)
        if trainer.state.fn != "fit" or value is None:
            return
        if self.best is None or value.item() > self.best:
            self.best = value.item()
            trainer.save_checkpoint(self.run.best, weights_only=True)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the end; where it was saved already, nothing changes."""
        trainer.save_checkpoint(self.run.last)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        self.best = state["best"]


class Stopwatch(pl.Callback):
    """Write the seconds of a training, over all its interruptions, with every checkpoint.

    They lie in a file of their own: a checkpoint must not depend on the clock. What an interruption made to be done
    again counts once.

    Args:
        run: Where to.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Start, with the seconds of what the checkpoint holds."""
        goes_on = self.run.last.is_file() and self.run.timing.is_file()
        self.began = time.monotonic() - (read_json(self.run.timing)["seconds"] if goes_on else 0)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write them."""
        if trainer.is_global_zero:
            seconds = time.monotonic() - self.began
            write_json(self.run.timing, {"seconds": seconds, "steps": trainer.global_step})


def headline(metrics: Mapping[str, Tensor]) -> Tensor | None:
    """The validation metric to choose by: larger is better."""
    return next((metrics[f"val/{name}"] for name in HEADLINE.values() if f"val/{name}" in metrics), None)


class Journal(pl.Callback):
    """Append figures to `metrics.csv` and to every logger; the same rows whether or not a run was interrupted.

    Lightning counts its logging steps anew after a resume and empties its CSV file, so the rows are written
    here: on a resume they are cut back to the checkpoint's step.

    Args:
        run: Where to.
        every: Steps a row; losses are the mean over them, and over processes.
    """

    def __init__(self, run: Run, every: int) -> None:
        self.run, self.every = run, every
        self.sums: dict[str, Tensor] = {}
        self.latest: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Drop what was written after the step from which training goes on."""
        kept = ["step,name,value"]
        if self.run.metrics.exists() and trainer.global_step:
            rows = self.run.metrics.read_text(encoding="utf-8").splitlines()[1:]
            # the last line may be half a line: it lies after the step that was saved, like all that goes
            whole = [row for row in rows if row.count(",") == 2]
            kept += [row for row in whole if int(row.split(",")[0]) <= trainer.global_step]
        if trainer.is_global_zero:
            write_text(self.run.metrics, "\n".join(kept) + "\n")

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up on the device, read every `every` steps."""
        for name, value in outputs.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        if trainer.global_step % self.every == 0:
            self._flush(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write what is left when the training does not end on a full row."""
        self._flush(trainer)

    def _flush(self, trainer: pl.Trainer) -> None:
        self._share()
        count = trainer.global_step % self.every or self.every
        self.write(trainer, {f"train/{name}": total.item() / count for name, total in self.sums.items()})
        self.sums = {}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the validation's figures."""
        if trainer.state.fn == "fit":
            self.write(trainer, {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")})

    def write(self, trainer: pl.Trainer, figures: Mapping[str, float]) -> None:
        """Append figures of this step, by name."""
        self.latest |= figures
        if not trainer.is_global_zero:
            return
        try:
            with self.run.metrics.open("a", encoding="utf-8") as file:
                file.writelines(f"{trainer.global_step},{name},{value!r}\n" for name, value in figures.items())
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from error
        for logger in trainer.loggers:
            logger.log_metrics(dict(figures), step=trainer.global_step)

    def _share(self) -> None:
        """Make the sums of each process the mean over all; what each adds later keeps it so."""
        if self.sums:
            means = mean_over_processes(torch.stack([*self.sums.values()]))
            self.sums = dict(zip(self.sums, means.unbind(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Sums since the last row; they are the same on every process, which one checkpoint is for."""
        self._share()
        return {"sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up again."""
        self.sums = dict(state["sums"])
