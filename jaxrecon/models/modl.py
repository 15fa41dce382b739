"""MoDL: a learned denoiser and conjugate-gradient data consistency in turn; the original and GLEAM's variant.

Parameter tree: steps/net/params/... as CNN (jaxrecon.nn.resnet), steps/lam where it is learned; leading axis of n_steps
unless shared. With batch norm start/batch_stats/norm_{i}/{mean,var}: the moving averages, of which no gradient is taken
(leading axis as above).

Source: Aggarwal, Mani, Jacob, IEEE TMI 2019, and its code; GLEAM (Ozturkler et al. 2022) for the constants of that name.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import UserError, check_choices, check_ndim, check_sizes
from ..classical.cg import cg, cg_implicit, cg_start, cg_step
from ..classical.iterate import iterate
from ..complex_ops import from_channels, to_channels
from ..nn import CNN, Padding, axis_size, glorot_uniform, uniform_fan_in
from ..typing import Image, Scalar
from .unrolled import BATCH_AXIS, Carry, Params, Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class MoDLConfig:
    """Configuration of `modl`; the defaults are the original network with K = 10 (113,413 parameters).

    Attributes:
      n_steps: unrolled steps K.
      features: channels of the CNN.
      layers: convolutions of the CNN.
      ndim: 2, or 3 for frames: image (frame, y, x), convolutions over time too.
      padding: what lies beyond the border for the convolutions, see `nn.conv`.
      bias: biases in the convolutions.
      norm: "none"; "frozen": batch norm by the moving averages in params["start"]; "batch": by the statistics of the
        batch that `batched` maps over, the moving averages ride in the carry, and `absorb` takes them back. The network
        of "batch" is to be trained, that of "frozen", with the same parameters, reconstructs: it is its `frozen`.
      glorot: initialise Glorot-uniform; else uniform within +-1/sqrt(fan_in).
      shared: one set of weights (and lam) for all steps.
      lam: weight of the denoiser's output, its first value where it is learned.
      learn_lam: lam is a parameter, raw: nothing keeps it positive.
      data_consistency: "cg"; "gradient": one gradient step of size `step_size` from the step's input.
      step_size: size of the step where data_consistency is "gradient".
      cg_iters: conjugate gradient iterations.
      cg_tolerance: also stop at a squared residual norm (absolute) of this; 0: never (the reference: 1e-10, for images
        of maximum 1).
      warm_start: start CG at the step's input, not at zero.
      implicit: gradient of the exact solution (one more CG) instead of that of the iterations; equal only once CG has
        converged.
      joint_batch: CG's inner products run over the whole batch that `batched` maps over.
      inverse_iters: fixed-point iterations of the CNN's inverse (invertible learning).
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 10
    features: int = 64
    layers: int = 5
    ndim: int = 2
    padding: Padding = "zeros"
    bias: bool = False
    norm: Literal["none", "frozen", "batch"] = "batch"
    glorot: bool = True
    shared: bool = True
    lam: float = 0.05
    learn_lam: bool = True
    data_consistency: Literal["cg", "gradient"] = "cg"
    step_size: float = 1.0
    cg_iters: int = 10
    cg_tolerance: float = 0.0
    warm_start: bool = False
    implicit: bool = False
    joint_batch: bool = False
    inverse_iters: int = 5
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`modl` of this configuration."""
        return modl(self)


MODL_STAGE_1 = MoDLConfig(n_steps=1)
"""The first stage of the original training; its weights start the second, K = 10."""
MODL_2D_GLEAM = MoDLConfig(
    n_steps=8,
    features=70,
    padding="reflect",
    norm="none",
    glorot=False,
    shared=False,
    lam=4.0,
    learn_lam=False,
    warm_start=True,
)
"""GLEAM's MoDL on mridata at R = 4: 1,078,560 parameters."""
MODL_2D_GLEAM_R16 = dataclasses.replace(MODL_2D_GLEAM, lam=0.05)
"""GLEAM's MoDL on mridata at R = 16."""
MODL_3D_GLEAM = dataclasses.replace(MODL_2D_GLEAM_R16, n_steps=4, features=50, ndim=3, padding="edge")
"""GLEAM's MoDL on cine: 831,600 parameters."""


