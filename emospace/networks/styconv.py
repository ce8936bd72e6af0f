"""StyConv, the block of HEF (supplement Sec. 1.3, Fig. 1b), and the StyleGAN2 layers around it.

The supplement names A, the learned affine transform, Mod and Demod and refers to StyleGAN2 (Karras
et al., arXiv:1912.04958, Sec. 2.2) for them. Style scales belong to the weights there, w' = s_i w,
demodulated to unit length; here they multiply the input channels and the lengths divide the output
channels, which is the same number without a convolution of its own for every picture. Weights are
of unit variance and scaled by their fan-in when used (equalised learning rate), up and down go
through the blur [1, 3, 3, 1], both StyleGAN2's.

Left out of StyleGAN2, ours: the noise, which would flicker from frame to frame.

Letters: B pictures, C channels, h, w pixels, F numbers of a style code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.nets.precision import in_float32

SLOPE = 0.2  # of the leaky rectifiers
GAIN = math.sqrt(2)  # behind a rectifier, which halves the variance
TAPS = (1.0, 3.0, 3.0, 1.0)  # of the blur
EPSILON = 1e-8  # of a squared length that is divided by


def activation(features: Tensor) -> Tensor:
    """Return the leaky rectifier of features, of about their variance."""
    return F.leaky_relu(features, SLOPE) * GAIN


class EqualLinear(nn.Module):
    """Linear layer of an equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs)."""
        return F.linear(numbers, self.weight * self.scale, self.bias)


class EqualConv(nn.Module):
    """Convolution of an equalised learning rate over one axis or two, as `kernel` has."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = 1 / math.sqrt(inputs * math.prod(kernel))
        self.options = {"stride": stride, "padding": padding, "dilation": dilation}

    def forward(self, features: Tensor) -> Tensor:
        convolve = F.conv2d if self.weight.ndim == 4 else F.conv1d
        return convolve(features, self.weight * self.scale, self.bias, **self.options)


class Blur(nn.Module):
    """The blur of StyleGAN2's up- and downsampling; its kernel is no weight."""

    kernel: Tensor

    def __init__(self, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        taps = torch.tensor(TAPS) / sum(TAPS)
        self.register_buffer("kernel", gain * taps[:, None] * taps, persistent=False)
        self.padding = padding

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Return (B, C, h + 2 padding - 3, w + 2 padding - 3)."""
        C = features_BChw.shape[1]
        kernel = self.kernel.to(features_BChw.dtype).expand(C, 1, -1, -1)
        return F.conv2d(features_BChw, kernel, padding=self.padding, groups=C)


class StyConv(nn.Module):
    """A, Mod, a convolution of 3 x 3, Demod, bias, rectifier; `up` doubles the size."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False) -> None:
        super().__init__()
        self.affine = EqualLinear(style, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(9 * inputs)
        self.blur = Blur(padding=1, gain=4.0) if up else None  # 3 of 4 pixels are zeros before it

    def forward(self, features_BChw: Tensor, style_BF: Tensor) -> Tensor:
        """Return (B, outputs, h, w), or twice the size."""
        scales_BC = self.affine(style_BF)
        weight = self.weight * self.scale
        out = features_BChw * scales_BC[:, :, None, None]
        if self.blur is None:
            out = F.conv2d(out, weight, padding=1)
        else:
            out = self.blur(F.conv_transpose2d(out, weight.transpose(0, 1), stride=2))
        out = out * demodulation(weight, scales_BC)[:, :, None, None]
        return activation(out + self.bias[:, None, None])


@in_float32
def demodulation(weight_OIkk: Tensor, scales_BI: Tensor) -> Tensor:
    """Return 1 / |s_i w_oik| for every output channel, (B, outputs) (StyleGAN2, eq. 3)."""
    squares_OI = weight_OIkk.square().sum(dim=(2, 3))
    return torch.rsqrt(scales_BI.square() @ squares_OI.T + EPSILON)


class StyleOutput(nn.Module):
    """Modulated 1 x 1 convolution without demodulation: StyleGAN2's ToRGB, LIA's ToFlow.

    With `zero` its weights begin at 0, so that a fresh network gives the bias. Ours.
    """

    def __init__(self, inputs: int, bias: tuple[float, ...], style: int, zero: bool) -> None:
        super().__init__()
        self.affine = EqualLinear(style, inputs, bias=1.0)
        weight = torch.randn(len(bias), inputs, 1, 1)
        self.weight = nn.Parameter(torch.zeros_like(weight) if zero else weight)
        self.bias = nn.Parameter(torch.tensor(bias))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, features_BChw: Tensor, style_BF: Tensor) -> Tensor:
        """Return (B, outputs, h, w)."""
        out = features_BChw * self.affine(style_BF)[:, :, None, None]
        return F.conv2d(out, self.weight * self.scale, self.bias)


class ResidualDown(nn.Module):
    """StyleGAN2's residual block of half the size: (F(x) + shortcut) / sqrt 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, (3, 3), padding=1)
        self.blur = Blur(padding=2)
        self.second = EqualConv(inputs, outputs, (3, 3), stride=2)
        self.shortcut_blur = Blur(padding=1)
        self.shortcut = EqualConv(inputs, outputs, (1, 1), stride=2, bias=False)

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Return (B, outputs, h / 2, w / 2)."""
        out = activation(self.first(features_BChw))
        out = activation(self.second(self.blur(out)))
        return (out + self.shortcut(self.shortcut_blur(features_BChw))) / GAIN


def doubled(maps_BChw: Tensor) -> Tensor:
    """Return maps of twice the size; bilinear is the blur [1, 3, 3, 1] with repeated borders."""
    return F.interpolate(maps_BChw, scale_factor=2, mode="bilinear", align_corners=False)
