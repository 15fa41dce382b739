"""Linear reconstructions: zero-filled, root of sum of squares, SENSE by unfolding, CG-SENSE.

Source: Roemer et al. 1990 for the root of the sum of squares; Pruessmann et al. 1999 and 2001 for SENSE.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ..checks import UserError
from ..complex_ops import rss
from ..problem import Problem
from ..typing import Image, Magnitude, Scalar
from .cg import cg, cg_implicit


def zero_filled(problem: Problem) -> Image:
    """A^H y: (..., y, x), with map sets (..., set, y, x)."""
    return problem.op.adjoint(problem.kspace)


def rss_image(problem: Problem) -> Magnitude:
    """Root of the sum of squares of the coil images, F^-1 y of k-space: (..., y, x), real; needs no maps."""
    encoding = problem.op.encoding
    return rss(encoding.coil_images(problem.kspace), axis=-encoding.ndim - 1)


def cg_sense(problem: Problem, *, lam: Scalar = 0.0, n_iter: int = 30, implicit_gradient: bool = False) -> Image:
    """Solve (A^H A + lam) x = A^H y by conjugate gradients from zero.

    Args:
      problem: a problem with maps; several sets give soft-SENSE, an image per set.
      lam: Tikhonov weight, on the scale of the data (`data_scale`).
      n_iter: iterations, static.
      implicit_gradient: differentiate the solution (right only at convergence, memory flat) instead of the iterations.

    Returns:
      Image (..., y, x), with map sets (..., set, y, x).

    Raises:
      ValueError: several coils without maps.

    Source: Pruessmann et al. 2001.

    Example:
      >>> kspace = np.zeros((1, 4, 4), "complex64")
      >>> kspace[0, 2, 2] = 4  # the image is 1
      >>> jax.jit(cg_sense)(jr.Problem.from_numpy(kspace, mask=np.ones((1, 1))), lam=1.0)[0].real.tolist()
      [0.5, 0.5, 0.5, 0.5]
    """
    check_maps(problem, "cg_sense")
    solve = cg_implicit if implicit_gradient else cg
    return solve(lambda x: problem.op.normal(x) + lam * x, zero_filled(problem), n_iter=n_iter)


def check_maps(problem: Problem, method: str) -> None:
    """Refuse coil images in place of an image: what a method makes of several coils without maps is no reconstruction.

    Args:
      problem: of any encoding.
      method: its name, for the message.

    Raises:
      ValueError: several coils, and the operator has no maps.
    """
    op: Any = problem.op
    if getattr(op, "maps", op) is not None:
        return
    shape = jax.eval_shape(op.adjoint, problem.kspace).shape
    n_coils = shape[-op.ndim - 1] if len(shape) > op.ndim else 1
    if n_coils > 1:
        raise UserError(
            f"{method} combines coils by maps, but the problem has {n_coils} coils and its operator no maps: give it some, "
            "Problem.from_numpy(kspace, maps=jaxrecon.coils.espirit(kspace))"
        )


def sense(problem: Problem, *, acceleration: tuple[int, int], lam: Scalar = 0.0) -> Image:
    """Solve (A^H A + lam) x = A^H y exactly for uniform undersampling: one small system per group of aliased pixels.

    The point spread function of a uniform mask is a comb, so that A^H A couples only the R_y R_x pixels that fold together:
    block_ij = sum_c conj(S_c(p_i)) S_c(p_j) h(p_i - p_j).

    Args:
      problem: Cartesian, with one map set, mask every R-th line along one or both axes, no calibration lines.
      acceleration: (R_y, R_x), each a divisor of the size of its axis.
      lam: Tikhonov weight.

    Returns:
      Image (y, x).

    Raises:
      ValueError: a size that its acceleration doesn't divide, maps of another form, or an encoding without a mask.

    Source: Pruessmann et al. 1999.
    """
    op = problem.op
    maps, encoding = getattr(op, "maps", None), getattr(op, "encoding", None)
    if maps is None or maps.ndim != 3 or encoding is None or not hasattr(encoding, "mask"):
        raise UserError(
            "sense unfolds the pixels that a mask folds together: it needs a Cartesian problem with maps (coil, y, x); "
            "cg_sense takes any other"
        )
    size = maps.shape[-2:]
    if any(n % r for n, r in zip(size, acceleration, strict=True)):
        raise UserError(f"acceleration {acceleration} must divide the matrix {size}: use cg_sense otherwise")
    delta = jnp.zeros(size, maps.dtype).at[0, 0].set(1)
    spread = encoding.normal(delta)  # h(p): the circular point spread function
    steps = [n // r for n, r in zip(size, acceleration, strict=True)]
    offsets = [(i * steps[0], j * steps[1]) for i in range(acceleration[0]) for j in range(acceleration[1])]
    h = jnp.stack([jnp.stack([spread[(a - c) % size[0], (b - d) % size[1]] for c, d in offsets]) for a, b in offsets])

    def fold(x):  # (..., y, x) -> (..., y0, x0, alias)
        x = x.reshape((*x.shape[:-2], acceleration[0], steps[0], acceleration[1], steps[1]))
        x = jnp.moveaxis(x, (-4, -2), (-2, -1))
        return x.reshape((*x.shape[:-2], -1))

    maps = fold(maps)
    blocks = jnp.einsum("cyxi,cyxj,ij->yxij", jnp.conj(maps), maps, h)
    # a pixel without maps stands alone: its row is zero, so that it becomes 0
    unseen = jnp.all(maps == 0, 0)[..., None] & jnp.eye(len(offsets), dtype=bool)[None, None]
    blocks = blocks + lam * jnp.eye(len(offsets), dtype=blocks.dtype)[None, None] + unseen
    x = jnp.linalg.solve(blocks, fold(zero_filled(problem))[..., None])[..., 0]
    x = x.reshape((*steps, *acceleration))
    return jnp.moveaxis(x, (-2, -1), (0, 2)).reshape(size)
