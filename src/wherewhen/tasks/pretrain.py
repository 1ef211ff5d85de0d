"""The Lightning module of pre-training: which pictures of a place agree, whatever the season.

Notation: T dates of a place, N images of a date, V key views, C bands, S image size.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Literal

import numpy as np
import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]
from torch import Tensor, nn

from wherewhen.bands import Band
from wherewhen.build import Spec, build
from wherewhen.contrast import ChangeAware, ChangeBook, MomentumContrast, projection
from wherewhen.contrast.methods import METHODS, Method, Picture
from wherewhen.encoders import feature_width
from wherewhen.encoders.layout import channels_last
from wherewhen.encoders.vit import encode
from wherewhen.errors import UserError
from wherewhen.loader import NOISE, START, VIEWS, mix
from wherewhen.scale import Scale, check_bands
from wherewhen.seasons import DatesBatch
from wherewhen.tasks.guard import GuardedModule
from wherewhen.tasks.pretrain_data import PlacesData
from wherewhen.views import is_rgb
from wherewhen.views.contrast import ContrastViews

MethodName = Literal["moco_v2", "sa_moco", "seco", "caco", "saco"]
Texture = Literal["bands", "semantic"]
Groups = str | dict[str, list[str]]
GROUPS = "readme_l2a"
MOMENTUM = 0.9  # of SGD
AUGMENTATION = tuple(field.name for field in fields(ContrastViews) if field.name not in ("scale", "colour"))


def shown_groups(encoder: Spec, method: Method, groups: Groups = GROUPS, texture: Texture = "bands") -> Spec:
    """The encoder that a method trains, from that of one picture."""
    if not method.grouped:
        return encoder
    return {"name": "Grouped", "encoder": encoder, "groups": groups, "texture": texture if method.texture else "none"}


class Pretraining(GuardedModule):
    """An encoder trained without labels.

    Args:
        encoder: `name` and arguments, e.g. {name: Timm, model: resnet18, stem: small}: of a whole image, or where the
            method is semantically aware of a group of three bands.
        method: One of `contrast.methods.METHODS`.
        groups: Table of band groups, or the groups themselves, for semantically aware methods.
        texture: Which groups of local binary patterns SACo adds: the four of "bands", or those of the "semantic" ones.
        queue: Keys that are remembered, a multiple of the batch.
        momentum: Of the key network.
        temperature: Of the contrast; null takes the method's.
        agreement_weight: Of the pull of every group towards the image's mean.
        optimiser: "sgd" with momentum 0.9, as published for MoCo v2, SeCo and CACo, or "adam" as for SACo.
        learning_rate: Highest.
        weight_decay: Of matrices; biases and norms have none.
        milestones: Shares of the training after which the learning rate falls to a tenth.
        crop: Smallest and largest share of an image that a random crop shows.
        augmentation: Other settings of `views.contrast.ContrastViews` than the published ones: {grey: 0, blur: 0}.
        seed: Of initial weights, queue, views and drop path.
    """

    trainer: Any
    contrast: MomentumContrast

    def __init__(
        self,
        encoder: Spec,
        method: MethodName = "saco",
        groups: Groups = GROUPS,
        texture: Texture = "bands",
        queue: int = 16_384,
        momentum: float = 0.999,
        temperature: float | None = None,
        agreement_weight: float = 1.0,
        optimiser: Literal["sgd", "adam"] = "sgd",
        learning_rate: float = 0.03,
        weight_decay: float = 1e-4,
        milestones: tuple[float, ...] = (0.6, 0.8),
        crop: tuple[float, float] = (0.2, 1.0),
        augmentation: dict[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise UserError(f"seed is {seed}; it must be at least 0")
        self.encoder_spec, self.method, self.groups, self.texture = encoder, METHODS[method], groups, texture
        self.queue, self.momentum, self.agreement_weight = queue, momentum, agreement_weight
        self.temperature = self.method.temperature if temperature is None else temperature
        self.optimiser, self.learning_rate, self.weight_decay = optimiser, learning_rate, weight_decay
        self.milestones, self.crop, self.seed = milestones, crop, seed
        self.augmentation = dict(augmentation or {})
        if wrong := sorted(self.augmentation.keys() - set(AUGMENTATION)):
            raise UserError(f"model.augmentation has no {wrong[0]!r}; it has {', '.join(AUGMENTATION)}")

    # -- building -------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Build the networks for the store at hand; Lightning calls it before weights are loaded."""
        if not hasattr(self, "contrast"):
            data: PlacesData = self.trainer.datamodule
            store = data.opened
            scale = Scale.of(store.bands, store.mean, store.std)
            self.build(store.bands, scale, data.image_size, len(data.places))
            self.contrast.check(data.batch_size)
            # equal on all processes by themselves: 25 MB of queue need not be sent round at every step
            own = [f"contrast.{name}" for name, _ in self.contrast.named_buffers() if not name.startswith("query.")]
            self._ddp_params_and_buffers_to_ignore = own

    def build(self, bands: tuple[Band, ...], scale: Scale, image_size: int, places: int) -> None:
        """Build the networks and the views.

        Args:
            bands: Of the images.
            scale: Of their stored numbers.
            image_size: In pixels.
            places: How many there are.

        Raises:
            UserError: The configuration does not fit the data.
        """
        method, names = self.method, tuple(band.name for band in bands)
        self.bands, self.scale, self.image_size, self.places = bands, scale, image_size, places
        self.views = ContrastViews(scale=self.crop, colour=is_rgb(names), **self.augmentation)
        torch.manual_seed(mix(self.seed, START))
        spec = shown_groups(self.encoder_spec, method, self.groups, self.texture)
        found = {"channels": len(bands), "image_size": image_size, "bands": names, "spread": scale.spread}
        encoder = channels_last(build(spec, nn.Module, "wherewhen.encoders", **found))
        widths = method.widths(feature_width(encoder, len(bands), image_size))
        heads = [projection(*widths) for _ in method.spaces]
        kind = ChangeAware if method.periods == 2 else MomentumContrast
        more = {"book": ChangeBook(places)} if method.periods == 2 else {}
        self.contrast = kind(
            encoder,
            heads,
            method.spaces,
            widths[-1],
            self.queue,
            self.momentum,
            self.temperature,
            method.periods,
            self.agreement_weight if method.grouped else 0.0,
            self.seed,
            **more,
        )

    def build_as_trained(self, checkpoint: Mapping[str, Any]) -> None:
        """Build the networks and the views for the store of a checkpoint, and take its weights."""
        about = checkpoint["wherewhen"]
        bands = tuple(Band(**band) for band in about["bands"])
        scale = Scale.of(bands, np.zeros(len(bands)), np.ones(len(bands)))  # its numbers are among the weights
        self.build(bands, scale, about["image_size"], about["places"])
        self.load_state_dict(checkpoint["state_dict"])

    # -- training -------------------------------------------------------------------------------

    def training_step(self, batch: DatesBatch, batch_idx: int) -> dict[str, Tensor]:
        """One step; everything random in it is a function of seed, step and slot."""
        if batch.step != self.global_step:
            raise RuntimeError(f"batch of step {batch.step} arrived at step {self.global_step}")
        if batch.step and batch.step % self.trainer.datamodule.batches.round == 0:
            self.contrast.after_epoch()
        torch.manual_seed(mix(self.seed, NOISE, batch.step, self.global_rank))
        unit = [self.scale.unit(date) for date in batch.pixels]
        shown = [self.picture(unit, batch.step, v, p) for v, p in enumerate((self.method.query, *self.method.keys))]
        losses = self.contrast(shown[0], shown[1:], place=batch.place, step=batch.step)
        total = torch.stack(list(losses.values())).sum()
        return {"loss": total, **{name: value.detach() for name, value in losses.items()}}

    def picture(self, unit: list[Tensor], step: int, view: int, picture: Picture | None) -> Tensor | None:
        """What a view shows of the dates, T times (N, C, S, S) in [0, 1]: (N, C, S, S) as the networks see it."""
        if picture is None:
            return None
        images = unit[picture.date]
        if picture.augmented or picture.cropped:
            generator = torch.Generator().manual_seed(mix(self.seed, VIEWS, step, view))
            mine = len(images)
            draws = self.views.draw(mine * self.trainer.world_size, images.shape[-1], generator)
            draws = draws[self.global_rank * mine : (self.global_rank + 1) * mine]
            images = (self.views.augment if picture.augmented else self.views.crop)(images, draws)
        shown: Tensor = self.scale(images)
        return shown

    def smaller(self, batch: DatesBatch, parts: int) -> tuple[DatesBatch, str] | None:
        """Fewer places, which are fewer images in the statistics of a batch norm, too."""
        size = len(batch.place) // parts // self.method.periods * self.method.periods
        if size < 2:
            return None
        return DatesBatch(batch.step, batch.pixels[:, :size], batch.place[:size]), f"data.batch_size {size}"

    def after_step(self, good: Tensor) -> None:
        """The key network and the queue follow."""
        self.contrast.after_step(good)

    def configure_optimizers(self) -> Any:
        """The optimiser over the query network, with a learning rate that falls in steps."""
        groups = param_groups_weight_decay(nn.ModuleList(self.contrast.learners()), self.weight_decay)
        optimizer: torch.optim.Optimizer
        if self.optimiser == "sgd":
            optimizer = torch.optim.SGD(groups, lr=self.learning_rate, momentum=MOMENTUM, fused=True)
        else:
            optimizer = torch.optim.Adam(groups, lr=self.learning_rate, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.1 ** sum(step >= share * total for share in self.milestones)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    # -- the encoder ----------------------------------------------------------------------------

    @torch.no_grad()
    def describe(self, pixels: Tensor) -> Tensor:
        """Stored numbers (n, C, S, S) -> features (n, D) of the encoder, in eval mode."""
        encoder = self.contrast.encoder
        was = encoder.training
        try:
            return encode(encoder.eval(), self.scale(self.scale.unit(pixels.to(self.device)))).pooled
        finally:
            encoder.train(was)

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep beside the weights what they were built for."""
        about = {"bands": [asdict(band) for band in self.bands], "encoder": dict(self.encoder_spec)}
        checkpoint["wherewhen"] = about | {"image_size": self.image_size, "places": self.places}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse weights of another kind of images.

        Raises:
            UserError: The bands or their unit are others.
        """
        check_bands([Band(**band) for band in checkpoint["wherewhen"]["bands"]], self.bands, "the store at hand")
