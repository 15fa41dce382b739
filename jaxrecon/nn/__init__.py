"""Networks: layers, U-Nets, residual networks, sensitivity nets. Channels last; leading axes are examples."""

from .complex_convs import ComplexCNN
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
from .prompt_blocks import CAB, CABs, DecoderLevel, EncoderLevel, PromptBlock, PromptWeights, prelu, upsample_2x
from .prompt_unet import NormPromptUnet, PromptUnet
from .resnet import CNN, BatchNorm, BiasFreeResNet, ResNet, axis_size
from .sensitivity import SensitivityNet, calibration_mask, prompt_maps
from .unet import NormUNet, UNet, normalize_parts, pad_to_multiple, standardize, unpad

__all__ = [
    "CAB",
    "CNN",
    "BatchNorm",
    "BiasFreeResNet",
    "CABs",
    "ComplexCNN",
    "Conv",
    "ConvTranspose2x2",
    "DecoderLevel",
    "EncoderLevel",
    "NormPromptUnet",
    "NormUNet",
    "Padding",
    "PromptBlock",
    "PromptUnet",
    "PromptWeights",
    "ResNet",
    "SensitivityNet",
    "UNet",
    "average_pool_2x2",
    "axis_size",
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
    "prelu",
    "prompt_maps",
    "standardize",
    "uniform_fan_in",
    "unpad",
    "upsample_2x",
]
