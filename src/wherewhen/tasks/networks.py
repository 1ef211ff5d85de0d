"""The networks of a training and who labels for whom, built from settings and from what is known of the data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from wherewhen.build import Spec, build
from wherewhen.encoders import DenseLearner, Learner, MetadataEncoder, feature_width
from wherewhen.encoders.layout import channels_last
from wherewhen.encoders.metadata import PARTS, Encoding, Part
from wherewhen.errors import UserError
from wherewhen.semi import (
    Algorithm,
    Average,
    Dense,
    DenseLoss,
    LabelSpace,
    MultiLabel,
    Objective,
    PixelLoss,
    SemiSupervised,
    SingleLabel,
    SpatioTemporal,
    Supervised,
)
from wherewhen.semi.objectives import Distance, Labeller, Taught
from wherewhen.tasks.facts import Facts


@dataclass
class Teacher:
    """A teacher that knows where and when (ST-SSL); without one, a learner labels for itself.

    Args:
        metadata: What it knows: place, time or both; None takes what is known of every training patch.
        metadata_dropout: Share of training samples whose place or time is hidden from it.
        encoding: Of the metadata: "raw" as published, "cyclic", "fourier" or "spherical" (`MetadataEncoder`).
        fusion: "early" gives the encoder a metatoken; "late" adds the encoded metadata to the image's embedding
            before the head, or to the coarsest feature map before the decoder. There is no metatoken then, so nothing
            is distilled from it.
        one_network: Teacher and student share all weights; it is asked with and without place and time.
        distill_weight: λ_D; 0 switches the distillation off, and the student has no token then.
        distill_from: What the student's token follows: the teacher's "metatoken", or its "class_token".
        distance: Between the tokens of teacher and student.
        stop_gradient: Keep the distillation from moving the teacher.
    """

    metadata: list[Part] | None = None
    metadata_dropout: float = 0.0
    encoding: Encoding = "raw"
    fusion: Literal["early", "late"] = "early"
    one_network: bool = False
    distill_weight: float = 1.0
    distill_from: Taught = "metatoken"
    distance: Distance = "mse"
    stop_gradient: bool = True

    @property
    def distills(self) -> bool:
        """Whether the student has a token that follows one of the teacher's."""
        return self.distill_weight > 0 and (self.fusion == "early" or self.distill_from == "class_token")


