"""The processes that train one cell together: who does which part, and how parts become a whole.

`Group` is one process alone, for which all of this is nothing. `Replicas` each hold a copy of the model and add up
gradients. `Shards` each hold a share of every parameter, gradient and moment (PyTorch's FSDP2, `fully_shard`), gathered
layer by layer as they are needed. Checkpoints hold whole tensors, so that any number of processes can go on from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.data.packing import IGNORED

if TYPE_CHECKING:
    from torch import Tensor, device, nn

    from astraios.train.hooks import Hooks


class Group:
    """One process alone; what more than one do otherwise, subclasses say."""

    rank = 0
    size = 1
    loss_scale = 1.0
    """What a loss is multiplied by before its backward pass."""

    def shard(self, model: nn.Module) -> nn.Module:
        """The model as this process is to hold it."""
        return model

    def vary_seed(self, seed: int) -> None:
        """Lets processes draw different dropout masks."""

    def part_of(self, batch: list[int]) -> list[int]:
        """This process's part of a global batch."""
        each = len(batch) // self.size
        return batch[self.rank * each : (self.rank + 1) * each]

    def share_of_blocks(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """This process's blocks of an evaluation; as many for each, filled up with blocks that do not count."""
        import torch

        missing = -len(ids) % self.size
        if missing:
            ids = torch.cat([ids, ids[:1].expand(missing, -1)])
            labels = torch.cat([labels, torch.full_like(ids[:missing], IGNORED)])
        return ids[self.rank :: self.size], labels[self.rank :: self.size]

    def sums(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        return list(values)

    def largest(self, value: int) -> int:
        """The largest value of all processes."""
        return value

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Makes each gradient that of the global batch."""

    def weights(self, model: nn.Module, method: Hooks | None) -> Mapping[str, Tensor]:
        """What training changes, whole, on the CPU."""
        return method.trainable_state(model) if method else model.state_dict()

    def load_weights(self, model: nn.Module, method: Hooks | None, state: Mapping[str, Tensor]) -> None:
        """Puts back what `weights` gave."""
        if method:
            method.load_trainable_state(model, state)
        else:
            model.load_state_dict(state, strict=False)

    def whole(self, tree: Any) -> Any:
        """A tree of dicts and lists with whole tensors in place of shares."""
        return tree

    def load_optimizer(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Puts back `whole(optimizer.state_dict())`."""
        optimizer.load_state_dict(state)

    def generators(self, where: device) -> dict[str, Any]:
        """States of the random generators."""
        import torch

        states: dict[str, Any] = {"rng": torch.get_rng_state()}
        if where.type == "cuda":
            states["cuda_rng"] = torch.cuda.get_rng_state()
        return states

    def load_generators(self, where: device, states: Mapping[str, Any]) -> None:
        """Puts back what `generators` gave."""
        import torch

        torch.set_rng_state(states["rng"])
        if where.type == "cuda" and "cuda_rng" in states:
            torch.cuda.set_rng_state(states["cuda_rng"])


ALONE = Group()


class Replicas(Group):
    """Processes with a copy of the model each; torch.distributed must have been started."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def vary_seed(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed * 1009 + self.rank)

    def sums(self, values: Sequence[float]) -> list[float]:
        import torch.distributed as dist

        everybody: list[Any] = [None] * self.size
        dist.all_gather_object(everybody, list(values))
        return [sum(column) for column in zip(*everybody, strict=True)]

    def largest(self, value: int) -> int:
        import torch.distributed as dist

        everybody: list[Any] = [None] * self.size
        dist.all_gather_object(everybody, value)
        return int(max(everybody))

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        import torch
        import torch.distributed as dist

        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def generators(self, where: device) -> dict[str, Any]:
        import torch.distributed as dist

        mine = super().generators(where)
        everybody: list[Any] = [None] * self.size
        dist.all_gather_object(everybody, mine)
        return {**mine, "ranks": everybody}

    def load_generators(self, where: device, states: Mapping[str, Any]) -> None:
        ranks = states.get("ranks", ())
        super().load_generators(where, ranks[self.rank] if len(ranks) == self.size else states)


class Shards(Replicas):
    """Processes with a share of the model each.

    Args:
        where: cpu or cuda.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        # FSDP takes the mean of gradients over processes; each loss is already its share of the global batch's mean.
        self.loss_scale = float(self.size)

    def shard(self, model: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.where, (self.size,))
        base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
        layers = set(getattr(base, "_no_split_modules", None) or ())
        for module in model.modules():
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """FSDP has added them up in the backward pass."""

    def weights(self, model: nn.Module, method: Hooks | None) -> Mapping[str, Tensor]:
        return {n: self.whole(p.detach()) for n, p in model.named_parameters() if p.requires_grad}

    def load_weights(self, model: nn.Module, method: Hooks | None, state: Mapping[str, Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(_share(state[name], parameter))

    def whole(self, tree: Any) -> Any:
        from torch.distributed.tensor import DTensor

        if isinstance(tree, DTensor):
            return tree.full_tensor().cpu()
        if isinstance(tree, dict):
            return {key: self.whole(value) for key, value in tree.items()}
        return [self.whole(value) for value in tree] if isinstance(tree, list) else tree

    def load_optimizer(self, optimizer: Any, state: dict[str, Any]) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        shares = {
            index: {
                name: _share(value, parameters[index]) if value.shape == parameters[index].shape else value
                for name, value in moments.items()
            }
            for index, moments in state["state"].items()
        }
        optimizer.load_state_dict({**state, "state": shares})


def _share(whole: Tensor, like: Any) -> Tensor:
    """This process's share of a tensor, cut as `like` is."""
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
