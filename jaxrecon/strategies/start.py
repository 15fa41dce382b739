"""The start of a network as strategies differentiate it: its parameters learn apart from those of the steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..models.unrolled import Carry, Context, Unrolled
from ..problem import Problem


def has_parameters(tree: Any) -> bool:
    """Whether a PyTree of parameters has any leaf."""
    return bool(jax.tree.leaves(tree))


class Differentiable:
    """The inexact leaves of a PyTree, apart from those that have no gradient (integers, booleans, random keys).

    `leaves` is what can be differentiated, `merge(leaves)` puts them back among the others.
    """

    def __init__(self, tree: Any):
        everything, self._structure = jax.tree.flatten(tree)
        self._is_inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in everything]
        self.leaves = [leaf for leaf, yes in zip(everything, self._is_inexact, strict=True) if yes]
        self.others = [leaf for leaf, yes in zip(everything, self._is_inexact, strict=True) if not yes]

    def merge(self, leaves: list, others: list | None = None) -> Any:
        """The tree with `leaves` as its inexact leaves (and `others` as the rest, by default those it had)."""
        inexact, rest = iter(leaves), iter(self.others if others is None else others)
        return jax.tree.unflatten(self._structure, [next(inexact if yes else rest) for yes in self._is_inexact])


def start_with_pullback(
    model: Unrolled, start_params: Any, problem: Problem
) -> tuple[Carry, Context, Callable[[list], Any]]:
    """Run `start`, and give the function that pulls cotangents of its inexact outputs back to its parameters.

    Args:
      model: the network.
      start_params: parameters of `start`; they may be none.
      problem: what the network is given.

    Returns:
      (carry, context, pull): pull(cotangents of Differentiable((carry, context)).leaves) -> gradient of start_params.
    """
    if not has_parameters(start_params):
        state, context = model.start(start_params, problem)
        return state, context, lambda _: start_params

    shape = jax.eval_shape(model.start, start_params, problem)
    split = Differentiable(shape)

    def leaves_of(start_params):
        out = Differentiable(model.start(start_params, problem))
        return out.leaves, out.others

    leaves, pull, others = jax.vjp(leaves_of, start_params, has_aux=True)
    state, context = split.merge(leaves, others)
    return state, context, lambda cotangents: pull(list(cotangents))[0]
