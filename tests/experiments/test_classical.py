import math
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import make_store
from wherewhen.errors import UserError
from wherewhen.experiments.classical import METHODS, Problem, colour_and_gradient, in_chunks, physical
from wherewhen.store import PatchStore


def problem(store: PatchStore, labelled: np.ndarray, test: np.ndarray) -> Problem:
    return Problem(store, labelled, store.labels()[labelled], test, 0, lambda rows: store.pixels(rows).mean((2, 3)))


def naive(image: np.ndarray) -> list[float]:
    """Six numbers of one band (H, W)."""
    height, width = image.shape
    pixels = [image[i, j] for i in range(height) for j in range(width)]
    across = [abs(image[i, j + 1] - image[i, j]) for i in range(height) for j in range(width - 1)]
    down = [abs(image[i + 1, j] - image[i, j]) for i in range(height - 1) for j in range(width)]
    length = [
        math.hypot(image[i, j + 1] - image[i, j], image[i + 1, j] - image[i, j])
        for i in range(height - 1)
        for j in range(width - 1)
    ]
    return [
        *(float(f(pixels)) for f in (np.mean, np.std)),
        float(np.mean(across)),
        float(np.mean(down)),
        *(float(f(length)) for f in (np.mean, np.std)),
    ]


def test_colour_and_gradient_are_six_numbers_a_band() -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 5, 6))
    truth = np.array([[naive(image[band]) for band in range(2)] for image in images])  # (N, C, 6)
    np.testing.assert_allclose(colour_and_gradient(images), truth.transpose(0, 2, 1).reshape(3, 12))


def test_pixels_are_standardised_by_the_stores_moments(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    train = np.flatnonzero(store.table["split"] == "train")
    images = physical(store, train)
    np.testing.assert_allclose(images.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(images.std((0, 2, 3)), 1, rtol=1e-4)
    assert in_chunks(store, np.tile(train, 20), lambda x: x[:, :, 0, 0]).shape == (20 * len(train), 3)


def test_the_nearest_place_is_nearest_on_the_globe(tmp_path: Path) -> None:
    place = np.random.default_rng(3).uniform((-80, -180), (80, 180), (60, 2))
    place[0], place[45] = (10.0, 179.9), (10.0, -179.9)  # across the date line
    store = make_store(tmp_path / "store", place=place)
    labelled, test = np.arange(0, 30), np.arange(30, 60)
    latitude, longitude = np.radians(place).T
    for row, answer in zip(test, METHODS["place_neighbour"](problem(store, labelled, test)), strict=True):
        distance = [
            math.sin((latitude[row] - latitude[k]) / 2) ** 2
            + math.cos(latitude[row]) * math.cos(latitude[k]) * math.sin((longitude[row] - longitude[k]) / 2) ** 2
            for k in labelled
        ]
        assert answer.tolist() == np.eye(3)[store.labels()[labelled[int(np.argmin(distance))]]].tolist()


def test_random_features_are_compared_by_their_cosine(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    labelled, test = np.arange(6), np.arange(6, 60)
    answers = METHODS["random_features"](problem(store, labelled, test))
    features = store.pixels(np.arange(60)).mean((2, 3))
    for row, answer in zip(test, answers, strict=True):
        cosine = [features[row] @ features[k] / np.linalg.norm(features[k]) for k in labelled]
        assert answer.argmax() == store.labels()[labelled[int(np.argmax(cosine))]]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_probabilities_of_all_classes(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path / "store")
    labelled = np.flatnonzero(store.labels() != 1)[:20]  # nobody has shown the second class
    p = METHODS[name](problem(store, labelled, np.arange(40, 60)))
    assert p.shape == (20, 3)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p[:, 1] == 0).all()


def test_without_places_the_store_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", place=None, time=None)
    for name, words in (("place_neighbour", "place of 60 patches"), ("place_and_time_forest", "neither")):
        with pytest.raises(UserError, match=words):
            METHODS[name](problem(store, np.arange(30), np.arange(30, 60)))


def test_time_alone_is_taken_where_no_place_is_known(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", place=None)
    assert METHODS["place_and_time_forest"](problem(store, np.arange(30), np.arange(30, 60))).shape == (30, 3)
