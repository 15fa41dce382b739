"""Networks: layers, U-Nets, residual networks, sensitivity nets. Channels last; leading axes are examples."""

from .conv import (
    Conv,
    ConvTranspose2x2,
    Padding,
    average_pool_2x2,
    conv,
    conv_transpose_2x2,
    glorot_uniform,
    instance_norm,
    leaky_relu,
    lecun_normal,
    parameter_dtype,
    uniform_fan_in,
)
from .resnet import CNN, BatchNorm, ResNet
from .sensitivity import SensitivityNet, calibration_mask
from .unet import NormUNet, UNet, normalize_parts, pad_to_multiple, unpad

__all__ = [
    "CNN",
    "BatchNorm",
    "Conv",
    "ConvTranspose2x2",
    "NormUNet",
    "Padding",
    "ResNet",
    "SensitivityNet",
    "UNet",
    "average_pool_2x2",
    "calibration_mask",
    "conv",
    "conv_transpose_2x2",
    "glorot_uniform",
    "instance_norm",
    "leaky_relu",
    "lecun_normal",
    "normalize_parts",
    "pad_to_multiple",
    "parameter_dtype",
    "uniform_fan_in",
    "unpad",
]
