"""The methods by name: what each needs, its defaults, and the function that solves it; commands read this table."""

import dataclasses
from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Inexact

from ..problem import Problem
from .compressed_sensing import l1_wavelet_cycle_spun
from .sense import cg_sense, rss_image, zero_filled
from .total_variation import total_variation

Solve = Callable[..., Inexact[Array, "*set y x"]]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of reconstruction by name.

    Attributes:
      solve: (problem, lam, n_iter=..., wavelet=...) -> image (y, x), of several map sets (set, y, x).
      words: what it is, in one sentence.
      lam: default weight of the regularization, in units of the data's scale; None: it has none.
      n_iter: default number of iterations; None: it does not iterate.
      maps: whether it combines the coils by maps.
      wavelet: whether it has a wavelet.
    """

    solve: Solve
    words: str
    lam: float | None = None
    n_iter: int | None = None
    maps: bool = True
    wavelet: bool = False


def _rss(problem: Problem, lam: float | Float[Array, ""], **_):
    return rss_image(problem)


def _zero_filled(problem: Problem, lam: float | Float[Array, ""], **_):
    return zero_filled(problem)


def _cg_sense(problem: Problem, lam: float | Float[Array, ""], *, n_iter: int, **_):
    return cg_sense(problem, lam=lam, n_iter=n_iter)


def _l1_wavelet(problem: Problem, lam: float | Float[Array, ""], *, n_iter: int, wavelet: str):
    # the same shifts each time: equal data give equal images
    return l1_wavelet_cycle_spun(problem, lam=lam, n_iter=n_iter, wavelet=wavelet, key=jax.random.key(0))


def _tv(problem: Problem, lam: float | Float[Array, ""], *, n_iter: int, **_):
    return total_variation(problem, lam=lam, n_iter=n_iter)


METHODS: dict[str, Method] = {
    "zero-filled": Method(_zero_filled, "A^H y"),
    "rss": Method(_rss, "root of the sum of squares, no maps", maps=False),
    "cg-sense": Method(_cg_sense, "least squares by conjugate gradients", lam=0.01, n_iter=30),
    "l1-wavelet": Method(
        _l1_wavelet, "sparsity in wavelets by FISTA, their grid shifted at random", lam=0.003, n_iter=100, wavelet=True
    ),
    "tv": Method(_tv, "total variation by ADMM", lam=0.002, n_iter=300),
}
"""Name -> method; each lam, in units of the data's scale, was chosen by eye on real data and by NMSE on simulated heads: where
to begin. `jaxrecon.recon.find_lam` finds that of your own data."""
