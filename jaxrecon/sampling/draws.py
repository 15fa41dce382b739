"""Drawing a given number of positions: uniformly, or with weights such as a Gaussian density."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from ..typing import AnyArray, Key
from .acs import RANDOM_DTYPE


def normal_log_mass(n: int) -> Float[np.ndarray, " x"]:
    """Logarithm of P(i <= X < i + 1), X ~ Normal(n//2, 6 sqrt(n//2)): the draws rounded down."""
    edges = (np.arange(n + 1) - n // 2) / (6 * math.sqrt(max(n // 2, 1)) * math.sqrt(2))
    # the smaller of the two tails is exact
    upper, lower = (np.array([math.erfc(s * e) for e in edges]) for s in (1, -1))
    mass = np.where(edges[:-1] >= 0, upper[:-1] - upper[1:], lower[1:] - lower[:-1])
    return np.log(np.maximum(mass, np.finfo(float).tiny))


def draw_weighted(key: Key, log_weight: Float[np.ndarray, "*axes"], excluded, count) -> Bool[Array, "*axes"]:
    """Exactly `count` positions (traced or not), none of `excluded`, drawn in turn with the given weights."""
    score = jax.random.gumbel(key, log_weight.shape, RANDOM_DTYPE) + jnp.asarray(log_weight, RANDOM_DTYPE)
    return first_ranks(-score, excluded, count)


def first_ranks(score: Real[Array, "*axes"], excluded: Bool[AnyArray, "*axes"], count) -> Bool[Array, "*axes"]:
    """The `count` positions (traced or not) of lowest score, none of `excluded`."""
    order = jnp.argsort(jnp.where(excluded, jnp.inf, score).reshape(-1), stable=True)
    rank = jnp.zeros(score.size, jnp.int32).at[order].set(jnp.arange(score.size, dtype=jnp.int32))
    return (rank < count).reshape(score.shape) & ~excluded


def outer_count(n: int, n_low: int, acceleration: float) -> int:
    """DIRECT's number of positions added to the ACS."""
    return max(round(n / acceleration - n_low - 1) + 1, 0)
