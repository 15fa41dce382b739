"""Greedy training written out: one module at a time, its inputs detached."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def module_gradient(model, n_steps, loss):
    """The gradient of a module of so many steps.

    (start parameters, theta, carry, first, problem, target) -> ((loss, carry), gradients of the first two); `first` is the
    number of the module's first step, and where it is 0 the carry is that of `start`.
    """

    def local(start_params, theta, carry, first, problem, target):
        begun, context = model.start(start_params, problem)
        carry = jax.tree.map(lambda a, b: jnp.where(first == 0, a, b), begun, carry)

        def step(carry, scanned):
            i, one = scanned
            return model.step(theta if model.shared else one, carry, context, i), None

        carry, _ = jax.lax.scan(step, carry, (first + jnp.arange(n_steps), None if model.shared else theta))
        return loss(model.finish(carry, context), target), carry

    return jax.jit(jax.value_and_grad(local, (0, 1), has_aux=True))


def no_carry(model, start_params, problem):
    """Zeros in the place of a carry, for the first module."""
    carry, _ = jax.eval_shape(model.start, start_params, problem)
    return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), carry)


def greedy_gradients(model, params, problem, target, *, n_modules, loss):
    """(losses of the modules, gradients): what GLEAM's are to be."""
    per = model.n_steps // n_modules
    gradient = module_gradient(model, per, loss)
    carry, losses, of_start, of_steps = no_carry(model, params["start"], problem), [], [], []
    for m in range(n_modules):
        theta = jax.tree.map(lambda a, m=m: np.asarray(a)[m * per : (m + 1) * per], params["steps"])
        (value, carry), (g_start, g_theta) = gradient(params["start"], theta, carry, m * per, problem, target)
        losses.append(value)
        of_start.append(g_start)
        of_steps.append(jax.device_get(g_theta))
    # `start` learns from the first module only
    steps = jax.tree.map(lambda *g: np.concatenate(g), *of_steps)
    return np.array(losses), {"start": of_start[0], "steps": steps}


def latent_learns(gradients, config):
    """Of PromptMR+, for each step: whether its last layer's channels of the latent have a gradient."""
    out = np.asarray(
        gradients["steps"]["net"]["params"]["unet"]["out"]["kernel"]
    )  # (step, y, x, in, real then imaginary)
    images = out.reshape(*out.shape[:-1], 2, 1 + config.n_buffers, config.n_adjacent)
    assert not images[..., [1, 3, 4], :].any(), "nothing reads these outputs"
    return images[..., 2, :].any((1, 2, 3, 4, 5)).tolist()
