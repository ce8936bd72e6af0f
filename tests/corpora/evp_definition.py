"""EVP's released networks written a second time, on state dicts with the release's own names.

The oracle of `test_import_evp.py`: plain functions, the LSTM gate by gate, no code shared with
`evp`. Facts: the layer lists of the release and EVP's supplement (1.1 and 1.2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.corpora.eamm_definition import linear, relu
from tests.corpora.fomm_definition import State, batch_norm


def _block(state: State, name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, state[f"{name}.0.weight"], padding=1)  # no bias
    return relu(batch_norm(state, f"{name}.1", x))


def _dense(state: State, name: str, x: Tensor) -> Tensor:
    for place in (0, 2):
        x = relu(linear(state, f"{name}.{place}", x.flatten(1)))
    return x


def content_code(state: State, windows: Tensor, prefix: str = "con_encoder.") -> Tensor:
    """Windows (N, 28, 12) to content codes (N, C)."""
    name = f"{prefix}audio_eocder"
    x = windows[:, None]
    for place in (0, 1):
        x = _block(state, f"{name}.{place}", x)
    x = F.max_pool2d(x, kernel_size=3, stride=(1, 2))
    for place in (3, 4, 5):
        x = _block(state, f"{name}.{place}", x)
    return _dense(state, f"{name}_fc", F.max_pool2d(x, kernel_size=3, stride=2))


def emotion_code(state: State, windows: Tensor, prefix: str = "emo_encoder.") -> Tensor:
    """Windows (N, 28, 12) to emotion codes (N, E), read as 12 x 28 pictures."""
    name = f"{prefix}emotion_eocder"
    x = _block(state, f"{name}.0", windows.mT[:, None])
    x = F.max_pool2d(x, (1, 3), (1, 2))
    for place in (2, 3):
        x = _block(state, f"{name}.{place}", x)
    x = x.amax(dim=2, keepdim=True)  # over all twelve cepstra
    x = F.max_pool2d(_block(state, f"{name}.5", x), (1, 2))
    return _dense(state, f"{name}_fc", x)


def window_of(state: State, content: Tensor, emotion: Tensor) -> Tensor:
    """Codes (N, C) and (N, E) to windows (N, 28, 12)."""
    x = torch.cat([content, emotion], dim=1)[..., None, None]
    strides = ((2, 2), (2, 2), (2, 2), (2, 1), (1, 1))
    paddings = ((1, 1), (1, 1), (1, 1), (3, 1), (1, 1))
    for layer, (stride, padding) in enumerate(zip(strides, paddings, strict=True)):
        name = f"decoder.decon.{3 * layer}"
        x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)
        if layer < 4:
            x = relu(batch_norm(state, f"decoder.decon.{3 * layer + 1}", x))
    return 90 * torch.tanh(x[:, 0])


def landmarks(
    state: State, content: Tensor, emotion: Tensor, template: Tensor, mean: Tensor, basis: Tensor
) -> Tensor:
    """Codes (T, C) and (T, E) to faces (T, 212) in the release's units.

    `template` (212,) is the speaker's face, `basis` (212, K) the used columns of U.
    """
    known = (template - mean) @ basis
    identity = linear(state, "lm_encoder.lmark_encoder.0", known[None])
    identity = relu(linear(state, "lm_encoder.lmark_encoder.2", relu(identity)))
    x = torch.cat([identity.expand(len(content), -1), content, emotion], dim=1)
    layer = 0
    while f"decoder.lstm.weight_ih_l{layer}" in state:
        x = _lstm_layer(state, layer, x)
        layer += 1
    moved = known + linear(state, "decoder.lstm_fc.0", x)
    return mean + moved @ basis.T


def _lstm_layer(state: State, layer: int, x: Tensor) -> Tensor:
    (W_in, W_past, b_in, b_past) = (
        state[f"decoder.lstm.{part}_l{layer}"]
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    hidden = cell = torch.zeros(W_past.shape[1])
    out = []
    for step in x:
        gates = W_in @ step + b_in + W_past @ hidden + b_past
        enter, forget, new, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        out.append(hidden)
    return torch.stack(out)
