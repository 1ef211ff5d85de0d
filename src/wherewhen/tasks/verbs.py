"""`wherewhen fit`, `validate` and `test`: LightningCLI's conventions, and a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser

from wherewhen import plots
from wherewhen.errors import UserError, described_by, note
from wherewhen.tasks.asking import ask
from wherewhen.tasks.command import RunCli
from wherewhen.tasks.configured import begun, begun_or_new
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.elsewhere import Network, replaced
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.mirror import fetched
from wherewhen.tasks.run import AtomicCheckpoints, Journal
from wherewhen.tasks.task import LabelEfficient
from wherewhen.tasks.watch import Watch


class Cli(RunCli):
    """The parser of `fit`, `validate` and `test`."""

    task, data = LabelEfficient, StoreData

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Keys of the common ones, of watching, and of what is asked."""
        super().add_arguments_to_parser(parser)
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

    def callbacks(self, journal: Journal) -> list[pl.Callback]:
        """Somebody who watches pseudo-labels, if wanted."""
        return [Watch()] if self.config_init.watch else []

    def evaluate(self, verb: Literal["validate", "test"]) -> Evaluation:
        """Validate or test the run's last checkpoint, or the one that `--checkpoint` names.

        Raises:
            UserError: There is no checkpoint, the store is of another kind, or nothing can be asked as wanted.
        """
        if self.question:
            return self._answer(verb)
        path = self._checkpoint()
        with described_by(path, "train again"):
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
        path = self._checkpoint()
        checkpoint = AtomicCheckpoints().load_checkpoint(path)
        with described_by(path, "train again"):
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


def fit(args: Sequence[str]) -> int:
    """Train, or go on with a training that was interrupted."""
    cli = Cli(begun_or_new(fetched(args)))
    if cli.model.needs_unlabelled and not cli.datamodule.sizes[1]:
        raise UserError("an algorithm needs unlabelled images; set data.unlabelled_batch to 1 or more")
    cli.datamodule.setup("fit")
    with cli.begun(cli.datamodule.labelled_ids()):
        cli.train()
        plots.curves(cli.run.metrics, cli.run.folder / "curves.png")
    return 0


def validate(args: Sequence[str]) -> int:
    """Print the metrics of the held-out part of the training split."""
    show(Cli(begun(args), training=False).evaluate("validate").report())
    return 0


def test(args: Sequence[str]) -> int:
    """Evaluate on the test split, and write the files that say how it went.

    The student, shown images alone, is the run's result; any other question has a folder of its own in the run's.
    """
    cli = Cli(begun(args), training=False)
    evaluation, folder = cli.evaluate("test"), cli.run.folder / cli.question
    show(evaluation.write(folder, cli.datamodule.test_ids()))
    if evaluation.kind != "many":
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
        note(f"no evaluated image shows {names}; means over classes leave them out")
