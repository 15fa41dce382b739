"""Deep J-Sense: image and coil maps estimated in turn, each by conjugate gradients and a network.

Parameter tree: steps/{image_net,map_net}/params/... as BiasFreeResNet (jaxrecon.nn.resnet), steps/{image_lam,map_lam}.
With separate image networks only these are in steps, with a leading axis of n_steps; what stays shared is in start.
The published names: image_net..., maps_net..., block2_l2lam (image), block1_l2lam (maps).

Source: Arvinte et al., MICCAI 2021, and its code.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Int

from ..checks import UserError, check_axes, check_choices, check_sizes
from ..complex_ops import from_channels, rss, to_channels
from ..fourier import crop_or_pad, fftc, ifftc
from ..nn import BiasFreeResNet
from ..operators import ImageConvolution, MapConvolution, linear_grid, to_grid
from ..typing import AnyArray, Image, KSpace, Scalar
from .modl import regularized_solve
from .unrolled import Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class DeepJSenseConfig:
    """Configuration of `deep_jsense`; the defaults are the paper's (447,490 parameters).

    Attributes:
      n_steps: unrolled steps N.
      map_iters: conjugate gradient iterations for the maps n1; 0: the maps stay as they start, without their network.
      image_iters: conjugate gradient iterations for the image n2.
      kernel: (ky, kx) of the maps in k-space. The paper found training unstable above 25.
      features: channels of both networks.
      blocks: residual blocks of each network.
      map_net: refine the maps by a network after each solve.
      image_net: refine the image by a network after each solve.
      shared: one image network for all steps; False: one for each, while all else stays shared.
      n_sets: map sets, each with its image, for objects larger than the field of view.
      lam: weight of both priors, their first value: both are learned, raw (nothing keeps them positive).
      prior: what a solve is drawn to: the estimate before it ("previous": the networks' output), or "zero".
      start: "rss": maps are coil images over their root of sum of squares, the image is A^H y; "delta": maps 0, image
        constant (with a linear phase where there are further sets).
      grid: (P, Q) of the image, larger than `linear_grid` where that has slow transforms, e.g. (672, 384) for
        640 x 368; published weights were trained without.
      implicit: gradients of the exact solutions in place of those of the iterations, equal only at convergence.
      convention: "reference" is for weights trained with the public code only: its maps' operator is sqrt(P Q) times
        that of the image, and the shifts around the maps' network are swapped, which rolls odd kernels in each step.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 6
    map_iters: int = 6
    image_iters: int = 6
    kernel: tuple[int, int] = (15, 9)
    features: int = 64
    blocks: int = 4
    map_net: bool = True
    image_net: bool = True
    shared: bool = True
    n_sets: int = 1
    lam: float = 0.01
    prior: Literal["previous", "zero"] = "previous"
    start: Literal["rss", "delta"] = "rss"
    grid: tuple[int, int] | None = None
    implicit: bool = False
    convention: Literal["consistent", "reference"] = "consistent"
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`deep_jsense` of this configuration."""
        return deep_jsense(self)


def deep_jsense(config: DeepJSenseConfig) -> Unrolled:
    """Unrolled alternating optimisation of image and coil sensitivity maps.

    s = argmin ||A_x s - y||^2 + lam_s ||s - s_j||^2;  s_{j+1} = F D_s(F^-1 s)
    x = argmin ||A_s x - y||^2 + lam_x ||x - x_j||^2;  x_{j+1} = D_x(x);      image = rss(F^-1 (s_c * m)), m = F x

    Both by a fixed number of CG iterations from the present estimate; in the first step the right-hand side has no
    prior term, as in the reference code.

    Shared weights do not depend on n_steps. The reference code's warm-up, a training with each of 1, 2, ... steps that
    starts from the weights of the last, is `model = deep_jsense(dataclasses.replace(config, n_steps=n))` with those
    weights as `params`, also published ones.

    Args:
      config: sizes and variants.

    Returns:
      Model with carry {"image": ([set,] P, Q) in the image domain of the padded grid, "kernels": ([set,] coil, ky, kx)
      in k-space}; reconstruction real (y, x). The operator is given without maps (any that are there are ignored),
      its mask the same for all coils.

    Raises:
      ValueError: options that exclude each other or are none; when called, data smaller than the kernels.

    Source: Arvinte et al., MICCAI 2021, eq. 5-7, and its code, whose two operators differ by a factor and whose
      shifts around D_s are swapped: see `convention`.
    """
    _check(config)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    image_net = BiasFreeResNet(config.features, config.blocks, dtype)
    map_net = BiasFreeResNet(config.features, config.blocks, dtype)
    estimates_maps = config.map_iters > 0
    as_reference = config.convention == "reference"  # then also by the same transforms, to be rounded alike

    def init_common(key, dtype):
        """Weights that all steps share, whatever the image networks do."""
        common: dict[str, Any] = {"image_lam": jnp.asarray(config.lam, dtype)}
        if estimates_maps:
            common["map_lam"] = jnp.asarray(config.lam, dtype)
            if config.map_net:
                common["map_net"] = map_net.lazy_init(key, jax.ShapeDtypeStruct((*config.kernel, 2), dtype))
        return common

    def init_step(key, carry, context):
        keys = jax.random.split(key)
        theta = init_common(keys[0], carry["image"].real.dtype) if config.shared else {}
        if config.image_net:
            theta["image_net"] = image_net.lazy_init(keys[1], to_channels(carry["image"]))
        return theta

    def start(params, problem):
        check_axes("kspace", problem.kspace, ("coil", "y", "x"))
        shape, mask = problem.kspace.shape[-2:], problem.op.encoding.mask
        grid = _grid(config, shape)
        image_op = ImageConvolution(None, mask, shape, grid)
        coil_images = to_grid(problem.kspace, mask, grid)
        carry = _first_estimates(problem.kspace, coil_images, image_op, config)
        map_op = MapConvolution(None, mask, shape, config.kernel)
        return carry, {"image_op": image_op, "map_op": map_op, "coil_images": coil_images, "common": params}

    solve = functools.partial(solve_from_estimate, prior=config.prior, implicit=config.implicit)

    def update_maps(theta, carry, context, i):
        kernels, image = carry["kernels"], carry["image"]
        op = context["map_op"].replace(image=image)
        normal, data = op.prepared_normal(by_transforms=as_reference), op.combine(context["coil_images"])
        # in the reference this operator is b times the other one
        b = math.sqrt(math.prod(image.shape[-2:])) if as_reference else 1.0
        kernels = solve(lambda s: b**2 * normal(s), b * data, kernels, theta["map_lam"], i, n_iter=config.map_iters)
        if not config.map_net:
            return kernels
        maps = _swapped_ifft(kernels) if as_reference else ifftc(kernels)
        return fftc(refine(map_net, theta["map_net"], maps))

    def step(theta, carry, context, i):
        theta, carry = {**context["common"], **theta}, dict(carry)
        if estimates_maps:
            carry["kernels"] = update_maps(theta, carry, context, i)
        op = context["image_op"].replace(kernels=carry["kernels"])
        normal, data = op.prepared_normal(by_transforms=as_reference), op.combine(context["coil_images"])
        image = solve(normal, data, carry["image"], theta["image_lam"], i, n_iter=config.image_iters)
        if config.image_net:
            image = refine(image_net, theta["image_net"], image)
        return {**carry, "image": image}

    def finish(carry, context):
        op = context["image_op"].replace(kernels=carry["kernels"], mask=None)
        return rss(ifftc(op.forward(carry["image"])))

    return unrolled(
        n_steps=config.n_steps,
        shared=config.shared,
        init_start=None if config.shared else (lambda key, problem: init_common(key, problem.kspace.real.dtype)),
        init_step=init_step,
        start=start,
        step=step,
        finish=finish,
        wants=Wants(
            maps="none",
            encoding="cartesian",
            image="magnitude",
            example_size=max(config.kernel),
            uses_index=config.prior == "previous",
        ),
    )


def solve_from_estimate(
    normal: Callable[[Image], Image],
    data: Image,
    estimate: Image,
    lam: Scalar,
    i: Int[AnyArray, ""] | int,
    *,
    n_iter: int,
    prior: Literal["previous", "zero"],
    implicit: bool,
) -> Image:
    """Conjugate gradients from the estimate on (A^H A + lam) x = A^H y + lam p, p the estimate or zero.

    The right-hand side of the first step has no term of the prior.

    Args:
      normal: x -> A^H A x.
      data: A^H y.
      estimate: x before, shaped as the result.
      lam: weight of the prior.
      i: number of the step.
      n_iter: iterations.
      prior: as in `DeepJSenseConfig`.
      implicit: as in `DeepJSenseConfig`.
    """
    rhs = data if prior == "zero" else data + jnp.where(i > 0, lam, 0) * estimate
    return regularized_solve(normal, rhs, lam, x0=estimate, n_iter=n_iter, implicit=implicit)


def refine(net: BiasFreeResNet, params: Any, x: Image) -> Image:
    """A network of two real channels on complex values."""
    out: Any = net.apply(params, to_channels(x))
    return from_channels(out)


def rss_kernels(kspace: KSpace, kernel: tuple[int, int]) -> Complex[Array, "coil ky kx"]:
    """First map kernels: the centre of F(g / rss(g)), g the zero-filled coil images; independent of the data's scale.

    Args:
      kspace: (coil, y, x), 0 where not measured.
      kernel: (ky, kx), DC at size // 2.

    Returns:
      (coil, *kernel); 0 for all-zero data (NaN in the reference).

    Source: the code of Deep J-Sense; its paper says "a simple RSS estimate".
    """
    images = ifftc(kspace)
    norm = rss(images)
    return crop_or_pad(fftc(images / jnp.where(norm > 0, norm, 1)[None]), kernel)


def _first_estimates(kspace, coil_images, image_op, config):
    """The first carry."""
    grid, sets = coil_images.shape[-2:], (config.n_sets,) if config.n_sets > 1 else ()
    if config.start == "delta":
        # in k-space (P Q)^(1/4) at the centre: with 1 there for the unscaled convolution, as J-Sense starts
        image = jnp.full((*sets, *grid), math.prod(grid) ** -0.25, kspace.dtype)
        if sets:
            # set e at the e-th sample along x from there: sets that start equal would stay equal
            image = image * _turns(config.n_sets, grid[1], grid[1], kspace.dtype)
        return {"image": image, "kernels": jnp.zeros((*sets, len(kspace), *config.kernel), kspace.dtype)}
    kernels = rss_kernels(kspace, config.kernel)
    if sets:
        # set e sees the maps from e / n_sets of the field of view further along x: another place, hence independent
        kernels = kernels[None] * _turns(config.n_sets, config.kernel[1], -config.n_sets, kernels.dtype)[:, None]
    return {"image": image_op.replace(kernels=kernels).combine(coil_images), "kernels": kernels}


def _turns(n_sets, width, period, dtype):
    """Linear phase along x (set, 1, width): e turns in a period for set e, and 1 at the centre."""
    turns = np.outer(np.arange(n_sets), np.arange(width) - width // 2) / period
    return jnp.asarray(np.exp(2j * np.pi * turns), dtype)[:, None]


def _grid(config, shape):
    """Size of the image's grid, checked."""
    if any(k > n for k, n in zip(config.kernel, shape, strict=True)):
        raise UserError(
            f"map kernels of {config.kernel} do not fit k-space (y, x) of {tuple(shape)}: choose smaller ones"
        )
    least = linear_grid(shape, config.kernel)
    grid = config.grid or least
    if any(n < m for n, m in zip(grid, least, strict=True)):
        raise UserError(
            f"grid {tuple(grid)} is too small for k-space (y, x) of {tuple(shape)} and kernels of {config.kernel}: "
            f"the convolution would wrap around; wanted at least {least}"
        )
    return grid


def _swapped_ifft(x):
    """The inverse transform of the reference around its maps' network, the two shifts exchanged."""
    axes = (-2, -1)
    return jnp.fft.ifftshift(jnp.fft.ifft2(jnp.fft.fftshift(x, axes), norm="ortho"), axes)


def _check(config):
    check_choices(config)
    check_sizes(1, n_steps=config.n_steps, features=config.features, grid=config.grid or ())
    for name, size in (("kernel", config.kernel), ("grid", config.grid)):
        if size is not None and not (isinstance(size, tuple) and len(size) == 2):
            raise UserError(f"{name} must be two sizes (y, x), not {size}")
    if config.map_iters < 0 or config.image_iters < 1:
        raise UserError(f"wanted map_iters >= 0 and image_iters >= 1, not {config.map_iters} and {config.image_iters}")
    if config.blocks < 2:
        raise UserError(f"the networks need 2 residual blocks or more, not {config.blocks}")
    if config.n_sets < 1 or min(config.kernel) < 1:
        raise UserError(f"wanted n_sets and kernel sizes of 1 or more, not {config.n_sets} and {config.kernel}")
    if config.map_iters and config.map_net and min(config.kernel) < 2:
        raise UserError(f"the maps' network mirrors its border: kernels need 2 samples or more, not {config.kernel}")
    if not config.shared and not config.image_net:
        raise UserError("separate image networks (shared=False) need image_net=True")
