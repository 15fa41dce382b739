import jax
import jax.numpy as jnp
import optax

from golden_cases import gleam as networks
from golden_cases.gleam import complex_l1, expect, load_steps, name_steps, problem_and_target, reference_image
from jaxrecon import models, strategies


def gleam_step(case):
    """Training steps of GLEAM: losses, gradients and parameters of all modules after each."""
    config = case.config
    expect(config, loss="mean |pred - target| (complex modulus)")
    expect(config, optimizer="Adam with L2 weight decay (added to the gradient)")
    single, _, names = {"pgd": networks.pgd_model, "modl": networks.modl_model}[config["module"]](config)
    model, n_modules = models.batched(single), config["M"]
    adam = optax.adam(config["lr"], *config["betas"], eps=config["eps"])
    tx = strategies.per_module(optax.chain(optax.add_decayed_weights(config["weight_decay_l2"]), adam), n_modules)
    params = {"start": {}, "steps": load_steps(case.weights, names, config)}
    state, out = tx.init(params), {}
    grad_fn = jax.jit(strategies.gleam(n_modules)(model, complex_l1))
    for s in range(config["training_steps"]):
        problem, target = problem_and_target(case, config, prefix=f"in{s}/")
        (_, aux), gradients = grad_fn(params, problem, target)
        pictures = models.run(model, params, problem, every_step=True)
        for m in range(n_modules):
            last = (m + 1) * (config["N"] // n_modules) - 1
            out[f"step{s}/pred{m}"] = reference_image(pictures[last], config["ndim"] == 3)
        out[f"step{s}/loss"] = aux["losses"]
        out |= {f"step{s}/grad/{k}": v for k, v in name_steps(gradients["steps"], names, config).items()}
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        out |= {f"step{s}/w/{k}": jnp.asarray(v) for k, v in name_steps(params["steps"], names, config).items()}
    return out


HANDLERS = {("gleam", "gleam_step"): gleam_step}
