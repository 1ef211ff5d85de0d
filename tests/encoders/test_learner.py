import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import sph_harm_y
from torch import Tensor, nn

from wherewhen.encoders import Learner, MetadataEncoder, ViT, feature_width
from wherewhen.encoders.metadata import Encoding, encode, spherical_harmonics
from wherewhen.encoders.statistics import colour_and_roughness
from wherewhen.errors import UserError


def small_vit(channels: int = 3, **settings: object) -> ViT:
    arguments = {"image_size": 16, "patch_size": 4, "width": 32, "depth": 2, "heads": 2} | settings
    return ViT(channels, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("patch_size", [2, 4, 8, 16])
def test_the_token_makes_the_sequence_one_longer(image_size: int, patch_size: int) -> None:
    vit = small_vit(2, image_size=image_size, patch_size=patch_size, depth=1).eval()
    lengths = []
    vit.vit.blocks.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    images = torch.randn(1, 2, image_size, image_size)
    without, with_token = vit(images), vit(images, torch.randn(1, 32))
    side = image_size // patch_size
    assert lengths == [1 + side**2, 2 + side**2]
    assert without.token is None
    assert with_token.token.shape == (1, 32)
    assert with_token.maps[0].shape == without.maps[0].shape == (1, 32, side, side)
    assert not torch.equal(with_token.pooled, without.pooled)


@pytest.mark.parametrize("patch_size", [2, 4, 8, 16])
def test_a_convolutional_stem_makes_the_same_tokens(patch_size: int) -> None:
    settings = {"image_size": 32, "patch_size": patch_size}
    images, token = torch.randn(2, 3, 32, 32), torch.randn(2, 32)
    ours, plain = (small_vit(3, stem=stem, **settings)(images, token) for stem in ("convolutions", "patches"))
    for one, other in zip((*ours.maps, *ours[::2]), (*plain.maps, *plain[::2]), strict=True):
        assert one.shape == other.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 6, "image_size": 24}, "patch size 6 is not a power of two"),
        ({"patch_size": 8, "width": 36}, "width 36 is not a multiple of patch size 8"),
    ],
)
def test_a_convolutional_stem_says_what_it_needs(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small_vit(3, stem="convolutions", **settings)


def test_statistics_are_those_of_numpy() -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype(np.float32)
    found = colour_and_roughness(torch.from_numpy(images)).numpy()
    for image, row in zip(images, found, strict=True):
        for band, pixels in enumerate(image):
            steps = [
                np.hypot(pixels[r, c + 1] - pixels[r, c], pixels[r + 1, c] - pixels[r, c])
                for r in range(4)
                for c in range(5)
            ]
            rough = (pixels.std(ddof=1), np.mean(steps), np.std(steps, ddof=1))
            truth = (pixels.mean(), *(np.log(value + 0.05) for value in rough))
            np.testing.assert_allclose(row[band::2], truth, rtol=1e-4, atol=1e-5)


def test_the_class_token_begins_with_the_statistics() -> None:
    images = torch.randn(2, 3, 16, 16)
    for statistics in (True, False):
        pooled = small_vit(3, statistics=statistics, depth=0).eval()(images).pooled  # no block brings the image in
        assert torch.equal(pooled[0], pooled[1]) != statistics


def test_feature_maps_lie_as_the_image_does() -> None:
    vit = small_vit(1, depth=0).eval()
    with torch.no_grad():
        vit.vit.state_dict()["pos_embed"].zero_()
    image = torch.zeros(1, 1, 16, 16)
    image[..., 0:4, 8:12] = 1  # row 0, column 2 of the patches
    change = (vit(image).maps[0] - vit(torch.zeros_like(image)).maps[0]).abs().sum(1)[0]
    assert (change > 1e-6).nonzero().tolist() == [[0, 2]]


def test_raw_numbers_are_the_published_ones() -> None:
    where = torch.tensor([[45.0, -90.0, 0.25]])
    torch.testing.assert_close(encode("place", where), torch.tensor([[0.5, -0.5]]))
    torch.testing.assert_close(encode("time", where), torch.tensor([[1.0, 0.0]]))


def test_fourier_numbers_tell_neighbouring_regions_apart() -> None:
    where = torch.tensor([[48.0, 8.0, 0.5], [50.0, 8.0, 0.5]])
    raw, fourier = encode("place", where), encode("place", where, "fourier")
    assert fourier.shape == (2, 20)
    assert (raw[0] - raw[1]).abs().max() < 0.03
    assert (fourier[0] - fourier[1]).abs().max() > 1  # half a wave of 4 degrees
    torch.testing.assert_close(fourier[0, :4], torch.tensor([-1.0, 0.0, 2**-0.5, 2**-0.5]), atol=1e-6, rtol=0)
    assert encode("time", where, "fourier").shape == (2, 4)


def test_cyclic_numbers_join_the_edges_of_the_map() -> None:
    where = torch.tensor([[45.0, -180.0, 0.25], [45.0, 180.0, 0.25]])
    east, west = encode("place", where, "cyclic")
    torch.testing.assert_close(east, torch.tensor([0.5, 0.0, -1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(east, west, atol=1e-6, rtol=0)
    assert torch.equal(encode("time", where, "cyclic"), encode("time", where))


def test_spherical_harmonics_are_those_of_scipy() -> None:
    latitude, longitude = (
        torch.tensor([-1.5, -0.4, 0.0, 0.9, 1.2]).double(),
        torch.tensor([3.1, -2, 0, 0.3, 1]).double(),
    )
    ours = spherical_harmonics(latitude, longitude, 30)
    assert ours.shape == (5, 900)
    theirs = [sph_harm_y(n, 0, math.pi / 2 - latitude.numpy(), longitude.numpy()).real for n in range(30)]
    for m in range(1, 30):
        for n in range(m, 30):
            complex_one = (-1) ** m * math.sqrt(2) * sph_harm_y(n, m, math.pi / 2 - latitude.numpy(), longitude.numpy())
            theirs += [complex_one.real, complex_one.imag]
    np.testing.assert_allclose(ours, math.sqrt(4 * math.pi) * np.stack(theirs, axis=-1), atol=1e-9)


@pytest.mark.parametrize("encoding", ["raw", "cyclic", "fourier", "spherical"])
def test_every_encoding_keeps_the_unknown_unknown(encoding: Encoding) -> None:
    where = torch.tensor([[50.0, 8.0, 0.3], [torch.nan, torch.nan, 0.3], [50.0, 8.0, torch.nan]])
    place, time = (encode(part, where, encoding) for part in ("place", "time"))
    assert place.isnan().any(1).tolist() == [False, True, False]
    assert time.isnan().any(1).tolist() == [False, False, True]


def test_metadata_parts_that_are_not_used_do_not_matter() -> None:
    where = torch.tensor([[50.0, 8.0, 0.3]])
    for use, free in ((["place"], 2), (["time"], 0)):
        encoder = MetadataEncoder(8, use)  # type: ignore[arg-type]
        changed = where.clone()
        changed[0, free] = torch.nan
        assert torch.equal(encoder(where), encoder(changed))
        changed[0, 2 - free] += 0.2
        assert not torch.equal(encoder(where), encoder(changed))


def test_unknown_metadata_has_a_learned_stand_in_only_when_dropout_trains_it() -> None:
    where = torch.tensor([[50.0, 8.0, torch.nan], [50.0, 8.0, 0.1]])
    assert MetadataEncoder(8)(where)[0].isnan().all()
    encoder = MetadataEncoder(8, dropout=0.5).eval()
    assert encoder(where).isfinite().all()
    encoder.train()
    torch.manual_seed(0)
    encoder(where.nan_to_num().expand(64, 2, 3).flatten(0, 1)).sum().backward()
    assert all(numbers.grad is not None and numbers.grad.all() for numbers in encoder.unknown.parameters())


@pytest.mark.parametrize(
    ("use", "dropout", "word"), [([], 0, "name one"), (["where"], 0, "where"), (["place"], 1, "1")]
)
def test_metadata_settings_are_checked(use: list[str], dropout: float, word: str) -> None:
    with pytest.raises(UserError, match=word):
        MetadataEncoder(8, use, dropout)  # type: ignore[arg-type]


def test_a_teacher_without_any_metadata_has_no_token() -> None:
    learner = Learner(small_vit(), 32, 5, MetadataEncoder(32)).eval()
    images = torch.randn(2, 3, 16, 16)
    known = learner(images, torch.tensor([[50.0, 8.0, 0.5]] * 2))
    unknown = learner(images)
    assert known.token is not None
    assert unknown.token is None
    assert torch.equal(unknown.logits, learner.head(learner.encoder(images).pooled))


def test_late_fusion_adds_metadata_to_what_the_head_sees() -> None:
    metadata = MetadataEncoder(32)
    learner = Learner(small_vit(), 32, 5, metadata, late=True).eval()
    images, where = torch.randn(2, 3, 16, 16), torch.tensor([[50.0, 8.0, 0.5]] * 2)
    known, unknown = learner(images, where), learner(images)
    assert known.token is None
    assert torch.equal(known.pooled, unknown.pooled + metadata(where))
    assert torch.equal(known.logits, learner.head(known.pooled))


def test_one_learner_may_have_both_tokens() -> None:
    learner = Learner(small_vit(), 32, 5, MetadataEncoder(32), distill=True).eval()
    images, where = torch.randn(2, 3, 16, 16), torch.tensor([[50.0, 8.0, 0.5]] * 2)
    student = Learner(small_vit(), 32, 5, distill=True).eval()
    student.load_state_dict({k: v for k, v in learner.state_dict().items() if not k.startswith("metadata.")})
    assert torch.equal(learner(images).logits, student(images).logits)
    assert not torch.equal(learner(images, where).logits, student(images).logits)


class Plain(nn.Module):
    """Any network from images to features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.net(images)
        return features


def test_any_module_is_an_encoder_and_its_teacher_fuses_late() -> None:
    encoder = Plain(4)
    assert feature_width(encoder, 4, 16) == 6
    teacher = Learner(encoder, 6, 3, MetadataEncoder(6))
    images, where = torch.randn(2, 4, 16, 16), torch.tensor([[50.0, 8.0, 0.5], [10.0, 8.0, 0.5]])
    expected = teacher.head(encoder(images) + teacher.metadata(where))  # type: ignore[misc]
    assert torch.equal(teacher(images, where).logits, expected)
    with pytest.raises(UserError, match="distill_weight"):
        Learner(encoder, 6, 3, distill=True)


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(N, C, H, W\) into \(N, D\)"):
        feature_width(nn.Conv2d(3, 4, 3), 3, 16)


@pytest.mark.parametrize(("settings", "word"), [({"patch_size": 5}, "multiple"), ({"heads": 5}, "heads")])
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, int], word: str) -> None:
    with pytest.raises(UserError, match=word):
        small_vit(**settings)


# -- weights from elsewhere -----------------------------------------------------------------------


def saved(vit: ViT, path: Path) -> Path:
    state = {k: v.contiguous() for k, v in vit.vit.state_dict().items()}
    state["head.weight"] = torch.zeros(10, 32)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth"])
def test_weights_load_from_a_file_and_positions_follow_the_image_size(tmp_path: Path, name: str) -> None:
    source = small_vit()
    path = saved(source, tmp_path / name)
    same = small_vit(weights=str(path))
    ours, theirs = same.vit.state_dict(), source.vit.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    larger = small_vit(image_size=32, weights=str(path)).vit.state_dict()
    assert torch.equal(larger["cls_token"], theirs["cls_token"])
    assert larger["pos_embed"].shape == (1, 1 + 64, 32)


def test_weights_of_three_bands_start_a_network_of_other_bands(tmp_path: Path) -> None:
    path = saved(small_vit(3), tmp_path / "vit.pth")
    wide = small_vit(13, weights=str(path)).vit.state_dict()
    assert wide["patch_embed.proj.weight"].shape[1] == 13
    assert torch.equal(wide["cls_token"], torch.load(path, weights_only=True)["model"]["cls_token"])


def test_what_training_scripts_wrap_around_weights_is_taken_off(tmp_path: Path) -> None:
    source = small_vit()
    state = {f"module.{k}": v for k, v in source.vit.state_dict().items()} | {"module.mlp.0.weight": torch.zeros(3)}
    torch.save({"state_dict": state}, tmp_path / "usb.pth")
    same = small_vit(weights=str(tmp_path / "usb.pth"))
    assert torch.equal(same.vit.state_dict()["cls_token"], source.vit.state_dict()["cls_token"])


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = saved(small_vit(), tmp_path / "vit.safetensors")
    with pytest.raises(UserError, match=r"blocks\.2"):
        small_vit(depth=3, weights=str(path))
    with pytest.raises(UserError, match="shape"):
        small_vit(width=64, weights=str(path))
    with pytest.raises(UserError, match="do not exist"):
        small_vit(weights=str(tmp_path / "none.safetensors"))


def test_weights_never_run_code(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path(tmp_path / "owned").touch, ())

    torch.save({"model": Malice()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="plain tensors"):
        small_vit(weights=str(tmp_path / "bad.pth"))
    assert not (tmp_path / "owned").exists()


def test_timm_weights_load_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create = timm.create_model

    def published(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        assert pretrained
        torch.manual_seed(7)
        model: nn.Module = create(name, pretrained=False, num_classes=num_classes)
        return model

    monkeypatch.setattr("timm.create_model", published)
    torch.manual_seed(7)
    expected = create("vit_tiny_patch16_224", num_classes=0).state_dict()["blocks.3.attn.qkv.weight"]
    vit = ViT(3, image_size=64, patch_size=16, width=192, depth=12, heads=3, weights="vit_tiny_patch16_224")
    assert torch.equal(vit.vit.state_dict()["blocks.3.attn.qkv.weight"], expected)
    with pytest.raises(UserError, match="no_such_net"):
        ViT(3, image_size=64, patch_size=16, width=192, heads=3, weights="no_such_net")
