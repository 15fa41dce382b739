import jax
import optax
from golden_case import measure

from golden_cases import gleam as networks
from golden_cases.gleam import complex_l1, expect, load_steps, name_steps, problem_and_target, reference_image
from jaxrecon import models, strategies


def gleam_step(case):
    """Training steps of GLEAM: losses, gradients and parameters of all modules after each, by gleam and by p_gleam.

    Where both have an output, the one that is farther from the reference is handed over. The schedules are compared in
    double precision alone, whose tolerance is the sharper one: each is a program of its own to compile.
    """
    config = case.config
    expect(config, loss="mean |pred - target| (complex modulus)")
    expect(config, optimizer="Adam with L2 weight decay (added to the gradient)")
    single, _, names = {"pgd": networks.pgd_model, "modl": networks.modl_model}[config["module"]](config)
    model, n_modules = models.batched(single), config["M"]
    adam = optax.adam(config["lr"], *config["betas"], eps=config["eps"])
    tx = optax.chain(optax.add_decayed_weights(config["weight_decay_l2"]), adam)
    params = {"start": {}, "steps": load_steps(case.weights, names, config)}
    batches = [problem_and_target(case, config, prefix=f"in{s}/") for s in range(config["training_steps"])]

    def weights(params, s):
        return {f"step{s}/w/{k}": v for k, v in name_steps(params["steps"], names, config).items()}

    candidates = [_by_gleam(model, n_modules, tx, params, batches, weights, names, config)]
    for schedule in ("pipeline", "algorithm2", "spmd", "pmap") if case.precision == "float64" else ():
        # one device: tests/strategies/test_p_gleam.py has the others
        mesh = strategies.module_mesh(1)
        update = strategies.p_gleam(n_modules, mesh, tx, schedule=schedule)(model, complex_l1)
        state, out = update.init(params, jax.random.key(0)), {}
        for s, (problem, target) in enumerate(batches):
            state, metrics = update(state, problem, target)
            out |= {f"step{s}/loss": metrics["losses"], **weights(state.params, s)}
        candidates.append(out)
    return {name: _farthest(case, name, [c[name] for c in candidates if name in c]) for name in candidates[0]}


def _by_gleam(model, n_modules, tx, params, batches, weights, names, config):
    tx, out = strategies.per_module(tx, n_modules), {}
    grad_fn = strategies.gleam(n_modules)(model, complex_l1)

    @jax.jit
    def update(params, state, problem, target):
        (_, aux), gradients = grad_fn(params, problem, target)
        updates, state = tx.update(gradients, state, params)
        pictures = models.run(model, params, problem, every_step=True)
        return optax.apply_updates(params, updates), state, aux["losses"], gradients, pictures

    state = jax.jit(tx.init)(params)
    for s, (problem, target) in enumerate(batches):
        params, state, losses, gradients, pictures = update(params, state, problem, target)
        for m in range(n_modules):
            last = (m + 1) * (config["N"] // n_modules) - 1
            out[f"step{s}/pred{m}"] = reference_image(pictures[last], config["ndim"] == 3)
        out[f"step{s}/loss"] = losses
        out |= {f"step{s}/grad/{k}": v for k, v in name_steps(gradients["steps"], names, config).items()}
        out |= weights(params, s)
    return out


def _farthest(case, name, values):
    return max(values, key=lambda value: measure(case.tolerance(name)[1], value, case.file[name]))


HANDLERS = {("gleam", "gleam_step"): gleam_step}
