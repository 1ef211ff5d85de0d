"""Training networks that are too large for one GPU: every process keeps a part of each, and gathers what it needs.

Fully sharded data parallelism (Zhao et al. 2023, https://arxiv.org/abs/2304.11277) by PyTorch's `fully_shard`.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from wherewhen.errors import UserError
from wherewhen.semi.average import Average
from wherewhen.semi.objectives import Objective, batch_norms

warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")  # nothing is changed in place


class Sharded(DDPStrategy):
    """`--trainer.strategy fsdp` of `fit`: weights, gradients, averages and the optimiser's moments lie in parts.

    Lightning's own would divide what learns and leave its averages whole, and needs a GPU. Checkpoints are those of one
    process, and are read as such.
    """

    def model_to_device(self) -> None:
        """Hand out the networks part by part, so that no device ever holds them whole, and move what is left.

        Raises:
            UserError: The task or its networks cannot be handed out.
        """
        module: Any = self.lightning_module
        objective = getattr(module, "objective", None)
        if not isinstance(objective, Objective):
            raise UserError("trainer.strategy fsdp is for `fit`; pretrain with ddp")
        if module.compiled or module.micro_batch:
            raise UserError("trainer.strategy fsdp goes without model.compile and model.micro_batch; leave them out")
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        averages = [average.module for average in objective.modules() if isinstance(average, Average)]
        for network in (*objective.learners(), *averages):
            if any(norm.training for norm in batch_norms(network)):
                raise UserError(
                    "trainer.strategy fsdp is for networks without batch norm, whose statistics would be those of a "
                    "part of the batch; use ddp (decoders for labels of pixels have it, ViT's stem of convolutions and "
                    "its statistics, and most networks of convolutions)"
                )
            try:
                shard(network, mesh)
            except (ValueError, TypeError) as error:
                raise UserError(f"trainer.strategy fsdp cannot divide this network ({error}); use ddp") from error
        super().model_to_device()

    def configure_ddp(self) -> None:
        """Nothing to wrap: gradients are averaged by the parts themselves."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole weights, of the first process; nothing of the others."""
        return {name: self._whole(value) for name, value in super().lightning_module_state_dict().items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole moments, of the first process."""
        state: dict[str, Any] = self._whole(super().optimizer_state(optimizer))
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's part of the moments."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            parts = {i: part_of(moments, weights[i]) for i, moments in state["state"].items()}
            optimizer.load_state_dict({**state, "state": parts})

    def _whole(self, state: Any) -> Any:
        """Gather the parts in nested mappings; every process must ask, one at a time is held and the first keeps it."""
        if isinstance(state, Mapping):
            return {name: self._whole(value) for name, value in state.items()}
        if isinstance(state, DTensor):
            whole = state.full_tensor()
            return whole.cpu() if self.is_global_zero else None
        return state


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Divide a network's weights among the processes of a mesh; a block at a time is gathered when it is needed."""
    network.to(memory_format=torch.contiguous_format)  # all that it can divide
    for block in blocks(network):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a timm network, which lie in modules of that name, those within others first."""
    for name, module in reversed(list(network.named_modules())):
        if name.rpartition(".")[2] == "blocks":
            yield from (block for block in module.children() if not isinstance(block, nn.ModuleList))


def part_of(moments: Mapping[str, Any], weight: torch.Tensor) -> dict[str, Any]:
    """Whole moments of a weight -> this process's part, as the weight itself is divided; counts stay."""
    if not isinstance(weight, DTensor):
        return dict(moments)
    return {
        name: distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)
        if value.shape == weight.shape
        else value
        for name, value in moments.items()
    }
