"""What a sync network is trained with: pure functions of distances between embeddings.

Letters: B clips, V windows of a clip's segment.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Objective = Literal["contrastive", "multi_way"]


def contrastive(distances: Tensor, genuine: Tensor, margin: float) -> Tensor:
    """Return the contrastive loss of pairs, a scalar.

    Chung and Zisserman 2016, eq. 1: E = 1 / (2 N) sum y d^2 + (1 - y) max(margin - d, 0)^2.

    Args:
        distances: d, any shape, at least 0.
        genuine: y of the same shape: 1 where picture and sound belong together, else 0.
        margin: the distance from which false pairs cost nothing.
    """
    pull = genuine * distances.square()
    push = (1 - genuine) * (margin - distances).clamp(min=0).square()
    return 0.5 * (pull + push).mean()


def multi_way(distances_BVV: Tensor, temperature: float) -> Tensor:
    """Return how badly each picture finds its own sound among a segment's, and back; a scalar.

    Chung, Chung and Kang, "Perfect match" (arXiv:1809.08001, Sec. 2): the cross entropy of a
    softmax over similarities. There the similarity is 1 / d; here it is -d / temperature (ours),
    which does not flatten as distances grow. Both directions count alike (ours).

    Args:
        distances_BVV: between picture i and sound j of one clip.
        temperature: the distance that is worth a factor e.
    """
    B, V, _ = distances_BVV.shape
    logits = -distances_BVV / temperature
    own = torch.arange(V, device=logits.device).expand(B, V)
    by_picture = F.cross_entropy(logits.flatten(0, 1), own.flatten())
    by_sound = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), own.flatten())
    return (by_picture + by_sound) / 2
