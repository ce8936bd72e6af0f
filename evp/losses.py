"""Losses of EVP's landmark stages. Pure functions: tensors in, scalars out; weights in the YAML.

Equations are those of the paper (CVPR 2021), Sec. 3.2 and 3.3. Where the paper writes a bare norm
of a window, a code or a face, the configuration says what is summed: see `distance`.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["l1", "l2", "l2_squared"]
Reduction = Literal["sample", "element"]

TINY = 1e-6  # keeps a quotient of distances finite when every code is the same


def distance(predicted: Tensor, target: Tensor, norm: Norm, reduction: Reduction) -> Tensor:
    """Return the norm of predicted - target for each sample, averaged over the batch.

    The first axis counts samples, all others belong to one sample.
        sample: the norm as the paper writes it: l1 sums magnitudes, l2 is the root of the summed
            squares, l2_squared the sum itself. A 28 x 12 window's l2 norm is in the hundreds
            before training, against a cross entropy of 2: the term rules the sum.
        element: the same with a mean in the place of the sum (mean absolute error, root mean
            square, mean square); the release's L1Loss and MSELoss are l1 and l2_squared here.
    """
    difference = (predicted - target).flatten(1)
    if norm == "l1":
        each = difference.abs().sum(1)
    elif norm == "l2":
        each = torch.linalg.vector_norm(difference, dim=1)  # its gradient at 0 is 0, not NaN
    else:
        each = difference.square().sum(1)
    if reduction == "element":
        each = each / (difference.shape[1] ** 0.5 if norm == "l2" else difference.shape[1])
    return each.mean()


def classification(logits_NK: Tensor, labels_N: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy of eq. 4, -sum_k p_k log q_k, averaged over the samples.

    p is 1 for the sample's label; `smoothing` (ours) takes that share away from it and gives it to
    all labels alike, which draws the codes of a label closer together (arXiv:1906.02629).
    """
    return F.cross_entropy(logits_NK, labels_N, label_smoothing=smoothing)


def content_spread(codes_NC: Tensor) -> Tensor:
    """Return the standard deviation of each channel over the codes, averaged over channels.

    What tells that the content loss has collapsed the codes: it goes to 0 with them.
    """
    return codes_NC.std(dim=0).mean()


def normalised(content_loss: Tensor, different: Tensor) -> Tensor:
    """Divide the content loss by the distance between codes of different contents. Ours.

    Eq. 5 alone is smallest where all codes are equal. The quotient does not change when the codes
    shrink, so only telling contents apart lowers it.
    """
    return content_loss / (different + TINY)


def velocity(predicted_BTL: Tensor, target_BTL: Tensor, norm: Norm, reduction: Reduction) -> Tensor:
    """Return the distance between frame-to-frame motions. Ours, not from the paper.

    It punishes jitter and missed motion, which the distance of positions hardly sees.
    """
    predicted = predicted_BTL.diff(dim=1).flatten(0, 1)
    target = target_BTL.diff(dim=1).flatten(0, 1)
    return distance(predicted, target, norm, reduction)
