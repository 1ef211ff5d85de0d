"""`wherewhen fit`, `validate` and `test`: LightningCLI's conventions, and a run folder."""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from wherewhen import plots
from wherewhen.errors import UserError
from wherewhen.tasks.asking import ask
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.elsewhere import Network, replaced
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.progress import Progress
from wherewhen.tasks.run import AtomicCheckpoints, Journal, Run, Saving, Stopwatch
from wherewhen.tasks.task import LabelEfficient
from wherewhen.tasks.watch import Watch

# What Lightning says of itself is no news for our users, and its advice is about loaders that ours are not.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
for message in (
    "does not have many workers",  # plain iterables over a cache: there is nothing to wait for
    "args parameter is intended to run from within Python",  # and so it is used
    "in eval mode at the start of training",  # the averaged networks are, always
    "isinstance\\(treespec, LeafSpec\\)",  # Lightning's own affair, like the next
    "JSONARGPARSE_DEPRECATION_WARNINGS",
    "was deprecated in v4.49.0",
):
    warnings.filterwarnings("ignore", message=f"[\\s\\S]*{message}")


class Cli(LightningCLI):
    """The parser: `--config FILE`, `--run FOLDER`, `--seed N`, `--model.x`, `--data.y`, `--trainer.z`."""

    def __init__(self, args: Sequence[str], training: bool = True) -> None:
        self.training = training
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)  # an encoder of one's own lies where one works
        super().__init__(
            LabelEfficient,
            StoreData,
            args=list(args),
            run=False,
            seed_everything_default=False,
            save_config_callback=None,
            auto_configure_optimizers=False,
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
        parser.add_argument("--seed", type=int, default=0, help="of labels, order, views and weights")
        parser.add_argument("--log_every", type=int, default=20, help="steps a row in metrics.csv")
        parser.add_argument("--save_every", type=int, default=200, help="steps between checkpoints")
        parser.add_argument(
            "--from_scratch", "--from-scratch", action="store_true", help="without the weights that the encoder names"
        )
        parser.add_argument(
            "--watch", type=bool, default=False, help="record how right pseudo-labels are, where labels are known"
        )
        parser.add_argument("--checkpoint", default=None, help="to validate or test; default: the run's last")
        if not self.training:
            parser.add_argument("--network", type=Network, default="student", help="which of the run's two is asked")
            parser.add_argument(
                "--where",
                default="true",
                help="place and time that it is told: true, far, permuted, hidden, or one for all, --where=LAT,LON",
            )
            parser.add_argument("--when", type=int | None, default=None, help="one day of the year for all, 1 to 366")
        parser.link_arguments("seed", "data.seed")
        parser.link_arguments("seed", "model.seed")

    def before_instantiate_classes(self) -> None:
        """Check our own keys; a recipe that starts from weights can be run without them, but only when told so."""
        for name in ("log_every", "save_every"):
            if self.config[name] < 1:
                raise UserError(f"{name} is {self.config[name]}; it counts steps and must be at least 1")
        if self.config.trainer.accumulate_grad_batches != 1:
            raise UserError("trainer.accumulate_grad_batches must be 1; make the batches of data as large as they fit")
        if self.config.from_scratch:
            self.config.model.encoder.pop("weights", None)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer with the run folder's journal, checkpoints and logger."""
        self.run = Run(self.config.run)
        settings = self.config_init.trainer
        journal = Journal(self.run, self.config.log_every)
        callbacks = [
            *(settings.callbacks or []),
            *([Watch()] if self.config_init.watch else []),
            journal,
            Saving(self.run, self.config.save_every),
            Stopwatch(self.run),
        ]
        if settings.enable_progress_bar is not False:
            callbacks.append(Progress(journal))
        logger = tensorboard(self.run) if settings.logger is None else settings.logger
        if not self.training:
            logger = False  # what an evaluation writes must not depend on the clock
        try:
            return super().instantiate_trainer(
                callbacks=callbacks, logger=logger, plugins=[AtomicCheckpoints()], **kwargs
            )
        except MisconfigurationException as error:
            raise UserError(f"the trainer's settings do not fit together: {error}") from error

    def evaluate(self, verb: Literal["validate", "test"]) -> Evaluation:
        """Validate or test the run's last checkpoint, or the one that `--checkpoint` names.

        Raises:
            UserError: There is no checkpoint, the store is of another kind, or nothing can be asked as wanted.
        """
        if self.question:
            return self._answer(verb)
        path = self._checkpoint()
        self.model.build_as_trained(AtomicCheckpoints().load_checkpoint(path), self.datamodule.split)
        getattr(self.trainer, verb)(self.model, self.datamodule, ckpt_path=str(path), verbose=False)
        evaluation: Evaluation = self.model.evaluation
        return evaluation

    @property
    def question(self) -> str:
        """What is asked other than the student about images alone, as a folder's name: `teacher-far`, for example."""
        network, where, when = (self.config[name] for name in ("network", "where", "when"))
        told = "" if where == "true" else f"-{where}"
        told += "" if when is None else f"-day{when}"
        return f"{network}{told}" if told or network != "student" else ""

    def _answer(self, verb: Literal["validate", "test"]) -> Evaluation:
        task, data = self.trained(), self.datamodule
        batches = data.test_dataloader() if verb == "test" else data.val_dataloader()
        if not len(batches):
            raise UserError(f"{data.path} has no validation patches; set data.validation when training, 0.1 say")
        where = data.where(data.test_rows if verb == "test" else data.val_rows)
        return ask(task, batches, self.config.network, replaced(where, self.config.where, self.config.when))

    def trained(self) -> LabelEfficient:
        """The task with the weights of the run's last checkpoint, or of `--checkpoint`, on the trainer's device.

        The networks are built as they were trained, whatever the store at hand knows of place and time.

        Raises:
            UserError: There is no checkpoint, or the store is of another kind.
        """
        checkpoint = AtomicCheckpoints().load_checkpoint(self._checkpoint())
        self.model.build_as_trained(checkpoint, self.datamodule.split)
        self.datamodule.setup()
        self.model.facts.accept(self.datamodule.facts, "the store at hand")
        self.model.load_state_dict(checkpoint["state_dict"])
        self.model.trainer = self.datamodule.trainer = self.trainer
        task: LabelEfficient = self.model.to(self.trainer.strategy.root_device)
        return task

    def _checkpoint(self) -> Path:
        path = Path(self.config.checkpoint or self.run.last)
        if not path.is_file():
            raise UserError(f"there is no checkpoint {path}; train first: `wherewhen fit --run {self.run.folder} …`")
        return path


def tensorboard(run: Run) -> Any:
    """A TensorBoard logger where TensorBoard is installed, else none: metrics.csv is always written."""
    if find_spec("tensorboard") is None:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(run.folder, name="tensorboard", version="")


def fit(args: Sequence[str]) -> int:
    """Train, or go on with a training that was interrupted."""
    cli = Cli(args)
    if cli.trainer.max_steps < 1:
        raise UserError("trainer.max_steps is not set; a training is counted in steps: set it to 1 or more")
    if cli.model.needs_unlabelled and not cli.datamodule.sizes[1]:
        raise UserError("an algorithm needs unlabelled images; set data.unlabelled_batch to 1 or more")
    cli.datamodule.setup("fit")
    cli.run.begin(cli.parser.dump(cli.config, skip_none=False), cli.datamodule.labelled_ids())
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=str(cli.run.last) if cli.run.last.is_file() else None)
    except MisconfigurationException as error:
        raise UserError(f"the trainer's settings do not fit the data: {error}") from error
    except SystemExit:  # how Lightning answers Ctrl-C
        if not cli.trainer.interrupted:
            raise
        raise KeyboardInterrupt from None
    plots.curves(cli.run.metrics, cli.run.folder / "curves.png")
    return 0


def validate(args: Sequence[str]) -> int:
    """Print the metrics of the held-out part of the training split."""
    show(Cli(args, training=False).evaluate("validate").report())
    return 0


def test(args: Sequence[str]) -> int:
    """Evaluate on the test split, and write the files that say how it went.

    The student, shown images alone, is the run's result; any other question has a folder of its own in the run's.
    """
    cli = Cli(args, training=False)
    evaluation, folder = cli.evaluate("test"), cli.run.folder / cli.question
    show(evaluation.write(folder, cli.datamodule.test_ids()))
    if evaluation.kind == "one":
        plots.confusion(evaluation.confusion().numpy(), evaluation.classes, folder / "confusion.png")
    return 0


def show(report: Mapping[str, Any]) -> None:
    """Metrics, one a line, with their intervals."""
    for name, value in report.items():
        if isinstance(value, float):
            low, high = report.get(f"{name}_interval", (None, None))
            print(f"{name:>20} {value:8.3f}" + ("" if low is None else f"  [{low:.3f}, {high:.3f}]"))
    if report["classes_left_out"]:
        names = ", ".join(report["classes_left_out"])
        print(f"note: no evaluated image shows {names}; means over classes leave them out", file=sys.stderr)
