import jax
import jax.numpy as jnp
import numpy as np
from golden_case import UnknownAlgorithmError

from golden_cases.names import from_tree, to_tree
from jaxrecon import metrics, models, nn, strategies
from jaxrecon.complex_ops import magnitude
from jaxrecon.fourier import fftc
from jaxrecon.models.modl import MoDLConfig, modl, regularized_solve
from jaxrecon.models.pgd import PGDConfig, pgd
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem

PADDING = {"reflect": "reflect", "replicate": "edge", "zeros": "zeros"}


def pgd_model(config):
    """(model, network of one step, its reference names) of a configuration of a file."""
    in_time = config["ndim"] == 3
    order, padding = ("conv, act", "replicate") if in_time else ("act, conv", "reflect")
    expect(config, order=order, conv_padding=padding, final_conv_padding="zeros", kernel_size=3, step_learned=False)
    expect(config, order_in_step="data consistency, network", global_residual=True)
    settings = PGDConfig(
        n_steps=config["N"],
        features=config["nf"],
        blocks=config["num_res_blocks"],
        ndim=config["ndim"],
        shared=config["share_weights"],
        step_size=config["step"] / 2,
        circular_time=config["circular_time_padding"],
    )
    layer = 0 if in_time else 1  # position of the convolution in its block
    names = {}
    for i in range(settings.blocks):
        for j in range(2):
            names[f"res_blocks.{i}.layers.{j}.layers.{layer}.weight"] = f"net/params/block_{i}/conv_{j}/kernel"
    for reference, own in (("res_blocks.0.resample", "block_0/shortcut"), ("final_layer", "out")):
        names[f"{reference}.weight"] = f"net/params/{own}/kernel"
        names[f"{reference}.bias"] = f"net/params/{own}/bias"
    return (
        pgd(settings),
        nn.ResNet(
            settings.features,
            settings.blocks,
            settings.ndim,
            PADDING[config["conv_padding"]],
            activation_first=not in_time,
        ),
        names,
    )


def modl_model(config, inverse_iters=5):
    """As `pgd_model`; the network is N, without the residual connection."""
    expect(config, kernel_size=3, order="conv, act (none after the last)", order_in_step="network, data consistency")
    expect(config, cg_start="input of the step", cg_inner_product="joint over the batch", lam_learned=False)
    expect(config, circular_time_padding=False, global_residual=True)
    settings = MoDLConfig(
        n_steps=config["N"],
        features=config["nf"],
        layers=config["conv_layers"],
        ndim=config["ndim"],
        padding=PADDING[config["conv_padding"]],
        norm="none",
        glorot=False,
        shared=config["share_weights"],
        lam=config["lam"],
        learn_lam=False,
        cg_iters=config["cg_iters"],
        warm_start=True,
        joint_batch=True,
        inverse_iters=inverse_iters,
    )
    names = {f"model.conv{i + 1}.net.1.weight": f"net/params/conv_{i}/kernel" for i in range(settings.layers)}
    net = nn.CNN(settings.features, settings.layers, settings.ndim, settings.padding)
    return modl(settings), net, names


def problem_and_target(case, config, prefix="in/"):
    """A batch of problems (y, x) or (frame, y, x) from k-space (B, Y, Z[, T], C), centred, and the target."""
    expect(config, fft_axes="Y, Z", fft_norm="ortho")
    in_time = config["ndim"] == 3
    kspace, maps, mask = (case[prefix + name] for name in ("kspace", "maps", "mask"))
    kspace = np.moveaxis(kspace, -1, 1)  # (B, C, Y, Z[, T])
    maps = np.moveaxis(maps[..., 0], -1, 1)
    mask = mask[..., 0]
    if in_time:
        kspace = np.moveaxis(kspace, -1, 1)  # (B, T, C, Y, Z)
        mask = np.moveaxis(mask, -1, 1)[:, :, None]
        assert np.all(maps == maps[..., :1]), "maps that change in time"
        maps = maps[..., 0]
    if config["fft"] == "uncentred":
        # the same image in centred k-space; the sampled positions move with the shift
        kspace = jax.jit(lambda kspace: fftc(jnp.fft.ifft2(kspace, norm="ortho")))(kspace)
        mask = np.fft.fftshift(mask, (-2, -1))
    elif config["fft"] != "centred":
        raise UnknownAlgorithmError(f"fft {config['fft']}")
    problem = Problem(kspace, CartesianSense(maps, mask))
    return jax.tree.map(jnp.asarray, (problem, own_image(case[prefix + "target"], in_time)))


