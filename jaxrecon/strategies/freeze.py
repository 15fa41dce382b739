"""Leaves that an optimizer leaves alone."""

from collections.abc import Sequence

import jax
import optax

from ..trees import is_named, leaf_name


def freeze(
    tx: optax.GradientTransformation, patterns: Sequence[str], *, part: str = ""
) -> optax.GradientTransformation:
    """Leave some leaves alone: no update, no weight decay, no part in a clipping norm.

    Args:
      tx: the optimizer of the others; it is returned as it is where there are no patterns.
      patterns: of the names of leaves, such as "start/batch_stats/norm_0/mean", or of folders of them: see
        `Unrolled.untrained`.
      part: what stands before the names of its leaves, where it is the optimizer of a part of the parameters, as "start/".

    Example:
      >>> params = {"prompt": jnp.ones(2), "kernel": jnp.ones(2)}
      >>> tx = freeze(optax.sgd(1.0), ["prompt"])
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> updates["prompt"].tolist(), updates["kernel"].tolist()
      ([0.0, 0.0], [-1.0, -1.0])
    """
    if not patterns:
        return tx

    def labels(params):
        def label(path, _):
            return "frozen" if is_named(f"{part}{leaf_name(path)}", patterns) else "trained"

        return jax.tree_util.tree_map_with_path(label, params)

    return optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, labels)
