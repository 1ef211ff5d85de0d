from pathlib import Path

import pytest

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.encoders import Timm, save_encoder
from wherewhen.tasks.run import AtomicCheckpoints

COLOURS = ("red", "green", "blue")


def test_a_grouped_encoder_with_weights_of_ours_trains_and_is_tested_without_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "pretrain" / "encoder.safetensors"
    save_encoder(Timm(3, 32, "test_vit"), weights, COLOURS)
    config = settings(make_store(tmp_path / "store").path)
    config["model"]["encoder"] = {
        "name": "Grouped",
        "encoder": {"name": "Timm", "model": "test_vit", "weights": str(weights)},
        "groups": {"as_seen": list(COLOURS), "reversed": list(reversed(COLOURS))},
        "texture": "semantic",
    }
    config["model"]["teacher"] = {"distill_weight": 0.0}
    words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(["fit", *words]) == 0
    assert "(wherewhen's Timm): 78 tensors loaded; pos_embed resampled" in capsys.readouterr().err
    weights.unlink()
    assert main(["test", *words]) == 0


@pytest.mark.parametrize("bins", [16, 18])
def test_a_head_of_ones_own_sees_features_and_texture(tmp_path: Path, bins: int) -> None:
    config = settings(make_store(tmp_path / "store").path, algorithm=None, teacher=None)
    encoder = {"name": "WithTexture", "encoder": {"name": "Timm", "model": "test_vit"}, "bins": bins}
    config["model"]["encoder"] = encoder
    words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(["fit", *words]) == 0
    assert main(["test", *words]) == 0
    kept = AtomicCheckpoints().load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    assert kept["objective.model.head.weight"].shape == (3, 64 + len(COLOURS) * bins)
