"""The types that make strategies interchangeable, and what they share about trees of parameters."""

from collections.abc import Callable
from typing import Any

import jax

from ..checks import UserError
from ..models.unrolled import Params, Reconstruction, Unrolled
from ..problem import Problem

Target = Any
Metrics = dict[str, jax.Array]
Loss = Callable[[Reconstruction, Target], jax.Array]
"""(reconstruction, target) -> a number (); over a batch where the model is batched."""
GradFn = Callable[[Params, Problem, Target], tuple[tuple[jax.Array, Metrics], Params]]
"""(params, problem, target) -> ((loss, aux), gradients): the signature of jax.value_and_grad(..., has_aux=True)."""
Strategy = Callable[[Unrolled, Loss], GradFn]
"""How the gradient of a model's loss is obtained: the interchangeable part."""


def group_steps(steps: Any, n_groups: int) -> Any:
    """Leaves (N, ...) as (n_groups, N / n_groups, ...).

    Raises:
      ValueError: n_groups does not divide N.
    """

    def group(a):
        if n_groups < 1 or a.shape[0] % n_groups:
            raise UserError(f"{n_groups} groups do not divide the model's {a.shape[0]} steps evenly")
        return a.reshape((n_groups, a.shape[0] // n_groups, *a.shape[1:]))

    return jax.tree.map(group, steps)


def refuse_absorb(model: Unrolled, strategy: str) -> None:
    """Raise ValueError for a model that takes something back from its last carry, which this strategy does not hand on."""
    if model.absorb is not None:
        raise UserError(
            f"{strategy} cannot train batch norm, nor whatever else a network takes back from its last carry (absorb): use "
            "end_to_end or checkpointed, or a network without it"
        )