def own_image(x, in_time):
    """(B, Y, Z[, T], 1) to (B, [frame,] y, x)."""
    return np.moveaxis(x[..., 0], -1, 1) if in_time else x[..., 0]


def reference_image(x, in_time):
    """The inverse of `own_image`."""
    x = np.asarray(x)
    return (np.moveaxis(x, 1, -1) if in_time else x)[..., None]


def complex_l1(image, target):
    return jnp.mean(magnitude(image - target))


def load_steps(weights, names, config):
    """Weights resnets.{i}.* to the steps' parameters."""
    prefixes = ["resnets.0."] if config["share_weights"] else [f"resnets.{i}." for i in range(config["N"])]
    trees = [to_tree({k.removeprefix(p): v for k, v in weights.items() if k.startswith(p)}, names) for p in prefixes]
    trees = [spatial(tree, config, to_own=True) for tree in trees]
    return trees[0] if config["share_weights"] else jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def name_steps(steps, names, config):
    """The inverse of `load_steps`."""
    steps = jax.device_get(steps)
    trees = [steps] if config["share_weights"] else models.unstack_steps(steps)
    return {
        f"resnets.{i}.{name}": array
        for i, tree in enumerate(trees)
        for name, array in from_tree(spatial(tree, config, to_own=False), names).items()
    }


def spatial(tree, config, *, to_own):
    """In time the reference's kernel axes are (t, z, y), where y, z are our y, x: swap the last two."""
    if config["ndim"] == 2:
        return tree
    return jax.tree.map(lambda a: a.swapaxes(1, 2) if a.ndim == 5 else a, tree)


def whole(build):
    def handler(case):
        config = case.config
        expect(config, loss="mean |pred - target| (complex modulus)")
        in_time = config["ndim"] == 3
        single, net, names = build(config)
        model = models.batched(single)
        problem, target = problem_and_target(case, config)
        steps = load_steps(case.weights, names, config)

        def evaluate(steps, problem, target, x):
            params = {"start": {}, "steps": steps}
            pictures = models.run(model, params, problem, every_step=True)
            image, zero_filled = pictures[-1], jax.vmap(lambda p: p.op.adjoint(p.kspace))(problem)
            loss = complex_l1(image, target)
            over_examples = lambda f: jnp.mean(jax.vmap(f)(target, image))
            images = {
                "zf": zero_filled,
                "normal_of_zf": jax.vmap(lambda p, x: p.op.normal(x))(problem, zero_filled),
                "pred": image,
                # early exit
                **{f"pred_ninf{n}": pictures[n - 1] for n in range(1, config["N"])},
            }
            scores = {
                "loss": loss,
                "l1": loss,
                "l2": over_examples(metrics.rmse),
                "nrmse": over_examples(metrics.nrmse),
                "psnr": over_examples(lambda t, x: metrics.psnr(t, x, data_range=jnp.max(jnp.abs(t)))),
                "mag_l1": jnp.mean(jnp.abs(jnp.abs(image) - jnp.abs(target))),
            }
            return loss, (images, scores, network(x, net, steps, config))

        gradient = jax.jit(jax.value_and_grad(evaluate, has_aux=True))
        (_, (images, scores, prox)), grads = gradient(steps, problem, target, case["prox/in"])
        out = {f"out/{name}": value for name, value in scores.items()} | {"prox/out": prox}
        out |= {f"out/{name}": reference_image(image, in_time) for name, image in images.items()}
        return out | {f"grad/{name}": value for name, value in name_steps(grads, names, config).items()}

    return handler


