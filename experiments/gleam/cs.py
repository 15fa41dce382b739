"""The compressed-sensing baselines of GLEAM's tables.

The paper: l1-wavelet, proximal gradient, 100 iterations; on cine with spatial and temporal total variation, 200
iterations. Its weights belong to data of a scale that it does not state; here the data are divided by the 95th
percentile of the zero-filled magnitude, as for the networks.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrecon.classical import l1_wavelet, zero_filled
from jaxrecon.classical.iterate import iterate
from jaxrecon.classical.pdhg import pdhg_start, pdhg_step
from jaxrecon.classical.prox import project_magnitude
from jaxrecon.operators import FiniteDifference, Stack, Wavelet, max_eigenvalue, random_like
from jaxrecon.problem import Problem
from jaxrecon.typing import Image

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Multiples of the paper's weights, of which validation chooses one."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a baseline, and the row whose data it shares.

    Attributes:
      config: the configuration file.
      wavelet: weight of the l1 norm of the wavelet coefficients of each frame.
      space: weight of the total variation in space.
      time: weight of that in time.
      n_iter: iterations.
    """

    config: str
    wavelet: float
    space: float = 0.0
    time: float = 0.0
    n_iter: int = 100


BASELINES = {
    "table1_cs_r12": Weights("table1_pgd_r12_end_to_end", 0.07),
    "table1_cs_r16": Weights("table1_pgd_r16_end_to_end", 0.06),
    "table2_cs_r4": Weights("table2_modl_r4_end_to_end", 0.12),
    "table3_cs_r8": Weights("table3_pgd_r8_end_to_end", 0.001),
    # the paper gives no weight of the wavelets on cine: that of the differences in space
    "table4_cs_cine": Weights("table4_pgd_cine_end_to_end", 0.05, 0.05, 0.01, 200),
}
"""Tables I and II share R = 16, Tables IV and V cine."""


def reconstruct_cs(problem: Problem, weights: Weights, factor: jax.Array | float) -> Image:
    """The baseline's image with all weights times `factor`."""
    if not (weights.space or weights.time):
        return l1_wavelet(problem, lam=factor * weights.wavelet, n_iter=weights.n_iter)
    return wavelet_total_variation(problem, weights, factor)


def wavelet_total_variation(problem: Problem, weights: Weights, factor: jax.Array | float) -> Image:
    """Minimise 1/2 ||A x - y||^2 + lam_w ||W x||_1 + lam_s ||G_s x||_1 + lam_t ||G_t x||_1 by the primal-dual method.

    Args:
      problem: a problem with frames, k-space (frame, coil, y, x).
      weights: lam_w, lam_s, lam_t.
      factor: number that multiplies all of them.

    Returns:
      Image (frame, y, x).

    Source: Chambolle and Pock 2011, with sigma = theta = 1 as `jaxrecon.classical.total_variation`.
    """
    x0 = jnp.zeros_like(zero_filled(problem))
    differences = FiniteDifference((-3, -2, -1), jnp.array([weights.time / weights.space, 1.0, 1.0]))
    stack = Stack((problem.op, Wavelet(x0.shape[-2:], "db4"), differences))
    tau = 1 / max_eigenvalue(stack.normal, random_like(jax.random.key(0), x0), n_iter=30)

    def prox_conjugate(u, sigma):
        data, coefficients, gradients = u
        coefficients = jax.tree.map(lambda c: project_magnitude(c, factor * weights.wavelet), coefficients)
        return (
            (data - sigma * problem.kspace) / (1 + sigma),
            coefficients,
            project_magnitude(gradients, factor * weights.space),
        )

    start = pdhg_start(stack, x0)
    return iterate(lambda s: pdhg_step(stack, prox_conjugate, s, tau=tau), start, n_iter=weights.n_iter)[0].x
