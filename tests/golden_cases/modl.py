import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from golden_case import UnknownAlgorithmError

from jaxrecon import models, nn
from jaxrecon.classical.cg import cg_start, cg_step
from jaxrecon.complex_ops import abs2, from_channels, to_channels
from jaxrecon.models.modl import MoDLConfig, modl, regularized_solve
from jaxrecon.models.unrolled import BATCH_AXIS
from jaxrecon.operators import CartesianSense, LinearOperator, Sense
from jaxrecon.problem import Problem


@struct.dataclass
class Combined(LinearOperator):
    """A given by its normal operator: measured data are A^H b, already combined."""

    op: Sense

    def forward(self, x):
        raise NotImplementedError

    def adjoint(self, y):
        return y

    def normal(self, x):
        return self.op.normal(x)


def dc_block(case):
    config = case.config
    _expect(config, cg_start="zero", gradient="unrolled", cg_tol_kind="absolute, squared residual norm")
    rhs, op = from_channels(case["rhs"]), _op(config, case)
    # the constant of the configuration itself: `lam` in the file is rounded to single precision
    lam = np.asarray(config["lam"], rhs.real.dtype)
    options = dict(n_iter=config["cg_max_iter"], tolerance=config["cg_tol"])

    def iterations(op, b, lam):
        """How many the reference makes: until the residual is small."""
        normal = lambda x: op.normal(x) + lam * x
        going = lambda carry: (carry[1] < config["cg_max_iter"]) & (carry[0].rr > config["cg_tol"])
        return jax.lax.while_loop(
            going, lambda carry: (cg_step(normal, carry[0]), carry[1] + 1), (cg_start(normal, b), 0)
        )[1]

    def evaluate(rhs, lam, op, cotangent):
        def solve(rhs, lam, **options):
            return jax.vmap(lambda op, b: regularized_solve(op.normal, b, lam, **options))(op, rhs)

        out = solve(rhs, lam, **options)
        weighted = lambda *args: jnp.sum(cotangent * to_channels(solve(*args, **options)))
        grads = jax.grad(weighted, (0, 1))(rhs, lam)
        return {
            "out": to_channels(out),
            "out_f64_numpy": out,
            "solution": solve(rhs, lam, n_iter=400),
            "grad_rhs": to_channels(jnp.conj(grads[0])),
            "grad_lam": grads[1],
            "iterations": jax.vmap(iterations, (0, 0, None))(op, rhs, lam),
        }

    return jax.jit(evaluate)(rhs, lam, op, case["cotangent"])


def implicit_grad(case):
    config = case.config
    _expect(config, solve="exact (converged)", gradient_convention="dL/dRe + i dL/dIm")
    op, rhs, v = _op(config, case), jnp.asarray(case["rhs"]), case["cotangent"]
    lam = jnp.asarray(config["lam"], rhs.real.dtype)

    def loss(rhs, maps, lam):
        normal = op.replace(maps=maps).normal
        x = regularized_solve(normal, rhs, lam, n_iter=2 * rhs.size, implicit=True)
        return jnp.sum(x.real * v.real + x.imag * v.imag), x

    (value, x), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(rhs, op.maps, lam)
    return {
        "x": x,
        "loss": value,
        "grad_rhs": jnp.conj(grads[0]),
        "grad_csm": jnp.conj(grads[1]),
        "grad_lam": grads[2],
    }


def model(case):
    """Whole networks, with the statistics of the batch (training) or the moving averages."""
    config = case.config
    _expect(config, gradient="unrolled", loss="sum over batch of squared error, mean over H, W, 2")
    network, settings, params, problem = _setup(case)
    names, stat_names = _weight_names(settings)
    target = from_channels(case["org"])

    def loss(params, problem):
        out, pictures, carry = _unrolls(network, settings, params, problem)
        return jnp.sum(jnp.mean(abs2(pictures[-1] - target), (1, 2))) / 2, (out, carry)

    (value, (out, carry)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, problem)
    out |= {"loss": value} | {f"grad/{name}": _leaf(grads["steps"], path) for name, path in names.items()}
    if config["training"]:
        after = network.absorb(params, carry)["start"]
        out |= {f"after/{name}": _leaf(after, path) for name, path in stat_names.items()}
    return out


