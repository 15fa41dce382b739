"""Unrolled proximal gradient descent, 2D and 2D + time.

Parameter tree: steps/net/params/... as ResNet (jaxrecon.nn.resnet), each leaf with a leading axis of n_steps unless
shared; steps/step_size where it is learned. `start` has none.

Source: GLEAM (Ozturkler et al. 2022), and its code.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..checks import check_ndim, check_sizes
from ..complex_ops import from_channels, to_channels
from ..nn import ResNet
from .unrolled import Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class PGDConfig:
    """Configuration of `pgd`; the defaults are GLEAM's 2D network on mridata (273,902 parameters a step).

    Attributes:
      n_steps: unrolled steps N.
      features: channels of the ResNet.
      blocks: residual blocks of the ResNet.
      ndim: 2, or 3 for frames: image (frame, y, x), convolutions over time too.
      shared: one set of weights for all steps.
      step_size: t; 1 in the published runs.
      learn_step: t is a parameter of each step that starts at step_size.
      circular_time: in 3D, the frames are periodic: wrapped by 2 blocks + 1 frames before the network, cut after it.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 8
    features: int = 100
    blocks: int = 2
    ndim: int = 2
    shared: bool = False
    step_size: float = 1.0
    learn_step: bool = False
    circular_time: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`pgd` of this configuration."""
        return pgd(self)


PGD_2D_FASTMRI_GLEAM = PGDConfig(n_steps=24)
"""GLEAM on fastMRI: 3 modules of 8 steps, the memory of 8 steps end to end; 6,573,648 parameters."""
PGD_3D_CINE = PGDConfig(n_steps=4, features=50, ndim=3)
"""Cine, end to end: 832,208 parameters (GLEAM, Table IV; the text's 60 features would give 1,193,048)."""
PGD_3D_CINE_GLEAM = dataclasses.replace(PGD_3D_CINE, n_steps=12)
"""Cine with GLEAM, 3 modules of 4 steps: 2,496,624 parameters."""


def pgd(config: PGDConfig) -> Unrolled:
    """Unrolled proximal gradient descent.

    x_0 = A^H y;  x+ = x_i - 2 t A^H (A x_i - y),  x_{i+1} = R_i(x+)

    Args:
      config: sizes.

    Returns:
      Model with carry image (y, x) or (frame, y, x), complex; reconstruction the same.

    Raises:
      ValueError: sizes that make no network.

    Source: GLEAM, eq. 3-5. Its code fixes 2 t = 2: step sizes are declared there but unused.

    Example:
      >>> problem = jr.Problem.from_numpy(np.ones((1, 8, 8), "complex64"))
      >>> model = pgd(PGDConfig(n_steps=3, features=4, learn_step=True))
      >>> params = jax.eval_shape(model.init, jax.random.key(0), problem)
      >>> params["steps"]["step_size"].shape, jax.eval_shape(lambda p: jr.run(model, p, problem), params).shape
      ((3,), (8, 8))
    """
    check_sizes(1, n_steps=config.n_steps, features=config.features, blocks=config.blocks)
    check_ndim(config.ndim)
    in_time = config.ndim == 3
    net = ResNet(
        features=config.features,
        blocks=config.blocks,
        ndim=config.ndim,
        padding="edge" if in_time else "reflect",
        activation_first=not in_time,
        dtype=jnp.bfloat16 if config.bfloat16 else None,
    )
    wrap = 2 * config.blocks + 1 if in_time and config.circular_time else 0

    def start(_, problem):
        zero_filled = problem.op.adjoint(problem.kspace)  # (coil, y, x) -> (y, x)
        return zero_filled, (problem.op, zero_filled)

    def init_step(key, image, context):
        theta: dict[str, Any] = {"net": net.lazy_init(key, to_channels(image))}
        if config.learn_step:
            theta["step_size"] = jnp.asarray(config.step_size, image.real.dtype)
        return theta

    def step(theta, image, context, i):
        op, zero_filled = context
        t = theta["step_size"] if config.learn_step else config.step_size
        image = image - 2 * t * (op.normal(image) - zero_filled)
        x = to_channels(image)
        if wrap:
            x = jnp.pad(x, [(wrap, wrap), (0, 0), (0, 0), (0, 0)], "wrap")
        out: Any = net.apply(theta["net"], x)
        return from_channels(out[wrap : out.shape[0] - wrap])

    return unrolled(
        n_steps=config.n_steps,
        shared=config.shared,
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda image, _: image,
        wants=Wants(input="series" if in_time else "slice", uses_index=False),
    )
