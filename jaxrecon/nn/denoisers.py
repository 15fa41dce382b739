"""Denoisers by configuration: small frozen dataclasses that a model's configuration holds, and the published sizes."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from flax import linen

from ..checks import UserError, check_choices, check_sizes
from .activations import Activation
from .benchmark_unet import Attention, BenchmarkUNet
from .conv import glorot_uniform
from .didn import DIDN
from .focnet import BLOCKS, FocNet
from .mwcnn import MWCNN
from .resnet import CNN


@runtime_checkable
class Denoiser(Protocol):
    """What `multiscale_complex` takes: a frozen dataclass, of this module or your own, that can build a network."""

    @property
    def multiple(self) -> int:
        """What the sizes y and x are padded to multiples of; 1: any size will do."""
        ...

    @property
    def residual(self) -> bool:
        """Whether the result is added to the first channels of the input."""
        ...

    def build(self, out_features: int, *, dtype: Any = None) -> linen.Module:
        """The network, real (..., y, x, in) to (..., y, x, out_features), whose convolutions compute in dtype."""
        ...


@dataclasses.dataclass(frozen=True)
class DnCNNConfig:
    """Configuration of DnCNN: convolutions 3x3 with bias and ReLU, the last one without ReLU.

    Source: Zhang et al. 2017, arXiv 1608.03981, as in Ramzi's code: no batch norm.

    Attributes:
      features: channels inside.
      layers: convolutions.
      residual: as in Denoiser.

    Raises:
      ValueError: sizes that make no network.
    """

    features: int = 32
    layers: int = 10
    residual: bool = True

    def __post_init__(self):
        check_sizes(1, features=self.features, layers=self.layers)

    @property
    def multiple(self) -> int:
        """1: any size will do."""
        return 1

    def build(self, out_features: int, *, dtype: Any = None) -> CNN:
        """A `CNN` of this configuration, as `Denoiser.build` says."""
        return CNN(
            self.features,
            self.layers,
            bias=True,
            kernel_init=glorot_uniform,
            bias_init=linen.initializers.zeros,
            out_features=out_features,
            dtype=dtype,
        )


@dataclasses.dataclass(frozen=True)
class MWCNNConfig:
    """Configuration of `MWCNN`; the defaults are the medium size.

    Attributes:
      features: channels of each scale, the finest (half the size) first.
      convs: convolutions of each scale, on the way down and again on the way up.
      first_features: channels at full resolution.
      first_convs: convolutions at full resolution before the first transform, and again at the end; 0: none.
      residual: as in Denoiser.

    Raises:
      ValueError: sizes that make no network.
    """

    features: tuple[int, ...] = (64, 128, 256)
    convs: tuple[int, ...] = (3, 3, 3)
    first_features: int = 32
    first_convs: int = 2
    residual: bool = True

    def __post_init__(self):
        if len(self.features) != len(self.convs) or not self.features:
            raise UserError(
                f"features {self.features} and convs {self.convs} need one entry for each scale, one or more"
            )
        check_sizes(1, features=self.features, convs=self.convs, first_features=self.first_features)
        check_sizes(0, first_convs=self.first_convs)

    @property
    def multiple(self) -> int:
        """2^(scales + 1), as published: twice what the network needs."""
        return 2 ** (len(self.features) + 1)

    def build(self, out_features: int, *, dtype: Any = None) -> MWCNN:
        """The `MWCNN` of this configuration, as `Denoiser.build` says."""
        return MWCNN(out_features, self.features, self.convs, self.first_features, self.first_convs, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class BenchmarkUNetConfig:
    """Configuration of `BenchmarkUNet`; the defaults are the medium size.

    Attributes:
      features: channels of each level, the finest first.
      convs: convolutions of each level, on the way down and again on the way up.
      activation: after each of them.
      penultimate_activation: one after the first 1x1 convolution of the end.
      attention: where there is channel attention: nowhere, at the top level and near the end, or at every level.
      residual: as in Denoiser.

    Raises:
      ValueError: sizes that make no network, an unknown activation or attention.
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    convs: int = 2
    activation: Activation = "relu"
    penultimate_activation: bool = True
    attention: Attention = "none"
    residual: bool = True

    def __post_init__(self):
        check_choices(self)
        check_sizes(1, levels=len(self.features), features=self.features, convs=self.convs)

    @property
    def multiple(self) -> int:
        """2^levels, as published: twice what the network needs."""
        return 2 ** len(self.features)

    def build(self, out_features: int, *, dtype: Any = None) -> BenchmarkUNet:
        """The `BenchmarkUNet` of this configuration, as `Denoiser.build` says."""
        return BenchmarkUNet(
            out_features,
            self.features,
            self.convs,
            self.activation,
            self.penultimate_activation,
            self.attention,
            dtype=dtype,
        )