def modl(config: MoDLConfig) -> Unrolled:
    """Model-based deep learning.

    x_0 = A^H y;  z = x_i + N(x_i);  x_{i+1} = (A^H A + lam)^{-1} (A^H y + lam z), by a fixed number of CG iterations

    Args:
      config: sizes.

    Returns:
      Model with carry {"image", "batch_stats"}: the image (y, x) or (frame, y, x), complex, and with norm "batch" the
      moving averages, else nothing; reconstruction the image. `inverse` is there without norm and with CG: z =
      ((A^H A + lam) x - A^H y) / lam, then v <- z - N(v) from v = z; exact as far as CG and the fixed point (a contraction N) converge.

    Raises:
      ValueError: options that exclude each other, or sizes that make no network.

    Source: Aggarwal, Mani, Jacob, IEEE TMI 2019; GLEAM, eq. 6-11 (its inverse of CG adds x by mistake; here eq. 11).
    """
    check_choices(config)
    check_sizes(1, n_steps=config.n_steps, features=config.features, layers=config.layers)
    check_sizes(0, cg_iters=config.cg_iters, inverse_iters=config.inverse_iters)
    check_ndim(config.ndim)
    if config.implicit and config.cg_tolerance:
        raise UserError("implicit gradients need cg_tolerance = 0: they are those of the converged solution")
    trains_norm = config.norm == "batch"
    net = CNN(
        features=config.features,
        layers=config.layers,
        ndim=config.ndim,
        padding=config.padding,
        bias=config.bias,
        norm=config.norm,
        batch_axis=BATCH_AXIS,
        kernel_init=glorot_uniform if config.glorot else uniform_fan_in,
        dtype=jnp.bfloat16 if config.bfloat16 else None,
    )

    def init_start(key, problem):
        if config.norm == "none":
            return {}
        image = jax.eval_shape(problem.op.adjoint, problem.kspace)
        stats = net.lazy_init(key, jax.eval_shape(to_channels, image))["batch_stats"]
        if not config.shared:
            stats = jax.tree.map(lambda a: jnp.broadcast_to(a[None], (config.n_steps, *a.shape)), stats)
        return {"batch_stats": stats}

    def init_step(key, carry, context):
        image = carry["image"]
        theta: dict[str, Any] = {"net": {"params": net.lazy_init(key, to_channels(image))["params"]}}
        if config.learn_lam:
            theta["lam"] = jnp.asarray(config.lam, image.real.dtype)
        return theta

    def start(params, problem):
        zero_filled = problem.op.adjoint(problem.kspace)  # (coil, y, x) -> (y, x)
        stats = lax.stop_gradient(params.get("batch_stats", {}))
        riding, constant = (stats, {}) if trains_norm else ({}, stats)
        return {"image": zero_filled, "batch_stats": riding}, (problem.op, zero_filled, constant)

    def residual(theta, image, stats, i):
        """N(x) and the moving averages after it."""
        if config.norm == "none":
            out: Any = net.apply(theta["net"], to_channels(image))
            return from_channels(out), stats
        own = stats if config.shared else jax.tree.map(lambda a: a[i], stats)
        out, updated = net.apply({**theta["net"], "batch_stats": own}, to_channels(image), mutable=["batch_stats"])
        own = updated["batch_stats"]
        stats = own if config.shared else jax.tree.map(lambda a, new: a.at[i].set(new), stats, own)
        return from_channels(out), stats

    def lam_of(theta):
        return theta["lam"] if config.learn_lam else config.lam

    def step(theta, carry, context, i):
        op, zero_filled, constant = context
        image, riding = carry["image"], carry["batch_stats"]
        update, stats = residual(theta, image, riding if trains_norm else constant, i)
        lam = lam_of(theta)
        image = _consistent(op, zero_filled + lam * (image + update), lam, image, config)
        return {"image": image, "batch_stats": stats if trains_norm else riding}

    def inverse(theta, carry, context, i):
        op, zero_filled, _ = context
        lam, image = lam_of(theta), carry["image"]
        z = (op.normal(image) + lam * image - zero_filled) / lam
        before = lax.fori_loop(0, config.inverse_iters, lambda _, v: z - residual(theta, v, {}, i)[0], z)
        return {**carry, "image": before}

    return unrolled(
        n_steps=config.n_steps,
        shared=config.shared,
        init_start=init_start,
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda carry, _: carry["image"],
        inverse=inverse if config.norm == "none" and config.data_consistency == "cg" else None,
        wants=Wants(
            input="series" if config.ndim == 3 else "slice",
            # each step has moving averages of its own
            uses_index=config.norm != "none" and not config.shared,
        ),
        absorb=keep_moving_averages if trains_norm else None,
        untrained=("start/batch_stats",) if config.norm == "frozen" else (),
        frozen=modl(dataclasses.replace(config, norm="frozen")) if trains_norm else None,
    )


