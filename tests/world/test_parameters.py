import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from wherewhen.world import COVERS, PARAMETERS, Patch, digest
from wherewhen.world.parameters import Parameters

_DOCS = Path(__file__).parents[2] / "docs" / "world.md"


def test_the_documented_hash_is_that_of_the_parameters() -> None:
    assert re.findall(r"\b[0-9a-f]{64}\b", _DOCS.read_text(encoding="utf-8")) == [digest()]


def test_any_number_changes_the_hash() -> None:
    assert digest(Parameters()) == digest()
    warmer = replace(PARAMETERS, ground=replace(PARAMETERS.ground, per_degree=0.57))
    niches = {**PARAMETERS.cover.niches, "town": PARAMETERS.cover.niches["grove"]}
    assert (
        len({digest(), digest(warmer), digest(replace(PARAMETERS, cover=replace(PARAMETERS.cover, niches=niches)))})
        == 3
    )


def test_the_mechanism_is_frozen_as_well(patches: list[Patch]) -> None:
    """What the hash cannot see, code, shows in the pictures: band means of the first patches, in reflectance."""
    means = np.mean([patch.pixels.mean((1, 2)) for patch in patches[:32]], 0) * 1e-4 - 0.1
    written = re.search(r"fingerprint: ([0-9., ]+)", _DOCS.read_text(encoding="utf-8"))
    assert written is not None
    assert means == pytest.approx([float(x) for x in written[1].split(",")], abs=2e-4)


def test_parameters_cannot_be_changed_and_know_every_cover() -> None:
    with pytest.raises(FrozenInstanceError):
        PARAMETERS.seed = 1  # type: ignore[attr-defined]
    tables = (PARAMETERS.cover.niches, PARAMETERS.layout.styles, PARAMETERS.layout.textures, PARAMETERS.change.becomes)
    for table in tables:
        assert set(table) == set(COVERS)
    for old, new in PARAMETERS.change.becomes.items():
        assert old not in new
        assert set(new) <= set(COVERS)
