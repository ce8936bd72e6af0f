"""Batch norm with the statistics of all processes' parts of a batch, as of one large batch.

On CUDA that is torch's SyncBatchNorm, which has no implementation for the CPU; `CpuSyncBatchNorm`
computes the same there, through gloo.

Letters: B items of this process's part, C channels, then any axes.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from affekt.runtime.training import ranks


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Replace the batch norms inside a network, in place; parameters and keys stay the same."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, CpuSyncBatchNorm):
                setattr(parent, name, CpuSyncBatchNorm.of(child))


class CpuSyncBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are of all processes; all parts have the same size."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> "CpuSyncBatchNorm":
        """Return one with the same parameters and buffers."""
        sizes = norm.num_features, norm.eps, norm.momentum
        made = cls(*sizes, affine=norm.affine, track_running_stats=norm.track_running_stats)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised (B, C, ...)."""
        if not self.training:
            return super().forward(input)
        # Mean and variance over all axes but the channels', and over the processes
        features_BCX = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        mean_C = ranks.mean_of_all(features_BCX.mean(axes))
        centred_BCX = features_BCX - mean_C.view(shape)
        variance_C = ranks.mean_of_all(centred_BCX.square().mean(axes))
        self._track(mean_C, variance_C, input.numel() // self.num_features * ranks.count())
        # As F.batch_norm
        scale_C = (variance_C + self.eps).rsqrt()
        if self.affine:
            scaled = centred_BCX * (scale_C * self.weight).view(shape) + self.bias.view(shape)
            return scaled.to(input.dtype)
        return (centred_BCX * scale_C.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.momentum is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C * (count / max(count - 1, 1)), self.momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of axes."""
