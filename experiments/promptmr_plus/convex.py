"""The classical methods behind PromptMR+ on a convex problem: gradient descent, adaptive step, momentum.

    python experiments/promptmr_plus/convex.py --out experiments/promptmr_plus/results

min_x 1/2 ||A x - y||^2 + lam/2 ||D x||^2: Cartesian SENSE with few coils and smoothness in space, so that the optimum is
known (conjugate gradients, run to rounding). All start at A^H y.

  gradient descent   x_{t+1} = x_t - eta g_t
  adaptive step      x_{t+1} = x_t - eta g_t - E_t g_t,  E_t = eta_a / sqrt(sum_{s<=t} |g_s|^2 + eps) - eta  (per pixel)
  momentum           v_{t+1} = beta v_t + eta g_t;  x_{t+1} = x_t - v_{t+1}

eta = 1/L, L the largest eigenvalue of the Hessian; eta_a and beta are the best of a grid for the number of iterations. The
figure shows the objective above its minimum, and the step size per pixel that the adaptive method arrives at. What an
unrolled network replaces is E_t g_t and the memory in v_t. Under a minute on a CPU.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from jaxrecon import Problem
from jaxrecon.classical import cg
from jaxrecon.complex_ops import abs2
from jaxrecon.data.simulate import simulate
from jaxrecon.operators import FiniteDifference, max_eigenvalue, random_like
from jaxrecon.sampling import random_lines

EPS = 1e-12
ADAPTIVE_STEPS = tuple(0.01 * 2.0**k for k in range(8))
MOMENTA = (0.5, 0.7, 0.8, 0.9, 0.95)


def make_problem(*, shape, coils, acceleration, lam, seed):
    """(objective, gradient, Hessian as a function, A^H y) of a simulated head."""
    key = jax.random.key(seed)
    scan = simulate(key, shape=shape, n_coils=coils, snr=50.0)
    mask = random_lines(jax.random.fold_in(key, 1), shape[1], acceleration=acceleration, center_fraction=0.1)
    problem = Problem.from_numpy(np.asarray(scan.kspace) * np.asarray(mask), mask=mask, maps=np.asarray(scan.maps))
    difference = FiniteDifference()
    zero_filled = problem.op.adjoint(problem.kspace)

    def hessian(x):
        return problem.op.normal(x) + lam * difference.normal(x)

    def objective(x):
        residual = problem.op.forward(x) - problem.kspace
        return 0.5 * jnp.sum(abs2(residual)) + 0.5 * lam * jnp.sum(abs2(difference.forward(x)))

    return objective, lambda x: hessian(x) - zero_filled, hessian, zero_filled


def descend(step, start, objective, n_iter):
    """Objective before each of n_iter steps and after the last, and the last state; state[0] is x."""

    def body(state, _):
        return step(state), objective(state[0])

    state, values = jax.lax.scan(body, start, length=n_iter)
    return jnp.append(values, objective(state[0])), state


def gradient_descent(gradient, eta):
    """State (x,)."""
    return lambda state: (state[0] - eta * gradient(state[0]),)


def adaptive(gradient, eta, eta_a):
    """State (x, sum of squared gradients); the form with the residual learning rate E_t."""

    def step(state):
        x, squares = state
        g = gradient(x)
        squares = squares + abs2(g)
        residual_rate = eta_a / jnp.sqrt(squares + EPS) - eta
        return x - eta * g - residual_rate * g, squares

    return step


def momentum(gradient, eta, beta):
    """State (x, v)."""

    def step(state):
        x, v = state
        v = beta * v + eta * gradient(x)
        return x - v, v

    return step


def compare(*, shape=(96, 80), coils=4, acceleration=3.0, lam=1e-3, n_iter=100, seed=0):
    """All methods: objective above the minimum per iteration, and the pixel-wise steps of the adaptive one."""
    objective, gradient, hessian, x0 = make_problem(
        shape=shape, coils=coils, acceleration=acceleration, lam=lam, seed=seed
    )
    eta = 1 / max_eigenvalue(hessian, random_like(jax.random.key(0), x0), n_iter=100)
    best = objective(cg(hessian, x0, n_iter=2000))
    zeros = jnp.zeros(x0.shape)
    curves, chosen = {}, {}
    curves["gradient descent"], _ = descend(gradient_descent(gradient, eta), (x0,), objective, n_iter)
    grids = {
        "adaptive step": (
            ADAPTIVE_STEPS,
            lambda p: descend(adaptive(gradient, eta, p), (x0, zeros), objective, n_iter),
        ),
        "momentum": (MOMENTA, lambda p: descend(momentum(gradient, eta, p), (x0, 0 * x0), objective, n_iter)),
    }
    states = {}
    for name, (grid, method) in grids.items():
        runs = [jax.jit(method)(p) for p in grid]
        i = int(np.argmin([values[-1] for values, _ in runs]))
        curves[name], states[name] = runs[i]
        chosen[name] = grid[i]
    steps = chosen["adaptive step"] / jnp.sqrt(states["adaptive step"][1] + EPS)
    excess = {name: np.asarray(values - best) for name, values in curves.items()}
    return {
        "excess": excess,
        "minimum": float(best),
        "eta": float(eta),
        "chosen": chosen,
        "steps": np.asarray(steps),
        "image": np.abs(np.asarray(states["momentum"][0])),
    }


def draw(result, path):
    """Curves, image, and the step per pixel."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), width_ratios=(1.6, 1, 1.15))
    for name, values in result["excess"].items():
        label = name + (f" ({result['chosen'][name]:g})" if name in result["chosen"] else "")
        left.semilogy(np.maximum(values, 1e-12) / values[0], label=label)
    left.set(xlabel="iteration", ylabel="objective above its minimum, relative")
    left.legend(frameon=False)
    middle.imshow(result["image"], cmap="gray")
    middle.set_title("image (momentum)")
    shown = right.imshow(np.log10(result["steps"] / result["eta"]), cmap="viridis")
    right.set_title(r"adaptive step / $\eta$, $\log_{10}$")
    figure.colorbar(shown, ax=right)
    for axis in (middle, right):
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--n-iter", type=int, default=100)
    options = parser.parse_args()
    with jax.enable_x64(True):
        result = compare(n_iter=options.n_iter)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(result, options.out / "convex.png")
    final = {name: float(values[-1] / values[0]) for name, values in result["excess"].items()}
    summary = {"n_iter": options.n_iter, "relative_excess": final, "chosen": result["chosen"], "eta": result["eta"]}
    (options.out / "convex.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, value in final.items():
        print(f"{name:18} {value:.2e} of the first excess after {options.n_iter} iterations")


if __name__ == "__main__":
    main()