def network(x, net, steps, config):
    """The network of step 0 alone on real (B, 2, Y, Z) or (B, 2, T, Z, Y), with the residual connection."""
    theta = steps if config["share_weights"] else jax.tree.map(lambda a: a[0], steps)
    x = jnp.moveaxis(x, 1, -1)
    if config["ndim"] == 3:
        x = x.swapaxes(2, 3)
    wrap = 2 * config["num_res_blocks"] + 1 if config["circular_time_padding"] else 0
    if wrap:
        x = jnp.pad(x, [(0, 0), (wrap, wrap), (0, 0), (0, 0), (0, 0)], "wrap")
    y = net.apply(theta["net"], x) + (x if isinstance(net, nn.CNN) else 0)
    y = y[:, wrap : y.shape[1] - wrap]
    return jnp.moveaxis(y.swapaxes(2, 3) if config["ndim"] == 3 else y, -1, 1)


def mel_block(case):
    """The inverse of a MoDL step, in parts and as a whole: gradients by inversion are those of backpropagation."""
    config = case.config
    expect(config, module="modl", share_weights=False, loss="mean |pred - target| (complex modulus)")
    single, net, names = modl_model(config, inverse_iters=max(config["fixed_point_iterations"]))
    model = models.batched(single)
    problem, target = problem_and_target(case, config)
    steps = load_steps(case.weights, names, config)
    grad_fn = strategies.invertible(n_checkpoints=0)(model, complex_l1)

    def evaluate(steps, problem, target, x, z):
        params = {"start": {}, "steps": steps}
        (value, _), grads = grad_fn(params, problem, target)
        images = {"out/pred": models.run(model, params, problem)} | _cg(config, problem, z)
        block = _block(config, net, jax.tree.map(lambda a: a[0], steps)["net"], x)
        return value, grads["steps"], images, block

    inputs = np.moveaxis(case["block/in"], 1, -1), own_image(case["cg/z"], False)
    value, grads, images, (block, jacobians) = jax.device_get(jax.jit(evaluate)(steps, problem, target, *inputs))
    out = {"out/loss": value, "block/jac_spectral_norm": max(np.linalg.norm(j, 2) for j in jacobians)}
    out |= {name: reference_image(image, False) for name, image in images.items()}
    out |= {f"block/{name}": np.moveaxis(features, -1, 1) for name, features in block.items()}
    return out | {f"grad/{k}": v for k, v in name_steps(grads, names, config).items()}


def _block(config, net, theta, x):
    """x -> x + g(x), its fixed-point inverses from its output; and its Jacobian at the input, of each example.

    Examples do not mix: the norm of the batch's Jacobian is the largest of theirs.
    """
    g = lambda v: net.apply(theta, v)
    y = x + g(x)
    _, inverses = jax.lax.scan(lambda v, _: (y - g(v),) * 2, y, length=max(config["fixed_point_iterations"]))
    out = {"step": g(x), "out": y}
    out |= {f"reverse_T{n}": inverses[n - 1] for n in config["fixed_point_iterations"]}
    return out, jax.vmap(jax.jacrev(g))(x).reshape(len(x), x[0].size, -1)


def _cg(config, problem, z):
    lam = config["lam"]

    def solve(p, z):
        zero_filled = p.op.adjoint(p.kspace)
        rhs = zero_filled + lam * z
        x = regularized_solve(p.op.normal, rhs, lam, x0=zero_filled, n_iter=config["cg_iters"])
        converged = regularized_solve(p.op.normal, rhs, lam, x0=zero_filled, n_iter=config["converged_cg_iters"])
        inverse = (p.op.normal(x) + lam * x - zero_filled) / lam
        return {"cg/x0": zero_filled, "cg/x": x, "cg/inverse_eq11": inverse, "cg/x_converged": converged}

    return jax.vmap(solve)(problem, z)


def expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


HANDLERS = {
    ("gleam", "pgd"): whole(pgd_model),
    ("gleam", "modl"): whole(modl_model),
    ("gleam", "mel_block"): mel_block,
}
