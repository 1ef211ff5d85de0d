"""Small twins of published weight files: the keys, the wrapping and the pickled company of the real ones."""

import enum
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

State = dict[str, Tensor]


def resnet(seed: int = 0, channels: int = 3, layers: tuple[int, ...] = (2, 2, 2, 2)) -> nn.Sequential:
    """Torchvision's ResNet without classifier, as the published code cuts it; statistics as after training."""
    torch.manual_seed(seed)
    net = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, list(layers))
    if channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn_like(module.running_mean)  # type: ignore[arg-type]
            module.running_var = 1 + 0.2 * torch.rand_like(module.running_var)  # type: ignore[arg-type]
    return nn.Sequential(*list(net.children())[:-1], nn.Flatten()).eval()


def prefixed(state: State, start: str) -> State:
    return {start + name: value for name, value in state.items()}


def torchvision_names(net: nn.Sequential) -> State:
    """The same tensors by torchvision's names."""
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return {f"{name}.{k}": v for name, child in zip(names, net, strict=False) for k, v in child.state_dict().items()}


@contextmanager
def lightning_of_then() -> Iterator[dict[str, type]]:
    """Modules that checkpoints of Lightning 1 name, there only while a file is written."""

    class AttributeDict(dict[str, Any]):
        pass

    class ModelCheckpoint:
        pass

    class Mode(enum.Enum):
        SECO = 1

    class DataModule:  # CACo saves its data module among the hyper-parameters
        def __init__(self) -> None:
            self.loss, self.mode, self.path = np.ones((4, 3)), Mode.SECO, Path("datasets")

    homes: dict[str, list[type]] = {
        "pytorch_lightning.utilities.parsing": [AttributeDict],
        "pytorch_lightning.callbacks.model_checkpoint": [ModelCheckpoint],
        "datasets.seco_datamodule": [DataModule, Mode],
    }
    modules: dict[str, types.ModuleType] = {}
    for home, classes in homes.items():
        parts = home.split(".")
        for depth in range(1, len(parts) + 1):
            modules.setdefault(name := ".".join(parts[:depth]), types.ModuleType(name))
        for one in classes:
            one.__module__, one.__qualname__ = home, one.__name__
            setattr(modules[home], one.__name__, one)
    with patch.dict(sys.modules, modules):
        yield {one.__name__: one for classes in homes.values() for one in classes}


def write_lightning(path: Path, net: nn.Sequential, old: bool = False) -> None:
    """A checkpoint of SeCo or CACo: query and momentum encoder, three heads each, queues, hyper-parameters."""
    state = prefixed(net.state_dict(), "encoder_q.") | prefixed(resnet(99).state_dict(), "encoder_k.")
    for side in ("q", "k"):
        for space in range(3):
            for layer in (0, 2):
                state[f"heads_{side}.{space}.{layer}.weight"] = torch.zeros(8, 8)
                state[f"heads_{side}.{space}.{layer}.bias"] = torch.zeros(8)
    state |= {"queue": torch.zeros(3, 8, 16), "queue_ptr": torch.zeros(3, 1, dtype=torch.long)}
    with lightning_of_then() as classes:
        hparams = classes["AttributeDict"](base_encoder="resnet18", datamodule=classes["DataModule"]())
        checkpoint = {
            "epoch": 199,
            "pytorch-lightning_version": "1.1.4",
            "callbacks": {classes["ModelCheckpoint"]: {"best_model_score": np.float64(1.0)}},
            "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []}],
            "state_dict": state,
            "hyper_parameters": hparams,
        }
        torch.save(checkpoint, path, _use_new_zipfile_serialization=not old)


def write_moco(path: Path, net: nn.Sequential) -> None:
    """MoCo v2's `.pth.tar`: keys of a data-parallel model."""
    state = prefixed(torchvision_names(net), "module.encoder_q.")
    state |= prefixed(torchvision_names(resnet(98)), "module.encoder_k.")
    for side in ("q", "k"):
        for layer in (0, 2):
            state[f"module.encoder_{side}.fc.{layer}.weight"] = torch.zeros(8, 512)
            state[f"module.encoder_{side}.fc.{layer}.bias"] = torch.zeros(8)
    state |= {"module.queue": torch.zeros(8, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}}}, path)


def write_saco_classifier(path: Path, net: nn.Sequential, bins: int = 16) -> None:
    """SACo's EuroSAT classifier: 512 features and 13 histograms, of 16 bins where it is published -> 10 classes."""
    generator = torch.Generator().manual_seed(3)
    torch.save(
        {
            **prefixed(net.state_dict(), "resnet.model.model."),
            "resnet.model.fc.weight": torch.randn(10, 512 + 13 * bins, generator=generator),
            "resnet.model.fc.bias": torch.randn(10, generator=generator),
        },
        path,
    )


def write_saco_dense(path: Path, net: nn.Sequential, double: str = "double_conv") -> None:
    """SACo's change (`double_conv`) and segmentation (`conv_1`) models; the decoder has the keys, not the widths."""
    state = prefixed(net.state_dict(), "encoder.")
    for stage in range(4):
        state[f"decoder.{stage}.{double}.0.weight"] = torch.zeros(4, 4, 3, 3)
    torch.save(state | {"decoder.4.weight": torch.zeros(1, 4, 1, 1), "decoder.4.bias": torch.zeros(1)}, path)
