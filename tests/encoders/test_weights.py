import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.encoders import foreign
from wherewhen.encoders import Grouped, Timm, ViT
from wherewhen.encoders.weight_files import read_file, save_encoder
from wherewhen.errors import UserError

L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
RGB = ("B04", "B03", "B02")
TRUTH = foreign.resnet()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def alike(encoder: nn.Module, truth: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(images), truth(images), atol=1e-4, rtol=1e-4)


# -- published files --------------------------------------------------------------------------------


def plain(path: Path) -> None:
    torch.save(TRUTH.state_dict(), path)


def names(path: Path) -> None:
    torch.save(foreign.torchvision_names(TRUTH) | {"fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(3)}, path)


def saco_encoder(path: Path) -> None:
    head = {"model.fc.fc1.weight": torch.zeros(4, 512), "model.fc.fc3.bias": torch.zeros(4)}
    torch.save(foreign.prefixed(TRUTH.state_dict(), "model.model.") | head, path)


@pytest.mark.parametrize(
    ("name", "write", "title", "left"),
    [
        (
            "seco_resnet18_1m.ckpt",
            lambda path: foreign.write_lightning(path, TRUTH),
            "SeCo or CACo",
            {"momentum encoder": 120 + 12, "projection head": 12, "queue": 2},
        ),
        ("resnet18_caco_geo_1m_200.pth", plain, "CACo, plain", {}),
        (
            "moco_v2_200ep_pretrain.pth.tar",
            lambda path: foreign.write_moco(path, TRUTH),
            "MoCo v2",
            {"projection head": 4, "momentum encoder": 120 + 4, "queue": 2},
        ),
        (
            "best_classification_model.pth",
            lambda path: foreign.write_saco_classifier(path, TRUTH),
            "SACo, classifier",
            {"classifier": 2},
        ),
        (
            "best_change_model.pth",
            lambda path: foreign.write_saco_dense(path, TRUTH),
            "SACo, change",
            {"decoder": 6},
        ),
        ("q_weights.pt", saco_encoder, "SACo, encoder", {"projection head": 2}),
        ("resnet18-f37072fd.pth", names, "torchvision", {"head": 2}),
    ],
)
def test_published_layouts_give_the_published_network(
    tmp_path: Path, images: Tensor, name: str, write: Any, title: str, left: dict[str, int], capsys: Any
) -> None:
    write(tmp_path / name)
    encoder = Timm(3, 64, "resnet18", weights=str(tmp_path / name), bands=RGB)
    alike(encoder, TRUTH, images)
    report = encoder.loaded
    assert report is not None
    assert title in report.title
    assert len(report.matched) == len(encoder.net.state_dict()) == 120
    assert report.adapted == ()
    said = capsys.readouterr().err
    assert str(report) in said
    assert all(f"{count} of the {what}" in said for what, count in left.items())
    assert report.left == left


def test_a_lightning_checkpoint_is_read_without_its_classes(tmp_path: Path) -> None:
    foreign.write_lightning(tmp_path / "caco.ckpt", TRUTH)
    with pytest.raises(pickle.UnpicklingError):  # so it does name classes that torch refuses
        torch.load(tmp_path / "caco.ckpt", weights_only=True)
    state, _ = read_file(tmp_path / "caco.ckpt")
    assert all(isinstance(value, Tensor) for value in state.values())


def test_an_old_lightning_checkpoint_is_refused_with_the_way_out(tmp_path: Path) -> None:
    foreign.write_lightning(tmp_path / "old.ckpt", TRUTH, old=True)
    with pytest.raises(UserError, match=r"plain tensors.*convert it to \.safetensors"):
        Timm(3, 64, "resnet18", weights=str(tmp_path / "old.ckpt"))
    save_file(foreign.prefixed(TRUTH.state_dict(), "encoder_q."), tmp_path / "converted.safetensors")
    encoder = Timm(3, 64, "resnet18", weights=str(tmp_path / "converted.safetensors"))
    assert encoder.loaded is not None
    assert "SeCo" in encoder.loaded.title


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pth"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, name: str) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, ...]:
            return (exec, (f"open({str(tmp_path / 'owned')!r}, 'w')",))

    torch.save({"state_dict": TRUTH.state_dict(), "hyper_parameters": Malice()}, tmp_path / name)
    state, _ = read_file(tmp_path / name)
    assert set(state) == set(TRUTH.state_dict())
    assert not (tmp_path / "owned").exists()


def test_nothing_may_be_left_over_that_has_no_name(tmp_path: Path) -> None:
    state = foreign.prefixed(TRUTH.state_dict(), "encoder_q.") | {"adapter.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "seco.ckpt")
    with pytest.raises(UserError, match=r"neither the encoder's nor a known head: adapter\.weight"):
        Timm(3, 64, "resnet18", weights=str(tmp_path / "seco.ckpt"))


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_no_weight_is_loaded_in_part(tmp_path: Path, fault: str) -> None:
    state = foreign.torchvision_names(TRUTH)
    if fault == "missing":
        del state["layer3.0.conv1.weight"]
    elif fault == "extra":
        state["layer3.2.conv1.weight"] = torch.zeros(1)
    else:
        state["layer3.0.conv1.weight"] = torch.zeros(256, 128, 1, 1)
    torch.save(state, tmp_path / "net.pth")
    encoder = Timm(3, 64, "resnet18")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(UserError, match=r"layer3\.[02]\.conv1\.weight"):
        encoder.load(str(tmp_path / "net.pth"))
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_a_counter_that_old_files_lack_is_no_fault(tmp_path: Path, images: Tensor) -> None:
    state = {k: v for k, v in foreign.torchvision_names(TRUTH).items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    alike(Timm(3, 64, "resnet18", weights=str(tmp_path / "old.pth")), TRUTH, images)


def test_another_stem_is_named(tmp_path: Path) -> None:
    names(tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"begin with a convolution of 7 × 7, the network with one of 3 × 3; .* stem"):
        Timm(3, 64, "resnet18", stem="small", weights=str(tmp_path / "net.pth"))


def test_a_norm_before_the_classifier_is_no_head(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = Timm(3, 64, "test_convnext")
    torch.save(source.net.state_dict() | {"head.fc.weight": torch.zeros(2, 2)}, tmp_path / "net.pth")
    encoder = Timm(3, 64, "test_convnext", weights=str(tmp_path / "net.pth"))
    assert "head.norm.weight" in source.net.state_dict()
    assert encoder.loaded is not None
    assert encoder.loaded.left == {"head": 1}


# -- bands --------------------------------------------------------------------------------------------


def first(encoder: Timm) -> Tensor:
    weight: Tensor = encoder.net.conv1.weight
    return weight.detach()


def stem(net: nn.Sequential) -> Tensor:
    weight: Tensor = net.state_dict()["0.weight"]
    return weight


def test_three_bands_go_to_their_names_among_twelve(tmp_path: Path) -> None:
    names(tmp_path / "net.pth")
    weight = stem(TRUTH)
    wide = Timm(12, 64, "resnet18", weights=str(tmp_path / "net.pth"), bands=L2A)
    for band, slice_ in zip(L2A, first(wide).unbind(1), strict=True):
        truth = weight[:, RGB.index(band)] if band in RGB else weight.mean(1)
        torch.testing.assert_close(slice_, truth * 3 / 12)
    assert wide.loaded is not None
    assert "3 → 12 bands by name: B02, B03, B04 found, 9 others take the mean" in str(wide.loaded)
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            wide.eval()(grey.expand(1, 12, 64, 64)), TRUTH(grey.expand(1, 3, 64, 64)), atol=1e-4, rtol=1e-4
        )


def test_twelve_bands_and_back_are_the_same_three(tmp_path: Path) -> None:
    names(tmp_path / "net.pth")
    wide = Timm(12, 64, "resnet18", weights=str(tmp_path / "net.pth"), bands=L2A)
    save_encoder(wide, tmp_path / "wide.safetensors", L2A)
    for order in (RGB, tuple(reversed(RGB)), ("blue", "red", "green")):
        back = Timm(3, 64, "resnet18", weights=str(tmp_path / "wide.safetensors"), bands=order)
        found = dict(zip(order, first(back).unbind(1), strict=True))
        for band, colour, truth in zip(RGB, ("red", "green", "blue"), stem(TRUTH).unbind(1), strict=True):
            torch.testing.assert_close(found.get(band, found.get(colour)), truth)
        assert back.loaded is not None
        assert "B01, B05, B06, B07, B08, B8A, B09, B11, B12 not used" in str(back.loaded)


def test_bands_without_names_are_counted(tmp_path: Path) -> None:
    names(tmp_path / "net.pth")
    encoder = Timm(6, 64, "resnet18", weights=str(tmp_path / "net.pth"))
    weight = stem(TRUTH)
    torch.testing.assert_close(first(encoder), torch.cat((weight, weight), dim=1) / 2)
    assert encoder.loaded is not None
    assert "names not known" in str(encoder.loaded)


def test_the_published_segmentation_has_ten_bands(tmp_path: Path) -> None:
    net = foreign.resnet(channels=10)
    foreign.write_saco_dense(tmp_path / "best_pixel_segmentation.pth", net, "conv_1")
    encoder = Timm(12, 64, "resnet18", weights=str(tmp_path / "best_pixel_segmentation.pth"), bands=L2A)
    assert encoder.loaded is not None
    assert "10 found" not in str(encoder.loaded)
    assert "2 others take the mean" in str(encoder.loaded)  # B01 and B09
    b11 = stem(net)[:, 8] * 10 / 12
    torch.testing.assert_close(first(encoder)[:, L2A.index("B11")], b11)


# -- ours ---------------------------------------------------------------------------------------------


def test_our_own_file_starts_a_network_and_its_grouped_twin(tmp_path: Path, images: Tensor) -> None:
    torch.manual_seed(1)
    source = Grouped({"name": "Timm", "model": "resnet18", "stem": "small"}, bands=L2A, image_size=32)
    path = tmp_path / "run" / "encoder.safetensors"
    save_encoder(source, path, L2A)
    alone = Timm(3, 32, "resnet18", stem="small", weights=str(path), bands=RGB)
    alike(alone, source.encoder.eval(), images)
    spec = {"name": "Timm", "model": "resnet18", "stem": "small"}
    for twin in (
        Grouped(spec, bands=L2A, image_size=32, weights=str(path)),
        Grouped({**spec, "weights": str(path)}, bands=L2A, image_size=32),
    ):
        alike(twin, source.eval(), torch.rand(2, 12, 32, 32))


VIT: dict[str, Any] = {"image_size": 32, "patch_size": 4, "width": 32, "depth": 2, "heads": 2}


@pytest.mark.parametrize("settings", [{}, {"stem": "convolutions"}, {"statistics": True, "layer_scale": 0.1}])
def test_our_own_vit_comes_back_whole(tmp_path: Path, settings: dict[str, Any]) -> None:
    arguments: dict[str, Any] = VIT | settings
    torch.manual_seed(2)
    source = ViT(12, **arguments, bands=L2A)
    if source.statistics is not None:
        source(torch.randn(8, 12, 32, 32))  # running statistics
    save_encoder(source, tmp_path / "vit.safetensors", L2A)
    twin = ViT(12, **arguments, weights=str(tmp_path / "vit.safetensors"), bands=L2A)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in source.state_dict().items())
    assert twin.loaded is not None
    assert len(twin.loaded.matched) == len(source.state_dict())
    larger = ViT(12, **(arguments | {"image_size": 64}), weights=str(tmp_path / "vit.safetensors"), bands=L2A)
    assert larger.loaded is not None
    assert "pos_embed resampled (1, 65, 32) → (1, 257, 32)" in larger.loaded.adapted


def test_statistics_are_not_taken_for_other_bands(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_encoder(ViT(12, **VIT, statistics=True), path, L2A)
    with pytest.raises(UserError, match="statistics of bands"):
        ViT(12, **VIT, statistics=True, weights=str(path), bands=tuple(reversed(L2A)))
    with pytest.raises(UserError, match="set statistics to true"):
        ViT(12, **VIT, weights=str(path), bands=L2A)
    with pytest.raises(UserError, match="a ViT that begins with statistics"):
        Timm(12, 32, "test_vit", weights=str(path), bands=L2A)


def test_published_vits_know_no_statistics_and_no_convolutional_stem(tmp_path: Path) -> None:
    save_file(ViT(3, **VIT).vit.state_dict(), tmp_path / "vit.safetensors")
    vit = ViT(3, **VIT, statistics=True, weights=str(tmp_path / "vit.safetensors"))
    assert vit.loaded is not None
    assert "statistics start anew" in vit.loaded.adapted
    with pytest.raises(UserError, match="no convolutional stem"):
        ViT(3, **VIT, stem="convolutions", weights=str(tmp_path / "vit.safetensors"))


def test_usb_weights_start_our_vit(tmp_path: Path) -> None:
    """`vit_small_patch2_32_mlp_im_1k_32.pth`: a state under "model", timm's names, and heads on top."""
    torch.manual_seed(3)
    source = ViT(3, **VIT)
    state = source.vit.state_dict() | {"head.weight": torch.zeros(4, 32), "fc_norm.weight": torch.zeros(32)}
    torch.save({"model": foreign.prefixed(state, "module.")}, tmp_path / "usb.pth")
    vit = ViT(3, **VIT, weights=str(tmp_path / "usb.pth"), bands=("red", "green", "blue"))
    assert all(torch.equal(value, vit.state_dict()[name]) for name, value in source.state_dict().items())
    assert vit.loaded is not None
    assert vit.loaded.left == {"head": 2}
    assert vit.loaded.adapted == ()


def test_a_grouped_encoder_of_ones_own_may_not_load(tmp_path: Path) -> None:
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match="Sequential has no method load"):
        Grouped(encoder, bands=L2A, weights=str(tmp_path / "x.safetensors"))


# -- names ----------------------------------------------------------------------------------------------


def test_timm_publishes_by_name(monkeypatch: pytest.MonkeyPatch, images: Tensor) -> None:
    import timm

    create = timm.create_model
    asked: list[dict[str, Any]] = []

    def published(name: str, pretrained: bool = False, **settings: Any) -> nn.Module:
        if not pretrained:
            return create(name, pretrained=False, **settings)
        asked.append({"name": name, **settings})
        torch.manual_seed(7)
        model: nn.Module = create(name, pretrained=False, **settings)
        return model

    monkeypatch.setattr("timm.create_model", published)
    encoder = Timm(3, 64, "test_vit", weights="test_vit.r160_in1k")
    assert asked == [{"name": "test_vit.r160_in1k", "num_classes": 0, "img_size": 64}]
    torch.manual_seed(7)
    alike(encoder, create("test_vit", num_classes=0, img_size=64).eval(), images)


def test_torchgeo_publishes_with_its_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    net, bands = foreign.resnet(channels=4), ["B4", "B8A", "B11", "B2"]

    def get_weight(name: str) -> Any:
        assert name == "ResNet18_Weights.SENTINEL2_SOME"
        return SimpleNamespace(
            meta={"bands": bands},
            get_state_dict=lambda progress, weights_only: foreign.torchvision_names(net) if weights_only else None,
        )

    monkeypatch.setitem(sys.modules, "torchgeo", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchgeo.models", SimpleNamespace(get_weight=get_weight))
    encoder = Timm(12, 64, "resnet18", weights="torchgeo:ResNet18_Weights.SENTINEL2_SOME", bands=L2A)
    truth = stem(net)[:, 1] * 4 / 12
    torch.testing.assert_close(first(encoder)[:, L2A.index("B8A")], truth)
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    with pytest.raises(UserError, match=r"torchgeo, which is not installed; install wherewhen\[torchgeo\]"):
        encoder.load("torchgeo:ResNet18_Weights.SENTINEL2_SOME")
