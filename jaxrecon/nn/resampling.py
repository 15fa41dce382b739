"""Half and twice the size, channels last, by reshapes, sums and matrix products alone: fast on a CPU, gradients too."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..checks import UserError

Image = Float[Array, "*batch y x c"]


def check_multiple(x: Image, multiple: int, network: str) -> None:
    """Refuse an image whose sizes a network cannot halve as often as it has to.

    Args:
      x: (..., y, x, channel).
      multiple: what y and x must be multiples of.
      network: its name, for the message.

    Raises:
      ValueError: they are not.
    """
    if any(n % multiple for n in x.shape[-3:-1]):
        raise UserError(
            f"{network} needs sizes y and x that are multiples of {multiple}, got {x.shape[-3:-1]}: pad the image, as "
            "MultiscaleComplex does"
        )


def haar(x: Image) -> Float[Array, "*batch y//2 x//2 4*c"]:
    """One level of the orthonormal Haar transform of each channel: the bands LL, HL, LH, HH, c channels each.

    With a, b, c, d the pixels (0, 0), (1, 0), (0, 1), (1, 1) of a 2x2 block, the first index along y:

    LL = (a + b + c + d) / 2;  HL = (-a - b + c + d) / 2;  LH = (-a + b - c + d) / 2;  HH = (a - b - c + d) / 2

    `operators.Wavelet` has the same bands with channels in front and, as PyWavelets, the opposite sign of HL and LH.

    Args:
      x: (..., y, x, channel), y and x even.

    Returns:
      (..., y / 2, x / 2, 4 channel).

    Source: MWCNN, Liu et al. 2018, arXiv 1805.07071, and its code.
    """
    *batch, height, width, _ = x.shape
    blocks = x.reshape(*batch, height // 2, 2, width // 2, 2, -1) / 2
    a, c = blocks[..., 0, :, 0, :], blocks[..., 0, :, 1, :]
    b, d = blocks[..., 1, :, 0, :], blocks[..., 1, :, 1, :]
    left, right, falls, rises = a + b, c + d, b - a, d - c
    return jnp.concatenate([left + right, right - left, falls + rises, rises - falls], -1)


def inverse_haar(x: Image) -> Float[Array, "*batch 2*y 2*x c//4"]:
    """The inverse of `haar`, which is its transpose.

    Args:
      x: (..., y, x, channel): LL, HL, LH, HH, a quarter of the channels each.

    Returns:
      (..., 2 y, 2 x, channel / 4).
    """
    ll, hl, lh, hh = jnp.split(x / 2, 4, -1)
    left, right, falls, rises = ll - hl, ll + hl, lh - hh, lh + hh
    rows = [jnp.stack(row, -2) for row in ((left - falls, right - rises), (left + falls, right + rises))]
    return _join(jnp.stack(rows, -4))


def _join(blocks):
    """(..., y, 2, x, 2, channel) to (..., 2 y, 2 x, channel)."""
    *batch, height, _, width, _, channels = blocks.shape
    return blocks.reshape(*batch, 2 * height, 2 * width, channels)