def keep_moving_averages(params: Params, carry: Carry) -> Params:
    """Parameters with the moving averages of a carry of `modl` with norm "batch", e.g. of `run(..., carry=True)`.

    Leading example axes of the carry are averaged (all examples of a batch hold the same).

    Args:
      params: the parameters with the old averages.
      carry: the last carry.

    Returns:
      The parameters with the new averages.
    """
    old = params["start"]["batch_stats"]
    new = jax.tree.map(lambda a, b: jnp.mean(b, tuple(range(b.ndim - a.ndim))), old, carry["batch_stats"])
    return {**params, "start": {**params["start"], "batch_stats": new}}


def regularized_solve(
    normal: Callable[[Image], Image],
    rhs: Image,
    lam: Scalar,
    *,
    x0: Image | None = None,
    n_iter: int = 10,
    tolerance: float = 0.0,
    implicit: bool = False,
) -> Image:
    """Solve (A^H A + lam) x = rhs by conjugate gradients.

    Args:
      normal: x -> A^H A x, `op.normal`.
      rhs: right-hand side, shaped as the image.
      lam: weight, of either sign: where the matrix is then indefinite, CG solves but does not minimise.
      x0: start; None is zero.
      n_iter: iterations.
      tolerance: also stop at this squared residual norm, absolute; 0: never.
      implicit: gradient of the exact solution, with respect to rhs, lam and what `normal` holds, instead of that of the
        iterations.

    Returns:
      x, shaped as rhs.

    Source: MoDL, section III-C, for the implicit gradient; its code leaves out the part of lam in the operator.
    """

    def regularized(x):
        return normal(x) + lam * x

    if implicit and x0 is not None:
        # the same iterations: from x0 they are those from zero for the difference
        return x0 + cg_implicit(regularized, rhs - regularized(x0), n_iter=n_iter)
    if implicit:
        return cg_implicit(regularized, rhs, n_iter=n_iter)
    if not tolerance:
        return cg(regularized, rhs, x0=x0, n_iter=n_iter)

    def step(state):
        after = cg_step(regularized, state)
        return jax.tree.map(lambda new, old: jnp.where(state.rr > tolerance, new, old), after, state)

    return iterate(step, cg_start(regularized, rhs, x0), n_iter=n_iter)[0].x


def _consistent(op, rhs, lam, image, config):
    """The data consistency of one step, rhs = A^H y + lam z."""
    if config.data_consistency == "gradient":
        return image - config.step_size * (op.normal(image) + lam * image - rhs)
    x0 = image if config.warm_start else None
    normal = op.normal
    joint = config.joint_batch and axis_size(BATCH_AXIS) > 1
    if joint:
        # one solve for the batch as one vector: gathered, it is the same for all examples, and vmap computes it once
        ops, rhs, x0 = jax.tree.map(lambda a: lax.all_gather(a, BATCH_AXIS), (op, rhs, x0))
        normal = lambda x: jax.vmap(lambda op, x: op.normal(x))(ops, x)
    solution = regularized_solve(
        normal,
        rhs,
        lam,
        x0=x0,
        n_iter=config.cg_iters,
        tolerance=config.cg_tolerance,
        implicit=config.implicit,
    )
    return solution[lax.axis_index(BATCH_AXIS)] if joint else solution
