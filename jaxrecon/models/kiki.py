"""KIKI-net: networks in k-space and in the image in turn, with data consistency between them.

Parameter tree: steps/{kspace_net,image_net}/params/conv_{j}/{kernel,bias}, each leaf with a leading axis of n_steps.

Source: Eo et al. 2018, as in the benchmark of Ramzi et al. 2020 and its code.
"""

import dataclasses
import re
from typing import Literal

import jax.numpy as jnp

from ..checks import UserError, check_sizes
from ..nn import ComplexCNN
from .cross_domain import Domains, cross_domain
from .unrolled import Unrolled

_SLOPE = 0.1


@dataclasses.dataclass(frozen=True)
class KIKIConfig:
    """Configuration of `kiki`; the defaults are the benchmark's, sequential (1,251,080 parameters).

    Attributes:
      n_steps: pairs of a network in k-space and one in the image.
      features: channels of each network.
      layers: convolutions of each network, of which the last is 1x1.
      joint: data consistency after the last network too, for training end to end.
      learn_consistency: one learned weight of data consistency, which starts at 1.
      last: the network to stop after, for training one after the other: "K1", "I1", "K2" ... None: all.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 2
    features: int = 48
    layers: int = 17
    joint: bool = False
    learn_consistency: bool = False
    last: str | None = None
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`kiki` of this configuration."""
        return kiki(self)


def kiki(config: KIKIConfig) -> Unrolled:
    r"""Networks in k-space and in the image in turn.

    x_0 = F^-1 y;  k = K_i((1 - M) F x_i + y),  x_{i+1} = F^-1 k + I_i(F^-1 k)

    Trained one network after the other, as published, in four runs, each from the weights of the one before, with a rate that falls
    to a tenth after each third. Steps are chosen by the strategy `blockwise`, the other network of the step keeps its values:

      jaxrecon train --model kiki --data DATA --out K1 --model.last K1 --loss mse
      jaxrecon train --model kiki --data DATA --out I1 --model.last I1 --weights K1 --freeze steps/kspace_net
      jaxrecon train --model kiki --data DATA --out K2 --model.last K2 --weights I1 --strategy blockwise --strategy.first 1 \
          --freeze steps/image_net --loss mse
      jaxrecon train --model kiki --data DATA --out I2 --model.last I2 --weights K2 --strategy blockwise --strategy.first 1 \
          --freeze steps/kspace_net

    What `finish` gives is what the target of the last network needs: the complex image after a network in k-space, else the
    magnitude. Networks in k-space learn by the squared error, which is the same in k-space and in the image, as losses are of images
    here; the published loss is the mean absolute error of k-space.

    Args:
      config: sizes.

    Returns:
      Model with carry {"image"} (1, y, x), complex; reconstruction (y, x). Networks in k-space see each coil for itself, several
      coils are combined by their maps.

    Raises:
      ValueError: sizes that make no network, a `last` that is none of its networks; see `cross_domain` for the problem.

    Source: Ramzi et al. 2020: leaky ReLU of slope 0.1, no residual in k-space; the training script of its code has 25
      convolutions, its weights and its table 16 and the last one.
    """
    check_sizes(1, n_steps=config.n_steps, features=config.features, layers=config.layers)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    domains = Domains(
        image_buffer=False,
        kspace_buffer=False,
        consistency="replacement",
        learn_consistency=config.learn_consistency,
        finish_consistent=config.joint,
    )

    def net(residual):
        return ComplexCNN(1, config.features, config.layers, _SLOPE, residual, last_kernel=1, dtype=dtype)

    return cross_domain(
        domains, n_steps=config.n_steps, image_net=net(True), kspace_net=net(False), last_half=_last_half(config)
    )


def _last_half(config) -> tuple[Literal["K", "I"], int] | None:
    """("K" or "I", step from 0) of `last`."""
    if config.last is None:
        return None
    found = re.fullmatch(r"([KI])([1-9]\d*)", config.last)
    if found is None or int(found[2]) > config.n_steps:
        known = ", ".join(f"{half}{i + 1}" for i in range(config.n_steps) for half in "KI")
        raise UserError(f"last must be one of the networks {known}, not {config.last!r}")
    return ("K" if found[1] == "K" else "I"), int(found[2]) - 1
