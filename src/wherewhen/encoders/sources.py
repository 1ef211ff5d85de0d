"""Where published weights keep their encoder: one row a layout, recognised by its keys.

The layouts were read off the public code that writes them; the titles say whose.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from wherewhen.encoders.band_weights import RGB

# A torchvision ResNet as `nn.Sequential(*children)`: its numbers, and their names in timm (and torchvision).
CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
PASTIS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
MOMENTUM, QUEUE, PROJECTION, CLASSIFIER = "momentum encoder", "queue", "projection head", "classifier"
HEADS = dict.fromkeys(("head.", "fc_norm.", "fc.", "classifier.", "mlp."), "head")  # what pre-trainings put on top


@dataclass(frozen=True)
class Source:
    """One layout of a file.

    Args:
        title: What a person calls it.
        mark: Regular expression that some key of such a file matches, and of no earlier row.
        trunk: What the encoder's keys begin with.
        numbered: They go on as the children of a torchvision ResNet, by number.
        left: What the other keys begin with, and what they are; nothing else may be left over.
        bands: Names of the bands by their number.
    """

    title: str
    mark: str
    trunk: str = ""
    numbered: bool = False
    left: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: {3: RGB})

    def name(self, key: str) -> str | None:
        """The name in timm of an encoder's key; None for what is not the encoder's."""
        if not key.startswith(self.trunk):
            return None
        rest = key.removeprefix(self.trunk)
        if not self.numbered:
            return None if key.startswith(tuple(self.left)) else rest
        number, _, tail = rest.partition(".")
        return f"{CHILDREN[number]}.{tail}" if number in CHILDREN else None


SOURCES = (
    Source(
        "SeCo or CACo, Lightning checkpoint",  # ServiceNow/seasonal-contrast, utkarshmall13/CACo: moco2_module.py
        r"encoder_q\.\d+\.",
        "encoder_q.",
        True,
        {"encoder_k.": MOMENTUM, "heads_k.": MOMENTUM, "heads_q.": PROJECTION, "queue": QUEUE},
    ),
    Source(
        "MoCo v2",  # facebookresearch/moco: moco/builder.py
        r"encoder_q\.layer1\.",
        "encoder_q.",
        False,
        {"encoder_k.": MOMENTUM, "encoder_q.fc.": PROJECTION, "queue": QUEUE},
    ),
    Source(
        "SACo, classifier",  # lstival/SACo: classification.py, classification_lbp.py
        r"resnet\.model\.model\.\d+\.",
        "resnet.model.model.",
        True,
        {"resnet.model.fc.": CLASSIFIER},
    ),
    Source(
        "SACo, encoder",  # lstival/SACo: modules/senti_encoder.py
        r"model\.model\.\d+\.",
        "model.model.",
        True,
        {"model.fc.": PROJECTION},
    ),
    Source(
        "SACo, change or segmentation",  # lstival/SACo: modules/u_net.py, modules/segmentation_network.py
        r"encoder\.[4-7]\.\d+\.",
        "encoder.",
        True,
        {"decoder.": "decoder"},
        {3: RGB, 10: PASTIS},
    ),
    Source(
        "CACo, plain",  # utkarshmall13/CACo: notebooks/eurosat_eval_pytorch.ipynb
        r"4\.\d+\.conv1\.",
        "",
        True,
    ),
    Source("timm, torchvision or USB", r".", "", False, HEADS),
)


def recognise(keys: Collection[str]) -> Source:
    """The layout of a file with these keys; what no row knows is taken for a network of timm's."""
    return next(source for source in SOURCES if any(re.match(source.mark, key) for key in keys))


def split(state: Mapping[str, Tensor], source: Source) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The encoder's tensors by timm's names; and all others by what they are ("" is not known)."""
    encoder: dict[str, Tensor] = {}
    left: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if (name := source.name(key)) is not None:
            encoder[name] = value
        else:
            what = next((what for start, what in source.left.items() if key.startswith(start)), "")
            left.setdefault(what, {})[key] = value
    return encoder, left
