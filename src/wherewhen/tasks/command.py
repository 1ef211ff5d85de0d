"""What every verb that trains or tests has in common: LightningCLI's conventions, and a run folder."""

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from yaml import YAMLError

from wherewhen.errors import UserError
from wherewhen.files import alone
from wherewhen.tasks.configured import said
from wherewhen.tasks.guard import Patience
from wherewhen.tasks.mirror import Mirror
from wherewhen.tasks.progress import Progress
from wherewhen.tasks.run import AtomicCheckpoints, Journal, Run, Saving, Stopwatch

# What Lightning says of itself is no news for our users, and its advice is about loaders that ours are not.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
for message in (
    "does not have many workers",  # plain iterables over a cache: there is nothing to wait for
    "args parameter is intended to run from within Python",  # and so it is used
    "in eval mode at the start of training",  # the averaged networks are, always
    "Total length of `EvalBatches`",  # nothing is held out where data.validation is 0
    "sync_dist=True",  # every process validates on all patches
    "isinstance\\(treespec, LeafSpec\\)",  # Lightning's own affair, like the next
    "JSONARGPARSE_DEPRECATION_WARNINGS",
    "was deprecated in v4.49.0",
):
    warnings.filterwarnings("ignore", message=f"[\\s\\S]*{message}")

FSDP = "fsdp"  # ours, not Lightning's
SHARDED = (FSDP, "deepspeed", "modelparallel")  # strategies


