from typing import Any

import lightning.pytorch as pl
import pytest

from wherewhen.bands import load_sensor
from wherewhen.experiments.flops import step_flops
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.task import LabelEfficient, Teacher

ENCODER = {"name": "ViT", "patch_size": 8, "width": 16, "depth": 2, "heads": 2}
FACTS = Facts(
    load_sensor("rgb8").bands, ("a", "b", "c"), "one", 16, (0.0,) * 3, (1.0,) * 3, ("place", "time"), (), (1 / 3,) * 3
)


def task(**model: Any) -> LabelEfficient:
    built = LabelEfficient(ENCODER, **model)
    built.build(FACTS)
    built.trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_steps=1
    )
    return built


def transformer(images: int, tokens: int, width: int = 16, depth: int = 2) -> tuple[int, int]:
    """FLOPs of the patch embedding, and of all that comes after it, forward."""
    embedding = 2 * images * 4 * (3 * 8 * 8) * width
    products = 3 * width**2 + width**2 + 2 * 4 * width**2  # of a token: queries, keys, values; projection; MLP
    attention = 2 * tokens * width
    return embedding, 2 * images * (depth * tokens * (products + attention) + 3 * width)


def test_a_supervised_step_is_what_one_counts_by_hand_with_its_attention() -> None:
    embedding, rest = transformer(images=4, tokens=5)
    assert step_flops(task(), (4, 8)) == 2 * embedding + 3 * rest  # nobody needs the gradient of the images


def test_fixmatch_has_no_gradient_of_its_weak_view() -> None:
    weak, learned = transformer(8, 5), transformer(4 + 8, 5)
    counted = step_flops(task(algorithm={"name": "FixMatch", "threshold": 0.9}), (4, 8))
    assert counted == sum(weak) + 2 * learned[0] + 3 * learned[1]


def test_st_ssl_is_two_networks() -> None:
    fixmatch = step_flops(task(algorithm={"name": "FixMatch", "threshold": 0.9}), (4, 8))
    both = step_flops(task(algorithm={"name": "FixMatch", "threshold": 0.9}, teacher=Teacher()), (4, 8))
    assert both / fixmatch == pytest.approx(2, abs=0.4)
