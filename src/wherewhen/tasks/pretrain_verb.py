"""`wherewhen pretrain`: an encoder from images, places and dates, without a label."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser

from wherewhen import plots
from wherewhen.encoders.weight_files import save_encoder
from wherewhen.errors import UserError
from wherewhen.scale import check_bands
from wherewhen.store import PatchStore
from wherewhen.tasks.command import RunCli
from wherewhen.tasks.mirror import fetched
from wherewhen.tasks.pretrain import Pretraining
from wherewhen.tasks.pretrain_data import PlacesData
from wherewhen.tasks.probe import Probe
from wherewhen.tasks.run import AtomicCheckpoints, Journal

ENCODER = "encoder.safetensors"


class PretrainCli(RunCli):
    """The parser of `pretrain`."""

    task, data = Pretraining, PlacesData

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The common keys, and those of the probe."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--probe", type=str | None, default=None, help="labelled store on which the encoder is looked at meanwhile"
        )
        parser.add_argument("--probe_every", type=int, default=200, help="steps between two looks")

    def before_instantiate_classes(self) -> None:
        """Check our own keys."""
        super().before_instantiate_classes()
        if (self.config.probe_every or 0) < 1:
            raise UserError(f"probe_every is {self.config.probe_every}; it counts steps and must be at least 1")

    def callbacks(self, journal: Journal) -> list[pl.Callback]:
        """The one that looks, if wanted."""
        settings = self.config_init
        return [] if settings.probe is None else [Probing(settings.probe, settings.probe_every, journal)]

    def trained(self) -> Pretraining:
        """The task with the weights of the run's last checkpoint, on the trainer's device; no store is opened.

        Raises:
            UserError: There is no checkpoint.
        """
        if not self.run.last.is_file():
            raise UserError(f"there is no checkpoint {self.run.last}; train first: `wherewhen pretrain --run …`")
        self.model.build_as_trained(AtomicCheckpoints().load_checkpoint(self.run.last))
        task: Pretraining = self.model.to(self.trainer.strategy.root_device)
        return task


class Probing(pl.Callback):
    """Look at the encoder before the first step, every so many steps, and at the end.

    Args:
        store: With labels.
        every: Steps.
        journal: Where the figures go.
    """

    def __init__(self, store: str, every: int, journal: Journal) -> None:
        self.store, self.every, self.journal = store, every, journal

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Open the store before long work starts.

        Raises:
            UserError: It has no labels to probe with, or other bands.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        store = PatchStore.open(self.store)
        check_bands(data.opened.bands, store.bands, self.store)
        self.probe = Probe(store, data.image_size)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """At initialisation, beside what needs no encoder."""
        if trainer.global_step == 0:
            self._look(trainer, module)
            self._write(trainer, self.probe.of_statistics())

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """On the way, and after the last step."""
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._look(trainer, module)

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Pretraining)
        if trainer.is_global_zero:
            self._write(trainer, self.probe.of(module.describe))

    def _write(self, trainer: pl.Trainer, figures: Mapping[str, float]) -> None:
        self.journal.write(trainer, {f"probe/{name}": value for name, value in figures.items()})


def pretrain(args: Sequence[str]) -> int:
    """Train an encoder without labels, or go on with it; leaves `encoder.safetensors` for `fit` in the run folder."""
    cli = PretrainCli(fetched(args))
    method = cli.model.method
    cli.datamodule.choose(method.dates, method.periods)
    with cli.begun([]):
        cli.train()
        if cli.trainer.is_global_zero:
            bands = tuple(band.name for band in cli.model.bands)
            save_encoder(cli.model.contrast.encoder, cli.run.folder / ENCODER, bands)
            plots.curves(cli.run.metrics, cli.run.folder / "curves.png")
    return 0
