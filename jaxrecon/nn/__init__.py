"""Networks: layers, U-Nets, residual networks, sensitivity nets. Channels last; leading axes are examples."""

from .activations import Activate, Activation, prelu
from .complex_convs import ComplexCNN
from .conv import (
    Conv,
    ConvTranspose2x2,
    Padding,
    average_pool_2x2,
    conv,
    conv_transpose_2x2,
    glorot_conv,
    glorot_uniform,
    instance_norm,
    leaky_relu,
    lecun_normal,
    parameter_dtype,
    uniform_fan_in,
)
from .denoisers import (
    DNCNN_BIG,
    DNCNN_MEDIUM,
    DNCNN_SMALL,
    MWCNN_BIG,
    MWCNN_MEDIUM,
    MWCNN_SMALL,
    Denoiser,
    DnCNNConfig,
    MWCNNConfig,
)
from .multiscale import MultiscaleComplex, multiscale_complex
from .mwcnn import MWCNN
from .prompt_blocks import CAB, CABs, DecoderLevel, EncoderLevel, PromptBlock, PromptWeights, upsample_2x
from .prompt_unet import NormPromptUnet, PromptUnet
from .resampling import haar, inverse_haar
from .resnet import CNN, BatchNorm, BiasFreeResNet, ResNet, axis_size
from .sensitivity import SensitivityNet, calibration_mask, prompt_maps
from .unet import NormUNet, UNet, normalize_parts, pad_to_multiple, standardize, unpad

__all__ = [
    "CAB",
    "CNN",
    "DNCNN_BIG",
    "DNCNN_MEDIUM",
    "DNCNN_SMALL",
    "MWCNN",
    "MWCNN_BIG",
    "MWCNN_MEDIUM",
    "MWCNN_SMALL",
    "Activate",
    "Activation",
    "BatchNorm",
    "BiasFreeResNet",
    "CABs",
    "ComplexCNN",
    "Conv",
    "ConvTranspose2x2",
    "DecoderLevel",
    "Denoiser",
    "DnCNNConfig",
    "EncoderLevel",
    "MWCNNConfig",
    "MultiscaleComplex",
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
    "glorot_conv",
    "glorot_uniform",
    "haar",
    "instance_norm",
    "inverse_haar",
    "leaky_relu",
    "lecun_normal",
    "multiscale_complex",
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
