"""Data-parallel training by torchrun: N processes (ranks), each with its part of every batch.

    torchrun --nproc_per_node=N train_fomm.py CONFIG.yaml

Gradients are averaged by an explicit all-reduce in `Run.take_step`, not by DistributedDataParallel:
a step here may call a network several times, by other methods than `forward`, freeze it within
another network's loss, or recompute its activations, each of which DDP's hooks forbid or count
wrongly. The price is that communication does not overlap with the backward pass.

Every function does nothing, or answers for the only process, without torchrun.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

# Others wait for rank 0 while it validates or computes a cache; torchrun ends all when one fails.
TIMEOUT = timedelta(days=2)
BUCKET = 1 << 24  # numbers averaged in one message, 64 MB


def count() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this is; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Return whether this process writes files."""
    return rank() == 0


def start(device: torch.device) -> torch.device:
    """Join the processes that torchrun started, if any; return this one's device.

    CPU tensors go through gloo, CUDA tensors through NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        backend = "cpu:gloo"
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
            backend += ",cuda:nccl"
        dist.init_process_group(backend, timeout=TIMEOUT)
        if not is_main():
            logging.getLogger().setLevel(logging.WARNING)
    return device


def stop() -> None:
    """Leave the other processes, when all have come here."""
    if dist.is_initialized():
        barrier()
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    highest(0)


def highest(number: int) -> int:
    """Return the highest of the processes' numbers; waits for all of them, but for no GPU."""
    if count() == 1:
        return number
    numbers = torch.tensor([number])
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers[0])


def lowest(number: int) -> int:
    """Return the lowest of the processes' numbers."""
    return -highest(-number)


@torch.no_grad()
def average_(tensors: Sequence[Tensor]) -> None:
    """Replace the tensors, of one type and the same in all processes, by their means over these."""
    if count() == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([each.reshape(-1) for each in bucket])
        dist.all_reduce(flat)
        parts = (flat / count()).split([each.numel() for each in bucket])
        torch._foreach_copy_(
            bucket, [part.view(each.shape) for part, each in zip(parts, bucket, strict=True)]
        )


def mean_of_all(mine: Tensor) -> Tensor:
    """Return the mean over the processes of a tensor; gradients go back to all of them."""
    if count() == 1:
        return mine
    result: Tensor = _MeanOfAll.apply(mine)
    return result


class _MeanOfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / count()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _MeanOfAll.forward(ctx, gradient)


@torch.no_grad()
def of_all(mine: Tensor) -> Tensor:
    """Return the tensors of all processes, of one shape, joined along the first axis."""
    if count() == 1:
        return mine.detach()
    parts = [torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(count())]
    dist.all_gather(parts, mine.contiguous())
    return torch.cat(parts)


@torch.no_grad()
def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replace the tensors by those of rank 0."""
    if count() == 1:
        return
    for each in tensors:
        dense = each.contiguous()
        dist.broadcast(dense, 0)
        each.copy_(dense)


def own_part(items: Iterable[int], batch: int) -> Iterator[int]:
    """Yield of every `batch` items the part that belongs to this process, in order."""
    own = batch // count()
    for place, item in enumerate(items):
        if place % batch // own == rank():
            yield item


def seed_step(seed: int, step: int) -> None:
    """Seed torch's generators anew for a step, each process's differently; not a single one's.

    So that a checkpoint need not hold the generators of every process.
    """
    if count() > 1:
        (number,) = np.random.SeedSequence((seed, step, rank())).generate_state(1, np.uint64)
        torch.manual_seed(int(number) >> 1)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for each in tensors:
        if bucket and size + each.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(each)
        size += each.numel()
    if bucket:
        yield bucket
