"""A toy network of every kind and its loss, for the tests of strategies."""

import functools

import jax
import jax.numpy as jnp

from jaxrecon.models import unrolled

N = 4


def toy(*, shared=False, learned_start=False, n_steps=N):
    """x <- x + 0.3 (a tanh(x) - t (A^H A x - A^H y)), invertible by fixed-point iteration; `start` may scale the maps."""
    return _toy(shared, learned_start, n_steps)


@functools.cache
def _toy(shared, learned_start, n_steps):
    def start(params, problem):
        op = problem.op
        if learned_start:
            op = op.replace(maps=op.maps * params["scale"])
        image = op.adjoint(problem.kspace)
        # an integer and a random key in the context have no gradient, and must not be in the way
        return image, (op, image, jnp.int32(7), jax.random.key(0))

    def step(theta, x, context, i):
        op, zero_filled, *_ = context
        change = (theta["a"] * jnp.tanh(x.real) + 1j * theta["b"] * x.imag) * (1 + 0.1 * i)
        # 0.3: a contraction for any parameters within 0 and 1
        return x + 0.3 * (change - theta["t"] * (op.normal(x) - zero_filled))

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
