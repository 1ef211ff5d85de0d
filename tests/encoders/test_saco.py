from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.encoders import foreign, saco_published
from wherewhen.encoders.saco import EUROSAT, SacoClassifier, SacoDense
from wherewhen.encoders.sources import PASTIS
from wherewhen.errors import UserError


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    path, net = tmp_path_factory.mktemp("saco") / "best_classification_model.pth", foreign.resnet(4)
    foreign.write_saco_classifier(path, net)
    return path, net


def test_the_classifier_says_what_the_published_one_says(classifier: tuple[Path, nn.Sequential]) -> None:
    path, net = classifier
    state = torch.load(path, weights_only=True)
    images = np.random.default_rng(0).gamma(2, 700, size=(2, 13, 64, 64)).round()
    truth = [
        saco_published.classify(image, net, state["resnet.model.fc.weight"], state["resnet.model.fc.bias"])
        for image in images
    ]
    model = SacoClassifier(EUROSAT, str(path))
    shown = torch.tensor(images, dtype=torch.float32)
    with torch.no_grad():
        ours = model(shown).exp()
        np.testing.assert_allclose(ours.numpy(), truth, atol=2e-3)
        assert ours.numpy().argmax(1).tolist() == np.argmax(truth, axis=1).tolist()
        torch.testing.assert_close(ours.sum(1), torch.ones(2))
        order = tuple(reversed(EUROSAT))
        mixed = SacoClassifier(order, str(path))(shown.flip(1))
        torch.testing.assert_close(mixed.exp(), ours)
        torch.testing.assert_close(model(shown * 1e-4).exp(), ours, atol=2e-3, rtol=0)  # any unit will do


def test_a_checkpoint_holds_the_classifier_whole(classifier: tuple[Path, nn.Sequential]) -> None:
    """`wherewhen test` builds an encoder without `weights`, and takes them from its checkpoint."""
    released, empty = SacoClassifier(EUROSAT, str(classifier[0])), SacoClassifier(EUROSAT)
    empty.load_state_dict(released.state_dict())
    images = torch.rand(1, 13, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(empty(images), released(images))


def test_the_classifier_needs_its_bands_and_its_file(classifier: tuple[Path, nn.Sequential], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs B10, but the images have"):
        SacoClassifier([band for band in EUROSAT if band != "B10"], str(classifier[0]))
    foreign.write_moco(tmp_path / "moco.pth.tar", foreign.resnet())
    with pytest.raises(UserError, match="laid out as MoCo v2, not as SACo, classifier"):
        SacoClassifier(EUROSAT, str(tmp_path / "moco.pth.tar"))
    state = torch.load(classifier[0], weights_only=True)
    state["resnet.model.fc.weight"] = torch.zeros(10, 512)
    torch.save(state, tmp_path / "plain.pth")
    with pytest.raises(UserError, match="sees 512 numbers, not 512 features and 16 bins"):
        SacoClassifier(EUROSAT, str(tmp_path / "plain.pth"))


@pytest.mark.parametrize(("bands", "classes", "kept"), [(("B04", "B03", "B02"), 1, False), (PASTIS, 20, True)])
def test_the_dense_models_say_what_the_published_ones_say(
    tmp_path: Path, bands: tuple[str, ...], classes: int, kept: bool
) -> None:
    truth = saco_published.Dense(foreign.resnet(5, channels=len(bands)), classes, kept).eval()
    torch.save(truth.state_dict(), tmp_path / "best.pth")
    order = ("B01", *reversed(bands))
    model = SacoDense(str(tmp_path / "best.pth"), order)
    images, after = torch.rand(2, 2, len(order), 64, 64)
    there, later = images[:, 1:].flip(1), after[:, 1:].flip(1)
    with torch.no_grad():
        one = classes != 1
        ours = model(images) if one else model(images, after)
        expected = truth(there) if one else truth(there, later)
    assert ours.shape == (2, classes, 64, 64)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)


def test_a_decoder_must_be_whole(tmp_path: Path) -> None:
    foreign.write_saco_dense(tmp_path / "best.pth", foreign.resnet())
    with pytest.raises(UserError, match=r"no weight 0\.double_conv\.3\.weight"):
        SacoDense(str(tmp_path / "best.pth"), ("B04", "B03", "B02"))