@dataclasses.dataclass(frozen=True)
class DIDNConfig:
    """Configuration of `DIDN`; the defaults are the medium size.

    Attributes:
      features: channels at half the size, a multiple of 4.
      blocks: down-up blocks.
      recon_convs: convolutions of the reconstruction block.
      residual: as in Denoiser.

    Raises:
      ValueError: sizes that make no network.
    """

    features: int = 64
    blocks: int = 2
    recon_convs: int = 2
    residual: bool = True

    def __post_init__(self):
        check_sizes(1, features=self.features, blocks=self.blocks, recon_convs=self.recon_convs)
        if self.features % 4:
            raise UserError(f"the features of a DIDN must be a multiple of 4, not {self.features}")

    @property
    def multiple(self) -> int:
        """16, as published: twice what the network needs."""
        return 16

    def build(self, out_features: int, *, dtype: Any = None) -> DIDN:
        """The `DIDN` of this configuration, as `Denoiser.build` says."""
        return DIDN(out_features, self.features, self.blocks, self.recon_convs, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class FocNetConfig:
    """Configuration of `FocNet`; the defaults are the medium size.

    Attributes:
      features: channels inside.
      scales: 1 to 4.
      residual: as in Denoiser; False as published.

    Raises:
      ValueError: sizes that make no network.
    """

    features: int = 32
    scales: int = 4
    residual: bool = False

    def __post_init__(self):
        check_sizes(1, features=self.features, scales=self.scales)
        if self.scales > len(BLOCKS):
            raise UserError(f"a FocNet has at most {len(BLOCKS)} scales, not {self.scales}")

    @property
    def multiple(self) -> int:
        """2^scales, as published: twice what the network needs."""
        return 2**self.scales

    def build(self, out_features: int, *, dtype: Any = None) -> FocNet:
        """The `FocNet` of this configuration, as `Denoiser.build` says."""
        return FocNet(out_features, self.features, self.scales, dtype=dtype)


AnyDenoiser = DnCNNConfig | MWCNNConfig | BenchmarkUNetConfig | DIDNConfig | FocNetConfig
"""The denoisers of this library: what the field of a model's configuration is annotated with."""

DNCNN_SMALL = DnCNNConfig(16, 5)
"""10,154 parameters with 12 channels in and 10 out, as all counts here."""
DNCNN_MEDIUM = DnCNNConfig(32, 10)
"""80,362 parameters."""
DNCNN_BIG = DnCNNConfig(64, 20)
"""677,450 parameters."""
MWCNN_SMALL = MWCNNConfig((32, 64), (2, 2))
"""338,762 parameters."""
MWCNN_MEDIUM = MWCNNConfig()
"""6,221,162 parameters: the denoiser of the XPDNet of the fastMRI challenge 2020."""
MWCNN_BIG = MWCNNConfig((128, 256, 512), first_features=64, first_convs=3)
"""24,939,338 parameters."""
UNET_SMALL = BenchmarkUNetConfig((16, 32, 64), 1)
"""58,536 parameters."""
UNET_MEDIUM = BenchmarkUNetConfig()
"""483,592 parameters."""
UNET_MEDIUM_ATTENTION = BenchmarkUNetConfig(attention="top")
"""483,940 parameters."""
UNET_BIG = BenchmarkUNetConfig((32, 64, 128, 256))
"""1,928,600 parameters."""
DIDN_SMALL = DIDNConfig(32)
"""867,642 parameters."""
DIDN_MEDIUM = DIDNConfig()
"""3,455,594 parameters."""
DIDN_BIG = DIDNConfig(128, 4)
"""26,977,226 parameters."""
FOCNET_SMALL = FocNetConfig(scales=3)
"""455,674 parameters."""
FOCNET_MEDIUM = FocNetConfig()
"""621,698 parameters."""
FOCNET_BIG = FocNetConfig(128)
"""9,896,354 parameters."""