@dataclass(frozen=True)
class Design:
    """What is to be built; the arguments are those of `LabelEfficient`."""

    encoder: Spec
    decoder: Spec | None
    algorithm: Spec | None
    teacher: Teacher | None
    freeze_encoder: bool
    dense_loss: DenseLoss
    positive_weight: float
    unlabelled_weight: float
    warmup_steps: int
    labels_from: Labeller | None
    ema_momentum: float

    def objective(self, facts: Facts) -> Objective:
        """Networks and objective for data with these facts.

        Raises:
            UserError: The settings do not fit the data.
        """
        cost = self._cost(facts)  # what is wrong with it is said before anything is built
        objective = self._objective(facts)
        objective.cost = cost
        return objective

    def _objective(self, facts: Facts) -> Objective:
        space = space_of(facts)
        if self.algorithm is None:
            model = self._learner(facts)
            return Supervised(model, Average(model, self.ema_momentum), space)
        algorithm = build(self.algorithm, Algorithm, "wherewhen.semi", **facts.found())
        if self.teacher is None:
            model = self._learner(facts)
            average = Average(model, self.ema_momentum)
            return SemiSupervised(
                model, average, algorithm, space, self.unlabelled_weight, self.warmup_steps, self.labels_from
            )
        distills, one = self.teacher.distills, self.teacher.one_network
        model = self._learner(
            facts, self._metadata(facts, self.teacher), distill=distills and one, late=self.teacher.fusion == "late"
        )
        return SpatioTemporal(
            model,
            model if one else self._learner(facts, distill=distills),
            Average(model, self.ema_momentum),
            algorithm,
            space,
            self.unlabelled_weight,
            self.teacher.distill_weight if distills else 0.0,
            self.warmup_steps,
            self.teacher.distance,
            self.teacher.stop_gradient,
            self.teacher.distill_from,
            self.labels_from,
        )

    def _learner(
        self,
        facts: Facts,
        metadata: Callable[[int], MetadataEncoder] | None = None,
        distill: bool = False,
        late: bool = False,
    ) -> Learner | DenseLearner:
        encoder = build(
            self.encoder,
            nn.Module,
            "wherewhen.encoders",
            channels=len(facts.bands),
            image_size=facts.image_size,
            bands=tuple(band.name for band in facts.bands),
            spread=facts.scale().spread,
        )
        make = self._dense if facts.dense else self._whole
        learner: Learner | DenseLearner = channels_last(make(encoder, facts, metadata, distill, late))
        return learner.freeze() if self.freeze_encoder else learner

    @staticmethod
    def _whole(
        encoder: nn.Module,
        facts: Facts,
        metadata: Callable[[int], MetadataEncoder] | None,
        distill: bool,
        late: bool,
    ) -> Learner:
        width = feature_width(encoder, len(facts.bands), facts.image_size)
        known = metadata(width) if metadata else None
        return Learner(encoder, width, len(facts.classes), known, distill, late)

    def _dense(
        self,
        encoder: Any,
        facts: Facts,
        metadata: Callable[[int], MetadataEncoder] | None,
        distill: bool,
        late: bool,
    ) -> DenseLearner:
        from wherewhen.decoders import Siamese  # segmentation-models-pytorch is imported where it is needed

        if not getattr(encoder, "map_widths", ()):
            raise UserError(
                f"{type(encoder).__name__} gives no feature maps, which labels of pixels are made from; use "
                "wherewhen.encoders.Timm or ViT, or give it `features`, `map_widths` and `map_strides`"
            )
        if facts.dates == 2:
            encoder = Siamese(encoder)
        decoder = build(
            self.decoder or {"name": "UNet"},
            nn.Module,
            "wherewhen.decoders",
            widths=encoder.map_widths,
            strides=encoder.map_strides,
        )
        early = getattr(encoder, "takes_token", False) and not late
        known = metadata(encoder.width if early else encoder.map_widths[-1]) if metadata else None
        return DenseLearner(encoder, decoder, len(facts.classes), known, distill, late)

    @staticmethod
    def _metadata(facts: Facts, teacher: Teacher) -> Callable[[int], MetadataEncoder]:
        use = teacher.metadata or [p for p in PARTS if p in facts.known]
        if not use:
            raise UserError(
                "a teacher needs place or time, and the store knows neither of every training patch; add them "
                "to the store, set metadata_dropout above 0 and name them, or train without a teacher"
            )
        for part in use:
            if part not in (*facts.known, *facts.partly):
                raise UserError(f"the store knows the {part} of no training patch; leave {part} out of metadata")
            if part in facts.partly and not teacher.metadata_dropout:
                raise UserError(
                    f"the {part} of some training patches is unknown; set metadata_dropout (0.1, say) so that "
                    f"the teacher learns what unknown means, or leave {part} out of metadata"
                )
        return lambda width: MetadataEncoder(width, use, teacher.metadata_dropout, teacher.encoding)

    def _cost(self, facts: Facts) -> PixelLoss | None:
        """Of labelled pixels, where it is not the algorithm's own."""
        if self.positive_weight != 1 and facts.label_kind != "change":
            raise UserError(
                f"positive_weight {self.positive_weight:g} is the weight of changed pixels, and data.target is not "
                "change; leave it out"
            )
        if self.dense_loss == "cross_entropy" and self.positive_weight == 1:
            return None
        if not facts.dense:
            raise UserError(
                f"dense_loss {self.dense_loss} is for labels of pixels; set data.target to mask or change, or leave it"
            )
        return PixelLoss(self.dense_loss, None if self.positive_weight == 1 else (1.0, self.positive_weight))


def space_of(facts: Facts) -> LabelSpace:
    """The label space of data with these facts."""
    if facts.dense:
        return Dense()
    return SingleLabel() if facts.label_kind == "one" else MultiLabel()
