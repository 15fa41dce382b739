"""Cropping a reconstruction to its target, with the rounding of each source work; all shapes are static."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxtyping import Shaped

from ..checks import UserError, check_at_least
from ..typing import ArrayKind

Rounding = Literal["floor", "ceil", "center"]
"""Where a crop from N to n starts: floor((N - n) / 2), ceil((N - n) / 2), or N // 2 - n // 2."""

_STARTS: dict[str, Callable[[int, int], int]] = {
    "floor": lambda size, n: (size - n) // 2,
    "ceil": lambda size, n: (size - n + 1) // 2,
    "center": lambda size, n: size // 2 - n // 2,
}


def crop_to_target(
    reconstruction: Shaped[ArrayKind, "..."], target_shape: Sequence[int], *, rounding: Rounding = "floor"
) -> Shaped[ArrayKind, "..."]:
    """Centre crop of the last axes of a reconstruction to the shape of its target.

    The three roundings differ only where N - n is odd:

      "floor": floor((N - n) / 2), fastMRI, E2E-VarNet, PromptMR+, ReconODE (9 to 6 starts at 1);
      "ceil": ceil((N - n) / 2), Deep J-Sense (9 to 6 starts at 2);
      "center": N // 2 - n // 2, index N // 2 goes to n // 2: the benchmark of Ramzi, CMRxRecon's leaderboard.

    Args:
      reconstruction: (..., y, x), of jax or numpy.
      target_shape: sizes of the last axes wanted; others are kept.
      rounding: where the crop starts.

    Returns:
      (..., *target_shape).

    Raises:
      ValueError: the target is larger than the reconstruction, or an unknown rounding.

    Source: the evaluation code of each work that is named above.

    Example:
      >>> [crop_to_target(np.arange(9), [6], rounding=r)[0].item() for r in ("floor", "ceil", "center")]
      [1, 2, 1]
    """
    check_at_least("reconstruction", reconstruction, [f"axis {i}" for i in range(len(target_shape))])
    if rounding not in _STARTS:
        raise UserError(f"rounding '{rounding}' is not one of {', '.join(_STARTS)}")
    sizes = reconstruction.shape[reconstruction.ndim - len(target_shape) :]
    if any(n > size or n < 1 for size, n in zip(sizes, target_shape, strict=True)):
        raise UserError(
            f"cannot crop a reconstruction of {tuple(sizes)} to a target of {tuple(target_shape)}: it is smaller. "
            "crop_to_smallest crops both"
        )
    starts: list[int] = [_STARTS[rounding](size, n) for size, n in zip(sizes, target_shape, strict=True)]
    index: Any = (..., *(slice(s, s + n) for s, n in zip(starts, target_shape, strict=True)))
    return reconstruction[index]


def crop_to_smallest(
    reference: Shaped[ArrayKind, "*batch y x"], prediction: Shaped[ArrayKind, "*batch2 y2 x2"]
) -> tuple[Shaped[ArrayKind, "*batch h w"], Shaped[ArrayKind, "*batch2 h w"]]:
    """Centre crop of both images to the smaller of the two in each of the last two axes (fastMRI's rounding).

    For targets that are wider than the acquired image, such as some FLAIR volumes of fastMRI.

    Args:
      reference: (..., y, x), of jax or numpy.
      prediction: (..., y2, x2), of the same kind.

    Returns:
      Both with the last axes (min(y, y2), min(x, x2)).

    Source: E2E-VarNet and PromptMR+, `center_crop_to_smallest`.
    """
    shape = tuple(min(a, b) for a, b in zip(reference.shape[-2:], prediction.shape[-2:], strict=True))
    return crop_to_target(reference, shape), crop_to_target(prediction, shape)
