"""A tiny unrolled network with data, and a run of it that a test may kill: `python -m support.toy_run OUT N_UPDATES`."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrecon.data.pipeline import batches
from jaxrecon.data.preparation import Preparation, combined_target, top_magnitude
from jaxrecon.data.scan import Slice
from jaxrecon.models import batched, unrolled
from jaxrecon.strategies import end_to_end
from jaxrecon.training import Every, RunFolder, Scores, fit, from_grad_fn, losses

COILS, Y, X = 2, 9, 8


def toy(*, n_steps=3, shared=False):
    """x <- x + a tanh(x) - t (A^H A x - A^H y), with noise of the problem's key where it has one."""

    def start(_, problem):
        image = problem.op.adjoint(problem.kspace)
        return image, (problem.op, image, problem.key)

    def step(theta, x, context, i):
        op, zero_filled, key = context
        x = x + theta["a"] * jnp.tanh(x.real) - theta["t"] * (op.normal(x) - zero_filled)
        return x if key is None else x + 0.01 * jax.random.normal(jax.random.fold_in(key, i), x.shape)

    def init_step(key, image, context):
        return {"a": 0.1 * jax.random.normal(key, ()), "t": jnp.asarray(0.5)}

    return unrolled(
        n_steps=n_steps,
        shared=shared,
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda x, _: x,
    )


def slices(n, *, coils=COILS, shape=(Y, X), file="", seed=0):
    rng = np.random.default_rng(seed)

    def draw(*size):
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)

    return [Slice(kspace=draw(coils, *shape), maps=draw(coils, *shape), index=i, file=file) for i in range(n)]


def half_of_the_columns(part, rng):
    mask = rng.random(part.kspace.shape[-1]) < 0.5
    mask[len(mask) // 2] = True
    return mask


PREPARATION = Preparation(mask=half_of_the_columns, target=combined_target, scale=top_magnitude, keys=True)


@functools.cache
def training_step():
    """Initial weights and the training step of a batch, compiled once for all runs of a process."""
    model = batched(toy())
    update = from_grad_fn(end_to_end()(model, losses.complex_l1), optax.adam(1e-3), ema_decay=0.9)
    return jax.jit(model.init), update


def train(out, n_updates, *, update=None, **options):
    """A run with everything on: EMA, evaluation, best checkpoint, keys, shuffled data read by threads."""
    init, own = training_step()
    data = batches(slices(7), PREPARATION, batch_size=2, seed=3)
    problem, _ = next(iter(data))
    return fit(
        update or own,
        init(jax.random.key(1), problem),
        data,
        out=RunFolder(out, config={"model": "toy"}, best=("a", "max")),
        n_updates=n_updates,
        evaluate=lambda params: Scores({"a": float(params["steps"]["a"].sum())}),
        every=Every(evaluate=6, checkpoint=3, log=2),
        **{"progress": False, **options},
    )


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
