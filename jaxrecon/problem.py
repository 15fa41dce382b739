"""Problem and Target: what a reconstruction is given, and what it is compared with."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from . import struct
from .checks import UserError, check_at_least, check_broadcasts, check_finite, check_same_coils, checked_mask
from .host import native
from .operators import CARTESIAN, CartesianSense, EncodingRecord, Sense
from .typing import Key, KSpace, Mask


@struct.dataclass
class Problem:
    """Measured data and the forward model that explains them; a PyTree: jit it, vmap it, shard it.

    Attributes:
      kspace: measured k-space (..., coil, y, x), complex, centred, 0 where not measured; for other encodings than the Cartesian
        one the samples (..., coil, *samples).
      op: the forward LinearOperator A in y = A x, a `Sense`: maps times encoding.
      acs: mask of the calibration region, for models that estimate maps, (x,), (1, x) or (y, x); None: found by the
        model from the mask.
      key: randomness for models that need it.
    """

    kspace: KSpace
    op: Any
    acs: Mask | None = None
    key: Key | None = None

    @classmethod
    def from_numpy(cls, kspace, *, mask=None, maps=None, acs=None, key=None, ndim: int = 2) -> "Problem":
        """A Cartesian problem from arrays on the host, checked and with its mask simplified.

        Args:
          kspace: (..., coil, y, x), or (y, x) for a single coil; complex, 0 where not measured.
          mask: measured where it is not 0, broadcasting against kspace (..., coil, y, x); None: found from the non-zero samples
            of all coils.
          maps: (coil, y, x) or (set, coil, y, x); None: ones where there is one coil, else left for a model to estimate.
          acs: mask of the calibration region, (x,), (1, x) or (y, x), not 0 there.
          key: randomness for models that need it.
          ndim: 2, or 3 for k-space (coil, z, y, x).

        Returns:
          Problem with the operator `CartesianSense(maps, mask)`. A mask that is constant along an axis has size 1 there: its
          normal operator then needs no FFT along that axis.

        Raises:
          ValueError: wrong shapes, values that are not finite, an empty mask; the message says which. Arrays that are traced.

        Example:
          >>> kspace = np.ones((3, 8, 4), "complex64")
          >>> problem = jr.Problem.from_numpy(kspace, mask=[1, 0, 1, 0], maps=np.ones((3, 8, 4)))
          >>> problem.kspace.shape, problem.op.encoding.mask.shape
          ((3, 8, 4), (4,))
        """
        if any(isinstance(a, jax.core.Tracer) for a in (kspace, mask, maps, acs)):
            raise UserError(
                "Problem.from_numpy looks at values, and these are traced: make the problem outside of jit, grad and vmap, or "
                "by Problem(kspace, CartesianSense(maps, mask)), which looks at none"
            )
        kspace = native(np.asarray(kspace))
        axes = ("z", "y", "x")[-ndim:]
        if kspace.dtype.kind != "c":
            raise UserError(f"kspace must be complex, but its dtype is {kspace.dtype}: real and imaginary parts last?")
        if kspace.ndim == ndim:
            kspace = kspace[None]
        check_at_least("kspace", kspace, ("coil", *axes))
        check_finite("kspace", kspace)
        mask = np.any(kspace != 0, axis=-ndim - 1, keepdims=True) if mask is None else checked_mask("mask", mask)
        check_broadcasts("mask", mask.shape, "kspace", kspace.shape)
        if not mask.any():
            raise UserError("mask is empty: no sample is measured")
        mask = _collapse_constant_axes(mask, ndim)
        if maps is None:
            maps = np.ones_like(kspace[(0,) * (kspace.ndim - ndim - 1)]) if kspace.shape[-ndim - 1] == 1 else None
        else:
            maps = np.asarray(maps).astype(kspace.dtype)
            check_at_least("maps", maps, ("coil", *axes))
            check_finite("maps", maps)
            check_same_coils(maps, kspace, -ndim - 1)
            if maps.shape[-ndim:] != kspace.shape[-ndim:]:
                raise UserError(f"maps of size {maps.shape[-ndim:]} do not fit kspace of size {kspace.shape[-ndim:]}")
        real = kspace.real.dtype
        kspace = kspace * mask.astype(real)
        op = CartesianSense(None if maps is None else jnp.asarray(maps), jnp.asarray(mask.astype(real)), ndim=ndim)
        acs = None if acs is None else jnp.asarray(checked_mask("acs", acs).astype(real))
        return cls(jnp.asarray(kspace), op, acs, key)

    @classmethod
    def from_example(cls, example: Mapping[str, Any], encoding: EncodingRecord = CARTESIAN) -> "Problem":
        """A problem from the arrays of an example by name, or from a batch of them: the same arrays with a leading axis.

        Values are not looked at, so that arrays may be traced.

        Args:
          example: "kspace" and the arrays that the encoding is made of; where there are such "maps" (coil, y, x) or (set, coil,
            y, x), "acs" and "seed", an integer. Without maps the operator has none: the model estimates them.
          encoding: what is made of the arrays.

        Raises:
          ValueError: an array is missing.
        """
        missing = [key for key in ("kspace", *encoding.keys) if key not in example]
        if missing:
            wanted = ", ".join(("kspace", *encoding.keys))
            raise UserError(f"encoding {encoding.name} is made of {wanted}: {', '.join(missing)} missing")
        op = Sense(example.get("maps"), encoding.build({key: example[key] for key in encoding.keys}), sets=None)
        key = None
        if "seed" in example:
            seed = example["seed"]
            key = jax.random.key(seed) if jnp.ndim(seed) == 0 else jax.vmap(jax.random.key)(seed)
        return cls(example["kspace"], op, example.get("acs"), key)


@struct.dataclass
class Target:
    """What a reconstruction is compared with; a batch has a leading axis on each leaf.

    Attributes:
      image: reference (..., y, x), complex or magnitude; may be smaller than the problem's matrix: losses crop.
      data_range: scalar per example in units of the image, the peak of SSIM, e.g. the maximum of the volume; None:
        losses that need it raise.
      mask: samples of k-space held out for a self-supervised loss.
      scale: what k-space and image were divided by; multiply a reconstruction by it to undo. None: 1.
    """

    image: Inexact[Array, "*batch y x"]
    data_range: Float[Array, "..."] | None = None
    mask: Mask | None = None
    scale: Float[Array, "..."] | None = None


def _collapse_constant_axes(mask, ndim):
    for axis in range(-min(ndim, mask.ndim), 0):
        first = np.take(mask, [0], axis)
        if (mask == first).all():
            mask = first
    while mask.ndim > ndim and mask.shape[0] == 1:
        mask = mask[0]
    return mask
