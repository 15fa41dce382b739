"""Compiled programs that tests share: problems and parameters are arguments, so that a model makes one program of a kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon import models
from jaxrecon.complex_ops import magnitude
from jaxrecon.strategies import blockwise, checkpointed, deep_supervision, end_to_end, gleam, invertible

run = jax.jit(models.run, static_argnames=("model", "n_steps", "every_step", "loop", "carry"))


def mean_error(image, target):
    """A loss of complex and of real images."""
    return jnp.mean(magnitude(image - target))


@functools.cache
def strategy(name, n_steps):
    """A strategy by its name, for a model of so many steps."""
    return {
        "end_to_end": end_to_end,
        "end_to_end loop": lambda: end_to_end(loop=True),
        "checkpointed": checkpointed,
        "deep_supervision": lambda: deep_supervision((0.0,) * (n_steps - 1) + (1.0,), underneath=checkpointed()),
        "blockwise": lambda: blockwise(n_steps // 2, n_steps - 1),
        "gleam 1": lambda: gleam(1),
        "gleam N": lambda: gleam(n_steps),
        "invertible": lambda: invertible(0),
    }[name]()


@functools.cache
def gradient(name, model, loss=mean_error):
    """The compiled GradFn of a strategy, by its name."""
    return jax.jit(strategy(name, model.n_steps)(model, loss))


def relative(own, expected):
    """Norm of the difference over the norm of the expected tree."""
    flat = lambda tree: np.concatenate([np.ravel(a) for a in jax.tree.leaves(jax.device_get(tree))])
    return np.linalg.norm(flat(own) - flat(expected)) / np.linalg.norm(flat(expected))


def assert_trees_close(a, b, tolerance):
    for x, y in zip(*map(jax.tree.leaves, jax.device_get((a, b))), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * (np.abs(y).max() + 1e-3))


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(tree)))
