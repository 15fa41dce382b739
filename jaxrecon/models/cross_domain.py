"""The step that all cross-domain networks share: one half in k-space, one half in the image.

Parameter tree: steps/image_net/params/..., and where there is one, steps/kspace_net/params/..., each leaf with a leading axis
of n_steps; start/dc_weight where data consistency is learned, start/refiner/params/... where coil maps are refined.

Source: Ramzi et al. 2020, "Benchmarking MRI Reconstruction Neural Networks on Large Public Datasets", and its code.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen

from ..checks import UserError, check_same_coils, check_sizes
from ..complex_ops import abs2, magnitude
from ..fourier import ifftc
from ..nn import REFINER_BIG, REFINER_SMALL, SensitivityRefiner
from ..nn.sensitivity import unit_rss
from ..operators import Sense
from ..typing import KSpace
from .unrolled import Unrolled, Wants, unrolled

RefinerName = Literal["none", "small", "big"]
"""Networks that refine coil maps: none, one of 7,458 and one of 120,790 parameters."""


def maps_refiner(name: RefinerName, dtype: Any = None) -> SensitivityRefiner | None:
    """The refiner of a name; dtype is what its convolutions compute in."""
    sizes = {"small": REFINER_SMALL, "big": REFINER_BIG}
    return None if name == "none" else SensitivityRefiner(sizes[name], dtype)


@dataclasses.dataclass(frozen=True)
class Domains:
    """What the two nets of a step see, and what is kept from step to step.

    Attributes:
      n_image: image channels, of which the first one is the image.
      n_kspace: k-space channels, where a net in k-space makes them.
      image_buffer: the image net sees the image channels beside what comes from k-space, else that alone.
      kspace_buffer: the k-space net sees the k-space channels of the step before, which are kept for it.
      consistency: "residual": both halves see the measured samples only, and those of the scan beside them; "replacement":
        they see all of k-space, in which measured samples take the place of predicted ones.
      learn_consistency: with "replacement", k + w (y - M k) in place of (1 - M) k + y, with one learned w.
      finish_consistent: with "replacement", the image of `finish` has the measured samples.
      begin: image and k-space channels begin as copies of A^H y and y, or as zeros.
      forward_channel: image channel that is brought to k-space.
      normalize: images are divided by the maximum of A^H y, and what comes from k-space by its own, in each step.
      magnitude: the image of `finish` has no phase.

    Raises:
      ValueError: no channels, a channel that is none of them, consistency learned where nothing is replaced.
    """

    n_image: int = 1
    n_kspace: int = 1
    image_buffer: bool = True
    kspace_buffer: bool = True
    consistency: Literal["residual", "replacement"] = "residual"
    learn_consistency: bool = False
    finish_consistent: bool = False
    begin: Literal["adjoint", "zero"] = "adjoint"
    forward_channel: int = 0
    normalize: bool = False
    magnitude: bool = True

    def __post_init__(self):
        check_sizes(1, n_image=self.n_image, n_kspace=self.n_kspace)
        if not 0 <= self.forward_channel < self.n_image:
            raise UserError(f"forward_channel {self.forward_channel}: there are image channels 0 to {self.n_image - 1}")
        if self.learn_consistency and self.consistency != "replacement":
            raise UserError("learn_consistency needs consistency 'replacement': else there is nothing to be weighted")

    @property
    def replaces(self) -> bool:
        """Whether measured samples take the place of predicted ones."""
        return self.consistency == "replacement"


def cross_domain(
    domains: Domains,
    *,
    n_steps: int,
    image_net: linen.Module,
    kspace_net: linen.Module | None = None,
    refiner: linen.Module | None = None,
    center: float = 0.0,
    last_half: tuple[Literal["K", "I"], int] | None = None,
) -> Unrolled:
    """A network that alternates between k-space and image.

    residual:     K+ = f_K([K, A X_0, y]),  without a net A X_0 - y
    replacement:  K+ = f_K((1 - M) F S X_0 + y),  without a net its argument
    both:         X+ = f_I([X, A^H K+_0])

    Args:
      domains: what the nets see and keep.
      n_steps: steps, each with weights of its own.
      image_net: complex (channel, y, x) to (n_image, y, x); it adds what it begins with itself, if it is residual.
      kspace_net: complex (coil, channel, y, x) to (coil, n_kspace, y, x), each coil for itself; None: none.
      refiner: coil maps (coil, y, x) to better ones, which all steps share; None: they are taken as they are.
      center: part of k-space along y and x, in its middle, that the coil maps are made of; 0: they are given.
      last_half: (half, step) to stop after: "K" or "I" of step 0 .. n_steps - 1, for training one net after the other; the
        image is complex after "K". None: all.

    Returns:
      Model with carry {"image"} (n_image, y, x), complex, and, where the k-space net keeps some, {"kspace"} (n_kspace, coil, y, x);
      reconstruction (y, x), a magnitude if `domains` says so. Maps are given, several coils are combined by them; those of a
      single coil are 1. Without a k-space net any encoding will do.

    Raises:
      ValueError: no steps, or a half that there is not; when called, a problem without maps, with several sets of maps, or, with
        a refiner, of one coil.

    Source: Ramzi et al. 2020. There a network is for one coil or for several; one of one coil is here a network of several
      without a refiner.
    """
    check_sizes(1, n_steps=n_steps)
    if not 0 <= center <= 1:
        raise UserError(f"center must be within 0 and 1, a part of k-space, not {center}")
    half, last = last_half or ("I", n_steps - 1)
    if not 0 <= last < n_steps:
        raise UserError(f"there is no step {last} to stop after: the network has steps 0 to {n_steps - 1}")
    keeps_kspace = kspace_net is not None and domains.kspace_buffer
    ends_in_kspace = half == "K"

    def operator(problem):
        op = problem.op
        if center:
            op = op.replace(maps=center_maps(problem.kspace, center), sets=False)
        return checked_operator(op, problem.kspace, refines=refiner is not None)

    def start(params, problem):
        op, measured = operator(problem), problem.kspace
        if refiner is not None:
            op = op.replace(maps=refiner.apply(params["refiner"], op.maps))
        zero_filled = op.adjoint(measured)  # (coil, y, x) -> (y, x)
        scale = peak(zero_filled) if domains.normalize else None
        if scale is not None:
            measured, zero_filled = (over(a, scale) for a in (measured, zero_filled))
        first = 1.0 if domains.begin == "adjoint" else 0.0
        carry = {"image": jnp.stack([first * zero_filled] * domains.n_image)}
        if keeps_kspace:
            carry["kspace"] = jnp.stack([first * measured] * domains.n_kspace)
        context = {"op": op, "zero_filled": zero_filled, "weight": params.get("dc_weight"), "scale": scale}
        if kspace_net is not None:
            context["kspace"] = measured
        if domains.replaces:
            context["support"] = jnp.sum(abs2(op.maps), -3)  # S^H S
        return carry, context

    def init_start(key, problem):
        params: dict[str, Any] = {}
        if refiner is not None:
            params["refiner"] = refiner.lazy_init(key, operator(problem).maps)
        if domains.learn_consistency:
            params["dc_weight"] = jnp.ones((), problem.kspace.real.dtype)
        return params

    def kspace_input(carry, context):
        """What the k-space net sees, (coil, channel, y, x)."""
        op, measured = context["op"], context["kspace"]
        predicted = (unmasked(op) if domains.replaces else op).forward(carry["image"][domains.forward_channel])
        channels = [*carry["kspace"], predicted] if keeps_kspace else [predicted]
        if domains.replaces:
            channels = [replaced(k, measured, op.encoding.mask, context["weight"]) for k in channels]
        else:
            channels.append(measured)
        return jnp.stack(channels, 1)

    def in_kspace(theta, carry, context):
        """(what comes from k-space, (y, x), the k-space channels (n_kspace, coil, y, x) or None)."""
        op = context["op"]
        if kspace_net is not None:
            improved: Any = kspace_net.apply(theta["kspace_net"], kspace_input(carry, context))
            kspace = jnp.moveaxis(improved, 1, 0)
            return (unmasked(op) if domains.replaces else op).adjoint(kspace[0]), kspace
        image = carry["image"][domains.forward_channel]
        if domains.replaces:
            return consistent(image, context), None
        return op.normal(image) - context["zero_filled"], None  # A^H (A x - y)

    def image_input(carry, arrived):
        if domains.normalize:
            arrived = over(arrived, peak(arrived))
        return jnp.concatenate([carry["image"], arrived[None]]) if domains.image_buffer else arrived[None]

    def step(theta, carry, context, i):
        arrived, kspace = in_kspace(theta, carry, context)
        improve = lambda: image_net.apply(theta["image_net"], image_input(carry, arrived))
        if ends_in_kspace:
            untouched = lambda: jnp.broadcast_to(arrived, carry["image"].shape)
            image = jax.lax.cond(i == last, untouched, improve)
        else:
            image = improve()
        return {"image": image, **({"kspace": kspace} if keeps_kspace else {})}

    def init_step(key, carry, context):
        of_image, of_kspace = jax.random.split(key)
        theta = {"image_net": image_net.lazy_init(of_image, image_input(carry, context["zero_filled"]))}
        if kspace_net is not None:
            theta["kspace_net"] = kspace_net.lazy_init(of_kspace, kspace_input(carry, context))
        return theta

    def finish(carry, context):
        image = carry["image"][0]
        if domains.finish_consistent:
            image = consistent(image, context)
        if domains.magnitude and not ends_in_kspace:
            image = magnitude(image)
        return image if context["scale"] is None else image * context["scale"]

    return unrolled(
        n_steps=n_steps,
        shared=False,
        init_start=init_start,
        init_step=init_step,
        start=start,
        step=until(step, last) if last < n_steps - 1 else step,
        finish=finish,
        wants=Wants(
            maps="estimated" if center else "given",
            encoding="any" if kspace_net is None and not center else "cartesian",
            image="magnitude" if domains.magnitude and not ends_in_kspace else "complex",
            # what further channels hold at the end of a module is seen by no one
            steps_per_module=2 if max(domains.n_image, domains.n_kspace if keeps_kspace else 1) > 1 else 1,
            uses_index=ends_in_kspace or last < n_steps - 1,
        ),
    )


def until(step: Callable, last: int) -> Callable:
    """A step that leaves the carry as it is beyond step `last`, and does nothing there."""

    def stopped(theta, carry, context, i):
        return jax.lax.cond(i <= last, lambda: step(theta, carry, context, i), lambda: carry)

    return stopped


def checked_operator(op: Any, kspace: KSpace, *, refines: bool) -> Sense:
    """The operator of a problem, with the coil maps that a cross-domain network needs.

    Args:
      op: a `Sense`.
      kspace: measured, (coil, y, x).
      refines: the network refines the maps.

    Raises:
      ValueError: no maps, maps of other coils, several sets of maps, or maps of one coil that are to be refined.
    """
    if op.maps is None:
        raise UserError(
            f"the problem has no coil maps, and {kspace.shape[0]} coils: this network combines coils by maps that it is given, as "
            "jaxrecon.coils.espirit estimates them; those of a single coil are ones"
        )
    check_same_coils(op.maps, kspace)
    if op.n_sets is not None:
        raise UserError(
            f"the coil maps have {op.n_sets} sets, of shape {op.maps.shape}: this network takes (coil, y, x)"
        )
    if refines and op.maps.shape[0] == 1:
        raise UserError(
            "this network refines the maps of several coils, and was given one coil: train and use it without a refiner, or give all "
            "coils"
        )
    return op


def center_maps(kspace: KSpace, fraction: float) -> Any:
    """Coil maps (coil, y, x) of unit rss: the images of the middle of k-space, `fraction` of it along y and along x.

    Source: the reference's rule: the size is cut off to an integer, and half of it again.
    """
    halves = [int(n * fraction) // 2 for n in kspace.shape[-2:]]
    if min(halves) < 1:
        raise UserError(
            f"center {fraction} of k-space of size {kspace.shape[-2:]} holds no sample to make coil maps of: it needs 2 of them along y "
            "and x"
        )
    inside = [
        (-half <= np.arange(n) - n // 2) & (np.arange(n) - n // 2 < half)
        for n, half in zip(kspace.shape[-2:], halves, strict=True)
    ]
    window = inside[0][:, None] & inside[1][None]
    return unit_rss(ifftc(jnp.where(window[None], kspace, 0)))


def unmasked(op: Sense) -> Sense:
    """The operator to all of k-space."""
    return dataclasses.replace(op, encoding=op.encoding.replace(mask=None))


def replaced(kspace: KSpace, measured: KSpace, mask: Any, weight: Any = None) -> KSpace:
    """K-space (..., y, x) with the measured samples: (1 - M) k + y; with a weight k + w (y - M k)."""
    if mask is None:
        mask = jnp.ones((1,) * kspace.ndim)
    mask = mask.reshape((1,) * (kspace.ndim - mask.ndim) + mask.shape).astype(kspace.real.dtype)
    correction = measured - mask * kspace
    return kspace + (correction if weight is None else weight * correction)


def consistent(image: Any, context: Any) -> Any:
    """An image (y, x) with the measured samples: S^H F^-1 of `replaced`, by the normal operator, 0 where the maps are.

    S^H S x + w (A^H y - A^H A x)
    """
    correction = context["zero_filled"] - context["op"].normal(image)
    return context["support"] * image + (correction if context["weight"] is None else context["weight"] * correction)


def peak(image: Any) -> Any:
    """Maximum of |x|, a number ()."""
    return jnp.max(magnitude(image))


def over(x: Any, peak: Any) -> Any:
    """x / peak; x where that is 0, as it is then itself."""
    return x / jnp.where(peak > 0, peak, 1)
