"""A toy network of every kind, its problem and loss, for the tests of strategies."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.models import unrolled
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem

N, Y, X, COILS = 4, 9, 8, 3


def toy(*, shared=False, learned_start=False, n_steps=N):
    """x <- x + tanh(a x) - t (A^H A x - A^H y), invertible by fixed-point iteration; `start` may scale the maps."""

    def start(params, problem):
        op = problem.op
        if learned_start:
            op = op.replace(maps=op.maps * params["scale"])
        image = op.adjoint(problem.kspace)
        # an integer and a random key in the context have no gradient, and must not be in the way
        return image, (op, image, jnp.int32(7), jax.random.key(0))

    def step(theta, x, context, i):
        op, zero_filled, *_ = context
        change = theta["a"] * jnp.tanh(x.real) + 1j * theta["b"] * x.imag
        return x + change * (1 + 0.1 * i) - theta["t"] * (op.normal(x) - zero_filled)

    def inverse(theta, x, context, i):
        def body(v, _):
            return v + x - step(theta, v, context, i), None

        return jax.lax.scan(body, x, length=60)[0]

    def init_step(key, carry, context):
        a, b = 0.1 * jax.random.normal(key, (2,))
        return {"a": a, "b": b, "t": jnp.asarray(0.2)}

    return unrolled(
        n_steps=n_steps,
        shared=shared,
        init_step=init_step,
        init_start=(lambda key, problem: {"scale": jnp.asarray(0.9)}) if learned_start else None,
        start=start,
        step=step,
        finish=lambda x, context: x,
        inverse=inverse,
    )


def mean_square(x, target):
    return jnp.mean(jnp.abs(x - target) ** 2)


def make_problem(seed):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    mask = jnp.asarray(rng.random((1, X)) < 0.6, float)
    return Problem(draw(COILS, Y, X) * mask[None], CartesianSense(0.4 * draw(COILS, Y, X), mask)), draw(Y, X)


def assert_trees_close(a, b, tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * float(jnp.abs(y).max() + 1e-3))
