"""The Lightning module: an objective, its pictures, its optimiser and its metrics."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]
from torch import Tensor, nn

from wherewhen.build import Spec, without
from wherewhen.errors import UserError
from wherewhen.loader import LABELLED, NOISE, START, UNLABELLED, VIEWS, EvalBatch, Patches, StepBatch, mix
from wherewhen.semi import Clock, DenseLoss
from wherewhen.semi.objectives import Geometry, Labeller, batch_norms
from wherewhen.tasks.checkpoint import saved
from wherewhen.tasks.dense import evaluation_of
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.guard import GuardedModule
from wherewhen.tasks.networks import Design, Teacher
from wherewhen.views import Draws, Views, is_rgb, resample

__all__ = ["LabelEfficient", "Teacher", "saved"]

COSINE = 7 / 16  # FixMatch's schedule: the learning rate ends at cos(7π/16), a fifth of its start


class LabelEfficient(GuardedModule):
    """A model trained with few labels, that needs the image alone.

    Args:
        encoder: `name` and arguments, e.g. {name: ViT, patch_size: 2}; `channels` and `image_size` come from the data.
        algorithm: `name` and arguments of what to do with unlabelled images; None trains on the labelled ones only.
        teacher: Makes it ST-SSL; needs an algorithm.
        decoder: `name` and arguments of what makes labels of pixels from feature maps; None is a `UNet`.
        freeze_encoder: Keep the encoder as its weights are, in eval mode; decoder and head learn alone.
        dense_loss: Of labelled pixels: "cross_entropy", "focal", "dice", or one of the first two "+dice". Pseudo-labels
            cost what their algorithm says.
        positive_weight: Of changed pixels in the cross-entropy or focal loss of labelled ones; others weigh 1.
        unlabelled_weight: λ_u.
        warmup_steps: Before this step only supervised losses count.
        labels_from: Who makes pseudo-labels: the network in training ("model") or its average ("ema"); None leaves it
            to the algorithm.
        ema_momentum: Of the averaged weights that are evaluated. 0.999 for long runs; 1 − 10/steps for short.
        learning_rate: Highest, of AdamW.
        weight_decay: Of matrices; biases and norms have none.
        lr_warmup_steps: Linear start of the learning rate.
        schedule: "cosine" is FixMatch's cos(7πt/16T), "constant" none.
        crop_ratio: The crop of the views is padded by 1 − this share of the image.
        operations: Random operations of a strong view.
        cutout: Largest side of the strong view's cutout, as a share of the image.
        micro_batch: Images that a network sees at a time, for batches that do not fit into memory: the same losses
            and gradients, a third slower. Not with batch norm.
        compile: Compile the networks that learn: a minute at the start, then faster steps where the network is large or
            the device a GPU. The same draws; losses as without it, but for rounding.
        seed: Of initial weights, views and drop path.
    """

    def __init__(
        self,
        encoder: Spec,
        algorithm: Spec | None = None,
        teacher: Teacher | None = None,
        unlabelled_weight: float = 1.0,
        warmup_steps: int = 0,
        labels_from: Labeller | None = None,
        ema_momentum: float = 0.999,
        learning_rate: float = 5e-5,
        weight_decay: float = 5e-4,
        lr_warmup_steps: int = 0,
        schedule: Literal["cosine", "constant"] = "cosine",
        crop_ratio: float = 0.875,
        operations: int = 3,
        cutout: float = 0.5,
        micro_batch: int | None = None,
        decoder: Spec | None = None,
        freeze_encoder: bool = False,
        dense_loss: DenseLoss = "cross_entropy",
        positive_weight: float = 1.0,
        compile: bool = False,  # noqa: A002  # as torch calls it
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise UserError(f"seed is {seed}; it must be at least 0")
        if micro_batch is not None and micro_batch < 1:
            raise UserError(f"micro_batch is {micro_batch}; it counts images and must be at least 1, or null")
        if teacher is not None and algorithm is None:
            raise UserError("a teacher needs an algorithm that labels; set model.algorithm, e.g. FixMatch")
        self.encoder_spec, self.algorithm_spec, self.teacher = encoder, algorithm, teacher
        self.unlabelled_weight, self.warmup_steps = unlabelled_weight, warmup_steps
        self.labels_from: Labeller | None = labels_from
        self.ema_momentum, self.learning_rate, self.weight_decay = ema_momentum, learning_rate, weight_decay
        self.lr_warmup_steps, self.schedule, self.seed = lr_warmup_steps, schedule, seed
        self.crop_ratio, self.operations, self.cutout = crop_ratio, operations, cutout
        self.micro_batch, self.compiled = micro_batch, compile
        self.decoder_spec, self.freeze_encoder = decoder, freeze_encoder
        self.dense_loss: DenseLoss = dense_loss
        self.positive_weight = positive_weight
        self.facts: Facts | None = None

    @property
    def needs_unlabelled(self) -> bool:
        """Whether training looks at unlabelled images."""
        return self.algorithm_spec is not None

    # -- building -------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Build the networks for the data at hand; Lightning calls it before weights are loaded.

        Networks that were built for a checkpoint are only checked against the data.
        """
        at_hand: Facts = self.trainer.datamodule.facts  # type: ignore[attr-defined]
        if self.facts is None:
            self.build(at_hand)
        else:
            self.facts.accept(at_hand, "the store at hand")

    def build(self, facts: Facts) -> None:
        """Build the networks, the objective and the views for data with these facts.

        Raises:
            UserError: The configuration does not fit the data.
        """
        self.facts = facts
        self.scale = facts.scale()
        rgb = facts.dates == 1 and is_rgb([band.name for band in facts.bands])
        self.views = Views(self.crop_ratio, self.operations, self.cutout, colour=rgb)
        design = Design(
            self.encoder_spec,
            self.decoder_spec,
            self.algorithm_spec,
            self.teacher,
            self.freeze_encoder,
            self.dense_loss,
            self.positive_weight,
            self.unlabelled_weight,
            self.warmup_steps,
            self.labels_from,
            self.ema_momentum,
        )
        torch.manual_seed(mix(self.seed, START))
        self.objective = design.objective(facts)
        self.objective.micro_batch = self.micro_batch
        if self.compiled:
            for learner in self.objective.learners():
                learner.compile(options={"fallback_random": True})  # PyTorch's own random numbers

    # -- training -------------------------------------------------------------------------------

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Tensor]:
        """One step; everything random in it is a function of seed, step and slot."""
        if batch.step != self.global_step:
            raise RuntimeError(f"batch of step {batch.step} arrived at step {self.global_step}")
        torch.manual_seed(mix(self.seed, NOISE, batch.step, self.global_rank))
        images, where, y, geometry = self.pictures(batch)
        clock = Clock(batch.step, int(self.trainer.estimated_stepping_batches))
        try:
            losses = self.objective(images, where, y, clock, geometry)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"model.compile: {reason}; install a C++ compiler, or leave model.compile out") from error
        total = torch.stack(list(losses.values())).sum()
        shown = {name: value.detach() for name, value in (losses | self.objective.shown).items()}
        return {"loss": total, **shown}

    def pictures(self, batch: StepBatch) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, dict[str, Geometry]]:
        """The views that the objective asks for, ready for its networks, with place, time and labels.

        Labels of pixels lie on the weak view's pixels; a strong view then has the weak one's crop and flips, and the
        geometry says where each of its pixels lies on the weak view.
        """
        assert self.facts is not None
        wanted, dense = self.objective.views, self.facts.dense
        label = batch.labelled.label
        if label is None:
            raise RuntimeError("labelled patches came without labels")
        images: dict[str, Tensor] = {}
        where: dict[str, Tensor] = {}
        geometry: dict[str, Geometry] = {}
        for stream, patches, weak, strong in (
            (LABELLED, batch.labelled, "labelled", "labelled_strong"),
            (UNLABELLED, batch.unlabelled, "weak", "strong"),
        ):
            if patches is None:
                continue
            unit, draws = self.scale.unit(patches.pixels), self._draws(batch.step, stream, patches)
            if weak in wanted:
                view = self.views.weak(unit, draws)
                images[weak], where[weak] = self.scale(view.pixels), patches.where
                if dense and stream == LABELLED:
                    label = resample(label, view.grid)
            if strong in wanted:
                twin = self.views.strong(unit, draws, inherit=dense)
                images[strong], where[strong] = self.scale(twin.pixels), patches.where
                if dense:
                    geometry[strong] = Geometry(twin.relative, twin.valid)
        if "blank" in wanted:
            images["blank"] = self.blank(images["labelled"])
        return images, where, label, geometry

    def as_weak_shows(self, label: Tensor, batch: StepBatch) -> Tensor:
        """Labels of the unlabelled patches of a step, for people who watch, on the pixels of their weak views."""
        if label.ndim < 3 or batch.unlabelled is None:
            return label
        draws = self._draws(batch.step, UNLABELLED, batch.unlabelled)
        return resample(label, self.views.weak(self.scale.unit(batch.unlabelled.pixels), draws).grid)

    def _draws(self, step: int, stream: int, patches: Patches) -> Draws:
        """This process's slots of the global batch's draws."""
        mine, size = len(patches.pixels), patches.pixels.shape[-1]
        generator = torch.Generator().manual_seed(mix(self.seed, VIEWS, step, stream))
        start = self.global_rank * mine
        return self.views.draw(mine * self.trainer.world_size, size, generator)[start : start + mine]

    def blank(self, like: Tensor) -> Tensor:
        """An image without content, (1, C, H, W): every band at the top of its clip range."""
        white: Tensor = self.scale(torch.ones_like(like[:1]))
        return white

    def smaller(self, batch: StepBatch, parts: int) -> tuple[StepBatch, str] | None:
        """Fewer images at a time, or where batch norm needs all of them, fewer a step."""
        if not any(batch_norms(learner) for learner in self.objective.learners()):
            self.objective.micro_batch = (self.micro_batch or batch.images) // parts
            return (batch, f"model.micro_batch {self.objective.micro_batch}") if self.objective.micro_batch else None
        streams = [part for part in (batch.labelled, batch.unlabelled) if part is not None]
        sizes = [len(part.pixels) // parts for part in streams]
        if min(sizes) < 1:
            return None
        labelled, *unlabelled = (part.first(size) for part, size in zip(streams, sizes, strict=True))
        names = ("data.labelled_batch", "data.unlabelled_batch")
        setting = " and ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=False))
        return StepBatch(batch.step, labelled, unlabelled[0] if unlabelled else None), setting

    def after_step(self, good: Tensor) -> None:
        """Let statistics and averages follow, once."""
        self.objective.after_step(good)

    def configure_optimizers(self) -> Any:
        """Fused AdamW over the learners, with the schedule; averages are in no group."""
        networks = nn.ModuleList(self.objective.learners())
        groups = param_groups_weight_decay(networks, self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate(self, step: int, total: int) -> float:
        """The learning rate at a step as a share of the highest."""
        if step < self.lr_warmup_steps:
            return step / self.lr_warmup_steps
        if self.schedule == "constant":
            return 1.0
        done = (step - self.lr_warmup_steps) / max(1, total - self.lr_warmup_steps)
        return math.cos(COSINE * math.pi * done)

    # -- evaluation: images alone ---------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Start afresh."""
        assert self.facts is not None
        self.evaluation = evaluation_of(self.facts, keep=bool(self.trainer.testing))

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> None:
        """Show the kept network the images; place and time are not in the batch."""
        images = self.scale(self.scale.unit(batch.pixels))
        blank = self.blank(images) if "blank" in self.objective.views else None
        self.evaluation.add(self.objective.predict(images, blank), batch.label)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Give the metrics to Lightning, for callbacks such as early stopping."""
        self.log_dict({f"val/{k}": v for k, v in self.evaluation.metrics().items()}, logger=False)

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep beside the weights what they were built from, and how patches were split."""
        checkpoint["wherewhen"] = self.described(self.trainer.datamodule.split)  # type: ignore[attr-defined]

    def described(self, split: Mapping[str, Any]) -> dict[str, Any]:
        """What `build_as_trained` builds from, for patches that are split so."""
        assert self.facts is not None
        return {
            "facts": self.facts.to_dict(),
            "encoder": dict(self.encoder_spec),
            "algorithm": None if self.algorithm_spec is None else dict(self.algorithm_spec),
            "teacher": None if self.teacher is None else asdict(self.teacher),
            "decoder": None if self.decoder_spec is None else dict(self.decoder_spec),
            "split": dict(split),
        }

    def build_as_trained(self, checkpoint: Mapping[str, Any], split: Mapping[str, Any]) -> None:
        """Build the networks of a checkpoint, whatever this task's own settings are.

        Args:
            checkpoint: As read from the file.
            split: What decides who is tested now.

        Raises:
            UserError: The patches are split in another way than in the training.
        """
        kept = saved(checkpoint)
        for name, value in kept["split"].items():
            if split[name] != value:
                raise UserError(
                    f"the model was trained with {name} {value}, but is to be tested with {split[name]}: training "
                    f"patches would be among the test's; give the same settings (the run's config.yaml has them)"
                )
        self.encoder_spec = without(kept["encoder"], "weights")  # they are in the checkpoint
        self.algorithm_spec = kept["algorithm"]
        self.teacher = None if kept["teacher"] is None else Teacher(**kept["teacher"])
        self.decoder_spec = kept.get("decoder")
        self.dense_loss, self.positive_weight = "cross_entropy", 1.0  # nothing is trained
        self.build(Facts.from_dict(kept["facts"]))

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse weights of another kind of data.

        Raises:
            UserError: Bands, unit, classes or image size are not those of the training.
        """
        if self.facts is not None:
            Facts.from_dict(saved(checkpoint)["facts"]).accept(self.facts, "the store at hand")
