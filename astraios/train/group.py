"""The processes that train one cell together: who does which part, and how parts become a whole.

`Group` is one process alone, for which all of this is nothing. `Replicas` each hold a copy of the model and add up
gradients. `Shards` each hold a share of every parameter, gradient and moment (PyTorch's FSDP2, `fully_shard`), gathered
layer by layer as they are needed. Checkpoints hold whole tensors, so that any number of processes can go on from them;
the first process alone writes and reads them, and alone ever holds a whole model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.data.packing import IGNORED
from astraios.train.layers import layers
from astraios.train.precision import LOW, raise_precision

if TYPE_CHECKING:
    from torch import Tensor, device, nn

    from astraios.train.hooks import Hooks


class Group:
    """One process alone; what more than one do otherwise, subclasses say."""

    rank = 0
    size = 1
    loss_scale = 1.0
    """What a loss is multiplied by before its backward pass."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, and reads, what all of them go on from."""
        return self.rank == 0

    def prepared(self, model: nn.Module) -> tuple[nn.Module, list[nn.Parameter]]:
        """The model as this process is to train it, and its parameters that were raised to float32."""
        raised = raise_precision(model)
        return model, raised

    def received(self, state: Any) -> Any:
        """A tree of dicts and lists with tensors that the first process has, or None where it has none."""
        return state

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
        """What training changes, whole, on the CPU; nothing but in the first process."""
        return method.trainable_state(model) if method else model.state_dict()

    def load_weights(self, model: nn.Module, method: Hooks | None, state: Mapping[str, Tensor]) -> None:
        """Puts back what `weights` gave."""
        if method:
            method.load_trainable_state(model, state)
        else:
            model.load_state_dict(state, strict=False)

    def whole(self, tree: Any) -> Any:
        """A tree of dicts and lists with whole tensors in place of shares; nothing but in the first process."""
        return tree

    def load_optimizer(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Puts back `whole(optimizer.state_dict())`."""
        # Copied, because what was read may lie in a file that the next checkpoint replaces.
        optimizer.load_state_dict(_each_tensor(state, lambda tensor: tensor.clone()))

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

    def received(self, state: Any) -> Any:
        import torch.distributed as dist

        mine = state if self.is_first else None
        # All learn what there is, as tensors that have shape and dtype but no content, and then get it.
        news = [_each_tensor(mine, lambda tensor: tensor.to("meta"))]
        dist.broadcast_object_list(news, 0)
        return _each_tensor(news[0], self._received, mine)

    def _received(self, described: Tensor, mine: Tensor | None) -> Tensor:
        """A tensor of the first process's, on the CPU."""
        import torch
        import torch.distributed as dist

        held = torch.empty_like(described, device="cpu") if mine is None else mine.contiguous()
        dist.broadcast(held, 0)
        return held

    def weights(self, model: nn.Module, method: Hooks | None) -> Mapping[str, Tensor]:
        return super().weights(model, method) if self.is_first else {}

    def whole(self, tree: Any) -> Any:
        return tree if self.is_first else None

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

    def prepared(self, model: nn.Module) -> tuple[nn.Module, list[nn.Parameter]]:
        """The model in shares. The first process's `model` holds the weights; those of the others may be on meta."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        wanted = {name for name, p in model.named_parameters() if p.requires_grad and str(p.dtype) in LOW}
        bare, weights = _without_storage(model), _Weights(model if self.is_first else None, self._device, wanted)
        how = {"mesh": init_device_mesh(self.where, (self.size,)), **_precision(bool(wanted))}
        for unit in (*layers(bare), bare):
            # One layer at a time is whole, for as long as it takes to be cut up.
            weights.fill(bare, unit)
            fully_shard(unit, **how)
        return bare, [p for name, p in bare.named_parameters() if name in wanted]

    @property
    def _device(self) -> device:
        import torch

        return torch.device("cuda", torch.cuda.current_device()) if self.where == "cuda" else torch.device("cpu")

    def _received(self, described: Tensor, mine: Tensor | None) -> Tensor:
        # Weights and moments stay where they are: `_share` hands them out one at a time.
        if described.is_floating_point() and described.ndim:
            return described if mine is None else mine
        return super()._received(described, mine)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """FSDP has added them up in the backward pass."""

    def weights(self, model: nn.Module, method: Hooks | None) -> Mapping[str, Tensor]:
        _reshard(model)
        found = {name: self.whole(p.detach()) for name, p in model.named_parameters() if p.requires_grad}
        return found if self.is_first else {}

    def load_weights(self, model: nn.Module, method: Hooks | None, state: Mapping[str, Tensor]) -> None:
        import torch

        _reshard(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(_share(state[name], parameter))

    def whole(self, tree: Any) -> Any:
        from torch.distributed.tensor import DTensor

        def gathered(tensor: Tensor) -> Any:
            # All take part, and the first alone keeps what comes of it.
            found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            return found.cpu() if self.is_first else None

        return _each_tensor(tree, gathered)

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


def _reshard(model: nn.Module) -> None:
    """Takes gathered parameters away, so that the model's are the shares again: after an evaluation those of the
    outermost module are still gathered, and in bfloat16 where the shares are float32."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _share(whole: Tensor, like: Any) -> Tensor:
    """This process's share of a tensor that the first process has, cut as `like` is."""
    import torch
    from torch.distributed.tensor import distribute_tensor

    held = torch.empty_like(whole, device=like.device) if whole.is_meta else whole.to(like.device)
    return distribute_tensor(held, like.device_mesh, like.placements, src_data_rank=0)


def _precision(low: bool) -> dict[str, Any]:
    """Layers are gathered in bfloat16, half the bytes, where the model is one of bfloat16; gradients stay float32."""
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return {"mp_policy": MixedPrecisionPolicy(torch.bfloat16, torch.float32)} if low else {}


def _without_storage(model: nn.Module) -> nn.Module:
    """The same modules, with all parameters and buffers on the meta device; ties between them stay."""
    import copy

    from torch import nn

    bare: dict[int, Any] = {}
    for parameter in model.parameters():
        bare[id(parameter)] = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        bare[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(model, bare)


class _Weights:
    """Gives the modules of a model without storage the first process's weights.

    Args:
        source: the model with the weights, in the first process; None in the others.
        device: where the weights go.
        raised: names of parameters to be raised to float32.
    """

    def __init__(self, source: nn.Module | None, device: device, raised: set[str]) -> None:
        self.device, self.raised = device, raised
        self.source = {**dict(source.named_parameters()), **dict(source.named_buffers())} if source else None

    def fill(self, model: nn.Module, unit: nn.Module) -> None:
        """Puts weights into a part of the model, into all of it that has none yet."""
        names = {id(tensor): name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
        given: dict[int, Any] = {}
        for module in unit.modules():
            for tensors in (module._parameters, module._buffers):
                for key, tensor in tensors.items():
                    if tensor is not None and tensor.is_meta:
                        # What two modules share is one tensor afterwards, too.
                        if id(tensor) not in given:
                            given[id(tensor)] = tensor, self._of(tensor, names[id(tensor)])
                        tensors[key] = given[id(tensor)][1]

    def _of(self, bare: Tensor, name: str) -> Any:
        import torch
        import torch.distributed as dist
        from torch import nn

        mine = None if self.source is None else self.source[name].detach().to(self.device).contiguous()
        whole = torch.empty_like(bare, device=self.device) if mine is None else mine
        dist.broadcast(whole, 0)
        whole = whole.float() if name in self.raised else whole
        return nn.Parameter(whole, bare.requires_grad) if isinstance(bare, nn.Parameter) else whole


def _each_tensor(tree: Any, change: Any, beside: Any = ...) -> Any:
    """A tree of dicts and lists with each tensor changed.

    Args:
        tree: the tree.
        change: given a tensor; with `beside`, also what stands in its place there.
        beside: a tree of the same form, or None.
    """
    import torch

    if isinstance(tree, torch.Tensor):
        return change(tree) if beside is ... else change(tree, beside)

    def at(key: Any) -> Any:
        return beside if beside is ... or beside is None else beside[key]

    if isinstance(tree, dict):
        return {key: _each_tensor(value, change, at(key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_each_tensor(value, change, at(place)) for place, value in enumerate(tree)]
    return tree