class RunCli(LightningCLI):
    """The parser: `--config FILE`, `--run FOLDER`, `--seed N`, `--model.x`, `--data.y`, `--trainer.z`.

    A verb's own says which `task` and `data` it is about, and may add keys and callbacks.
    """

    task: type[pl.LightningModule]
    data: type[pl.LightningDataModule]

    def __init__(self, args: Sequence[str], training: bool = True) -> None:
        self.training, self.words = training, args
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)  # an encoder of one's own lies where one works
        super().__init__(
            self.task,
            self.data,
            args=list(args),
            run=False,
            seed_everything_default=False,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False},
            trainer_defaults={
                "accelerator": "auto",
                "devices": 1,
                "enable_checkpointing": False,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own keys, and one seed for data and model."""
        parser.add_argument("--run", default="runs/run", help="folder of this run")
        parser.add_argument("--mirror", default=None, help="s3://BUCKET/FOLDER, gs:// or az:// of this run, too")
        parser.add_argument("--seed", type=int, default=0, help="of labels, order, views and weights")
        parser.add_argument("--log_every", type=int, default=20, help="steps a row in metrics.csv")
        parser.add_argument("--save_every", type=int, default=200, help="steps between checkpoints")
        parser.add_argument(
            "--from_scratch", "--from-scratch", action="store_true", help="without the weights that the encoder names"
        )
        parser.link_arguments("seed", "data.seed")
        parser.link_arguments("seed", "model.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Take the command line and the files of its `--config`.

        Raises:
            UserError: A key or a value is wrong, or a file is no YAML.
        """
        try:
            super().parse_arguments(parser, args)
        except (ArgumentError, ValueError, RecursionError, YAMLError) as error:
            files = [args[i + 1] for i, word in enumerate(args[:-1]) if word in ("-c", "--config")]
            where = f"the command line or {', '.join(files)}" if files else "the command line"
            raise UserError(f"{where} is wrong: {error}; --help lists all keys") from error
        if not isinstance(self.config.trainer, Namespace):
            raise UserError(f"trainer is {self.config.trainer!r}; it must be a mapping of the trainer's settings")

    def before_instantiate_classes(self) -> None:
        """Check our own keys; a recipe that starts from weights can be run without them, but only when told so."""
        for part, kind in (("model", self.task), ("data", self.data)):
            for name, wanted in get_type_hints(kind.__init__).items():
                if name in self.config[part] and self.config[part][name] is None and not takes_none(wanted):
                    raise UserError(f"{part}.{name} is null; give it a value, or leave it out for the default")
        for name in ("log_every", "save_every"):
            if (self.config[name] or 0) < 1:
                raise UserError(f"{name} is {self.config[name]}; it counts steps and must be at least 1")
        if self.config.mirror != said(self.words).mirror:
            raise UserError(f"mirror is {self.config.mirror} in a file; say it as --mirror, for it is asked first")
        if self.config.seed_everything is not False:
            raise UserError(f"seed_everything is {self.config.seed_everything}; a run has one seed, which --seed sets")
        if self.training and (self.config.trainer.max_steps or 0) < 1:
            raise UserError("trainer.max_steps is not set; a training is counted in steps: set it to 1 or more")
        if self.config.trainer.accumulate_grad_batches != 1:
            raise UserError("trainer.accumulate_grad_batches must be 1; make the batches of data as large as they fit")
        strategy = self.config.trainer.strategy
        name = strategy if isinstance(strategy, str) else getattr(strategy, "class_path", "")
        if name != FSDP and any(word in name.lower().replace("_", "") for word in SHARDED):
            raise UserError(
                f"trainer.strategy {name} divides one network among processes, but here averages must be divided with "
                f"it; use {FSDP}, or ddp"
            )
        if self.config.from_scratch:
            self.config.model.encoder.pop("weights", None)

    def callbacks(self, journal: Journal) -> list[pl.Callback]:
        """What a verb adds to a run; they come before the checkpoints."""
        return []

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer with the run folder's journal, checkpoints and logger."""
        self.run = Run(self.config.run)
        self.mirror = Mirror(self.run, self.config.mirror) if self.training and self.config.mirror else None
        settings = self.config_init.trainer
        journal = Journal(self.run, self.config.log_every)
        given = settings.callbacks or []
        callbacks = [
            *(given if isinstance(given, list) else [given]),
            *self.callbacks(journal),
            journal,
            Patience(journal),
            Saving(self.run, self.config.save_every, self.mirror.try_to_send if self.mirror else None),
            Stopwatch(self.run),
        ]
        if settings.enable_progress_bar is not False:
            callbacks.append(Progress(journal))
        logger = tensorboard(self.run) if settings.logger is None else settings.logger
        if not self.training:
            logger = False  # what an evaluation writes must not depend on the clock
            devices = settings.devices[:1] if isinstance(settings.devices, list) else 1
            kwargs |= {"strategy": "auto", "devices": devices, "num_nodes": 1}  # a run's own may be for several
        elif settings.strategy == FSDP:
            from wherewhen.tasks.sharded import Sharded

            kwargs |= {"strategy": Sharded(), "inference_mode": False}  # parts made in it could never be trained
        try:
            return super().instantiate_trainer(
                callbacks=callbacks, logger=logger, plugins=[AtomicCheckpoints()], **kwargs
            )
        except (MisconfigurationException, ValueError, TypeError) as error:
            raise UserError(f"the trainer's settings do not fit together: {error}") from error

    @contextmanager
    def begun(self, labelled: Sequence[str]) -> Iterator[None]:
        """Have the run folder for this training alone; of several processes, the first has it for all.

        Args:
            labelled: Ids of the labelled patches.

        Raises:
            UserError: Another training is at work there, the folder holds a run with other settings, or what was
                trained cannot be sent to the mirror.
        """
        if not self.trainer.is_global_zero:
            yield
            return
        with alone(self.run.folder):
            self.run.begin(self.resolved(), labelled, sweep=self.trainer.world_size == 1)
            yield
            if self.mirror:
                self.mirror.send()

    def train(self) -> None:
        """Fit, from the run's last checkpoint on if there is one.

        Raises:
            UserError: The trainer's settings do not fit.
            KeyboardInterrupt: Somebody stopped it.
        """
        try:
            last = self.run.last
            self.trainer.fit(self.model, self.datamodule, ckpt_path=str(last) if last.is_file() else None)
        except MisconfigurationException as error:
            raise UserError(f"the trainer's settings do not fit the data: {error}") from error
        except RuntimeError as error:
            if "find_unused_parameters" not in str(error):
                raise
            raise UserError(
                "the network has weights that this task does not use (for labels of pixels, a head of its own); give "
                "--trainer.strategy ddp_find_unused_parameters_true"
            ) from error
        except SystemExit:  # how Lightning answers Ctrl-C
            if not self.trainer.interrupted:
                raise
            raise KeyboardInterrupt from None

    def resolved(self) -> str:
        """The whole configuration as YAML, for the run folder; a mirror is named anew each time."""
        config = self.config.clone()
        config.pop("mirror")
        text: str = self.parser.dump(config, skip_none=False)
        return text


def takes_none(kind: Any) -> bool:
    """Whether a type hint allows None, which the parser itself lets pass for any."""
    return kind in (Any, NoneType) or NoneType in get_args(kind)


def tensorboard(run: Run) -> Any:
    """A TensorBoard logger where TensorBoard is installed, else none: metrics.csv is always written."""
    if find_spec("tensorboard") is None:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(run.folder, name="tensorboard", version="")
