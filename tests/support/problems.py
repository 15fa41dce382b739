"""Small problems for the tests of models."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem


def problem(shape=(12, 10), coils=3, frames=None, seed=0, maps=True, dtype=np.complex64):
    """Random image and unit-rss maps; lines sampled 1 in 2 besides a centre of 4, other lines in each frame."""
    rng = np.random.default_rng(seed)
    noise = lambda *s: rng.standard_normal(s) + 1j * rng.standard_normal(s)
    sens = noise(coils, *shape)
    sens = (sens / np.sqrt(np.sum(np.abs(sens) ** 2, 0, keepdims=True))).astype(dtype)
    leading = (frames, 1) if frames else ()
    mask = rng.random((*leading, 1, shape[-1])) < 0.5
    mask[..., shape[-1] // 2 - 2 : shape[-1] // 2 + 2] = True
    op = CartesianSense(jnp.asarray(sens), jnp.asarray(mask, sens.real.dtype))
    image = jnp.asarray(noise(*((frames,) if frames else ()), *shape).astype(dtype))
    return Problem(op.forward(image), op if maps else op.replace(maps=None)), image


def with_mask(given, mask):
    """The same problem with another mask."""
    return given.replace(op=given.op.replace(encoding=given.op.encoding.replace(mask=mask)))


def n_parameters(model, *, maps=True, frames=None, part="steps"):
    """Number of parameters, by shapes alone; part None: all."""
    given, _ = problem((32, 32), frames=frames, maps=maps)
    params = jax.eval_shape(model.init, jax.eval_shape(jax.random.key, 0), given)
    return sum(leaf.size for leaf in jax.tree.leaves(params if part is None else params[part]))