def trained_check(case):
    network, settings, params, problem = _setup(case)
    out = jax.jit(lambda params, problem: _unrolls(network, settings, params, problem)[0])(params, problem)
    return out | {"out": out[f"dc{settings.n_steps}"]}


def _setup(case):
    config = case.config
    if config["norm"] == "batch":
        _expect(config, bn_eps=nn.BatchNorm.eps, bn_momentum=nn.BatchNorm.momentum)
    _expect(config, conv_padding="same, zeros", kernel_size=3, share_weights=True, cg_start="zero")
    _expect(config, cg_tol_kind="absolute, squared residual norm")
    settings = MoDLConfig(
        n_steps=config["K"],
        features=config["features"],
        layers=config["layers"],
        bias=config["conv_bias"],
        norm=("batch" if config["training"] else "frozen") if config["norm"] == "batch" else "none",
        cg_iters=config["cg_max_iter"],
        cg_tolerance=config["cg_tol"],
    )
    names, stat_names = _weight_names(settings)
    params = {"start": _tree(case.weights, stat_names), "steps": _tree(case.weights, names)}
    problem = Problem(from_channels(case["atb"]), Combined(_op(config, case)))
    return models.batched(modl(settings)), settings, params, problem


def _unrolls(network, settings, params, problem):
    """(what the file has of each unroll: the network's and CG's output, the images after all unrolls, the last carry)."""
    pictures, carry, _ = models.run(network, params, problem, every_step=True, carry=True)
    out = {f"dc{k + 1}": to_channels(image) for k, image in enumerate(pictures)}
    inputs = to_channels(jnp.concatenate([problem.kspace[None], pictures[:-1]]))
    seen = inputs + jax.vmap(lambda x: _network(settings, params, x))(inputs)
    return out | {f"dw{k + 1}": image for k, image in enumerate(seen)}, pictures, carry


def _network(settings, params, x):
    net = nn.CNN(settings.features, settings.layers, norm=settings.norm, bias=settings.bias, batch_axis=BATCH_AXIS)
    variables = params["steps"]["net"] | params["start"]
    return jax.vmap(lambda x: net.apply(variables, x, mutable=["batch_stats"])[0], axis_name=BATCH_AXIS)(x)


def _weight_names(settings):
    """TensorFlow's names beside the paths in steps and in start."""
    steps, start = {"Wts/lam1:0": "lam"}, {}
    for i in range(settings.layers):
        layer, own = f"Wts/Layer{i + 1}", "net/params"
        steps[f"{layer}/W:0"] = f"{own}/conv_{i}/kernel"
        if settings.bias:
            steps[f"{layer}/b:0"] = f"{own}/conv_{i}/bias"
        if settings.norm != "none":
            steps[f"{layer}/BN/gamma:0"] = f"{own}/norm_{i}/scale"
            steps[f"{layer}/BN/beta:0"] = f"{own}/norm_{i}/bias"
            start[f"{layer}/BN/moving_mean:0"] = f"batch_stats/norm_{i}/mean"
            start[f"{layer}/BN/moving_variance:0"] = f"batch_stats/norm_{i}/var"
    return steps, start


def _tree(weights, names):
    tree: dict = {}
    for name, path in names.items():
        *folders, leaf = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = jnp.asarray(weights[name])
    return tree


def _leaf(tree, path):
    for part in path.split("/"):
        tree = tree[part]
    return tree


def _op(config, case):
    """The uncentred operator as a centred one: A^H A is the same with the mask shifted."""
    mask = case["mask"]
    if config["fft"] == "uncentred":
        mask = np.fft.fftshift(mask, (-2, -1))
    elif config["fft"] != "centred":
        raise UnknownAlgorithmError(f"fft {config['fft']}")
    _expect(config, fft_norm="ortho")
    return CartesianSense(jnp.asarray(case["csm"]), jnp.asarray(mask))


def _expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


HANDLERS = {
    ("modl", "dc_block"): dc_block,
    ("modl", "implicit_grad"): implicit_grad,
    ("modl", "model"): model,
    ("modl", "trained_check"): trained_check,
}
