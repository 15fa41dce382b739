"""Cascade net: image networks and data consistency in turn; D5C5, the first of its kind, is one of its sizes.

Parameter tree: steps/image_net/params/conv_{j}/{kernel,bias}, each leaf with a leading axis of n_steps; start/dc_weight where
it is learned.

Source: Schlemper et al. 2018 (DC-CNN), and its code; Ramzi et al. 2020 (benchmark), and its code.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ..checks import check_choices, check_sizes
from ..nn import ComplexCNN
from .cross_domain import Domains, cross_domain
from .unrolled import Unrolled


@dataclasses.dataclass(frozen=True)
class CascadeConfig:
    """Configuration of `cascade`; the defaults are the benchmark's (424,570 parameters).

    Attributes:
      n_steps: cascades.
      features: channels of each network.
      layers: convolutions of each network.
      learn_consistency: one learned weight of data consistency, which starts at 1 (424,571 parameters).
      image: what it gives: a magnitude, or the complex image.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 5
    features: int = 48
    layers: int = 6
    learn_consistency: bool = False
    image: Literal["magnitude", "complex"] = "magnitude"
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`cascade` of this configuration."""
        return cascade(self)


D5C5 = CascadeConfig(features=64, layers=5, image="complex")
"""The first network of cascades, whose trained weights are public: 565,770 parameters, images of maximum 1."""


def cascade(config: CascadeConfig) -> Unrolled:
    """Convolutional networks, each followed by data consistency.

    x_0 = A^H y;  x+ = x_i + CNN_i(x_i),  x_{i+1} = F^-1 ((1 - M) F x+ + y)

    The step has data consistency first, which leaves x_0 as it is, and `finish` has it once more: the same network, and a
    step of the form that all cross-domain networks have.

    Args:
      config: sizes.

    Returns:
      Model with carry {"image"} (1, y, x), complex; reconstruction (y, x). Several coils are combined by their maps, and their
      data consistency is S^H S x + A^H (y - A x).

    Raises:
      ValueError: sizes that make no network; see `cross_domain` for the problem.

    Source: Schlemper et al. 2018; Ramzi et al. 2020. The code of the former has the zero frequency of k-space and mask at index
      0, here as everywhere at n // 2: the images are the same.
    """
    check_choices(config)
    check_sizes(1, features=config.features, layers=config.layers)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    domains = Domains(
        image_buffer=False,
        consistency="replacement",
        learn_consistency=config.learn_consistency,
        finish_consistent=True,
        magnitude=config.image == "magnitude",
    )
    net = ComplexCNN(1, config.features, config.layers, dtype=dtype)
    return cross_domain(domains, n_steps=config.n_steps, image_net=net)
