"""A short name for the weights of a network, by which another file says whose results it holds."""

import hashlib

from torch import nn


def fingerprint(network: nn.Module) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a network's weights and sizes.

    Codes and keypoints mean nothing to a network of the same sizes that was trained with another.
    """
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
