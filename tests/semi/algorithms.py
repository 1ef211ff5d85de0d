"""The seven algorithms beside their slow truths, and logits that drift: shared by several tests.

Notation: L labelled and U unlabelled samples, C classes, K outcomes.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.reference import semi, semi_cap, semi_cdmad, semi_defixmatch, semi_freematch, semi_softmatch, semi_udal
from wherewhen.semi import (
    CAP,
    CDMAD,
    UDAL,
    UNKNOWN,
    Algorithm,
    DeFixMatch,
    FixMatch,
    FreeMatch,
    MultiLabel,
    Outputs,
    SingleLabel,
    SoftMatch,
)

Kind = Literal["one", "many"]

VIEWS = ("labelled", "strong", "weak", "labelled_strong", "blank")
CLASSES = {"one": 5, "many": 3}
LEVELS = {"one": [0.7, 0.65, 0.6, 0.55, 0.5], "many": [0.8, 0.6]}
UNIFORM = {"one": np.full(5, 0.2), "many": np.full((3, 2), 0.5)}
RATES = np.array([0.47, 0.21, 0.053])
PRIOR = {"one": np.array([0.4, 0.3, 0.15, 0.1, 0.05]), "many": np.stack((1 - RATES, RATES), axis=-1)}
M = 0.9  # momentum: 20 steps must be enough for the state to matter


class Case(NamedTuple):
    """An algorithm and its truth for one kind of labels."""

    name: str
    kind: Kind
    make: Callable[[], Algorithm]
    truth: Callable[[], semi.FixMatch]

    def __str__(self) -> str:
        return f"{self.name}-{self.kind}"


def cases(kind: Kind) -> list[Case]:
    levels, prior, uniform = LEVELS[kind], PRIOR[kind], UNIFORM[kind]
    table: dict[str, tuple[Callable[[], Algorithm], Callable[[], semi.FixMatch]]] = {
        "fixmatch": (lambda: FixMatch(levels), lambda: semi.FixMatch(levels)),
        "udal": (
            lambda: UDAL(torch.from_numpy(prior), alpha_min=0.4, power=2, momentum=M, threshold=levels),
            lambda: semi_udal.UDAL(prior, 0.4, 2, M, levels),
        ),
        "softmatch": (
            lambda: SoftMatch(torch.from_numpy(prior), sigmas=2, momentum=M),
            lambda: semi_softmatch.SoftMatch(prior, 2, M),
        ),
        "freematch": (
            lambda: FreeMatch(torch.from_numpy(uniform), fairness=0.05, momentum=M),
            lambda: semi_freematch.FreeMatch(uniform, 0.05, M),
        ),
        "defixmatch": (lambda: DeFixMatch(levels), lambda: semi_defixmatch.DeFixMatch(levels)),
        "cdmad": (lambda: CDMAD(start=7, threshold=levels), lambda: semi_cdmad.CDMAD(levels, 7)),
    }
    if kind == "many":
        table["cap"] = (
            lambda: CAP(torch.from_numpy(prior), 0.8, 0.9, memory=50, gamma=(4, 1), clip=0.05),
            lambda: semi_cap.CAP(prior, 0.8, 0.9, 50, (4, 1), 0.05),
        )
    return [Case(name, kind, *pair) for name, pair in table.items()]


ALL = cases("one") + cases("many")


def logits(kind: Kind, step: int, view: str, samples: int, network: int = 0) -> Tensor:
    """Canonical logits that drift from step to step towards the first class, absent: imbalance that grows."""
    g = torch.Generator().manual_seed(1000 * step + 10 * network + VIEWS.index(view))
    classes = CLASSES[kind]
    raw = 1.5 * torch.randn(samples, classes, generator=g) + (0.3 + step / 15) * torch.linspace(1.5, -2, classes)
    space = MultiLabel() if kind == "many" else SingleLabel()
    return space.logits(raw)


def outputs(kind: Kind, step: int, network: int = 0, labelled: int = 7, unlabelled: int = 12) -> Outputs:
    """All views of one step, as one network sees them."""
    sizes = dict(zip(VIEWS, (labelled, unlabelled, unlabelled, labelled, 1), strict=True))
    return Outputs(**{view: logits(kind, step, view, size, network) for view, size in sizes.items()})


def labels(kind: Kind, step: int, labelled: int = 7) -> Tensor:
    """Labels of the labelled samples, some of them unknown."""
    g = torch.Generator().manual_seed(step)
    shape = (labelled, CLASSES["many"]) if kind == "many" else (labelled,)
    y = torch.randint(0, 2 if kind == "many" else CLASSES[kind], shape, generator=g)
    return y.where(torch.rand(shape, generator=g) > 0.2, UNKNOWN)


def arrays(out: Outputs) -> dict[str, np.ndarray]:
    """For the truth."""
    return {view: z.double().numpy() for view, z in out._asdict().items() if z is not None}


def same_state(algorithm: Algorithm, truth: semi.FixMatch, tolerance: float = 1e-6) -> None:
    """What the algorithm remembers is what the truth remembers."""
    for name, value in truth.state().items():
        if name == "queue":
            rows, count = algorithm.get_buffer("queue.rows"), len(value)
            np.testing.assert_allclose(rows[:, :count].T.sort(0).values, np.sort(value, axis=0), atol=tolerance)
            assert count == min(int(algorithm.get_buffer("queue.pushed")), rows.shape[1])
        else:
            np.testing.assert_allclose(algorithm.get_buffer(name), value, atol=tolerance)


def state(algorithm: Algorithm) -> dict[str, Any]:
    """A copy of everything it remembers."""
    return {name: value.clone() for name, value in algorithm.state_dict().items()}
