"""Small random problems for the tests of models and strategies, and parameters: one factory, few sizes, nothing compiled."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem

SHAPE = (12, 10)


def problem(shape=SHAPE, coils=3, frames=None, seed=0, *, maps=True, one_mask=False, dtype=np.complex64):
    """(Problem, image): random image and unit-rss maps; a centre of 4 lines, none beside it, half of the others.

    Frames have other lines each, unless they have one mask.
    """
    rng = np.random.default_rng(seed)
    noise = lambda *s: rng.standard_normal(s) + 1j * rng.standard_normal(s)
    sens = noise(coils, *shape)
    sens = (sens / np.sqrt(np.sum(np.abs(sens) ** 2, 0, keepdims=True))).astype(dtype)
    mask = rng.random((*((frames, 1) if frames and not one_mask else ()), 1, shape[-1])) < 0.5
    middle = shape[-1] // 2
    mask[..., middle - 3 : middle + 3] = [False, True, True, True, True, False]
    image = noise(*((frames,) if frames else ()), *shape).astype(dtype)
    axes = (-2, -1)
    images = np.fft.ifftshift(sens * image[..., None, :, :], axes)
    kspace = (mask * np.fft.fftshift(np.fft.fft2(images, norm="ortho"), axes)).astype(dtype)
    # jnp.array compiles nothing, jnp.asarray does
    op = CartesianSense(jnp.array(sens) if maps else None, jnp.array(mask.astype(sens.real.dtype)))
    return Problem(jnp.array(kspace), op), jnp.array(image)


def problem_for(model, **options):
    """(Problem, target) as a network wants them; options as of `problem`."""
    wants = model.wants
    frames = {"slice": None, "window": wants.window, "series": 3}[wants.input]
    given, target = problem(frames=frames, **options)
    target = np.asarray(target)
    if wants.image == "magnitude":
        target = np.abs(target)
    return given, jnp.array(target[wants.window // 2] if wants.input == "window" else target)


def stack(*trees):
    """Trees of equal shapes with a leading axis for all."""
    return jax.tree.map(lambda *leaves: jnp.array(np.stack(leaves)), *trees)


def batch(n=2, seed=0, **options):
    """(problems, images) of n examples."""
    return stack(*(problem(seed=n * seed + i, **options) for i in range(n)))


def with_mask(given, mask):
    """The same problem with another mask."""
    return given.replace(op=given.op.replace(encoding=given.op.encoding.replace(mask=mask)))


def abstract_params(model, given):
    """Shapes and dtypes of a model's parameters."""
    return jax.eval_shape(model.init, jax.eval_shape(jax.random.key, 0), given)


def n_parameters(model, *, maps=True, frames=None, part="steps"):
    """Number of parameters, by shapes alone; part None: all."""
    params = abstract_params(model, problem((32, 32), frames=frames, maps=maps)[0])
    return sum(leaf.size for leaf in jax.tree.leaves(params if part is None else params[part]))


def random_params(model, given, seed=0):
    """Parameters of a model without its initialisation, which takes long to compile."""
    return _random(abstract_params(model, given), seed)


def random_variables(net, *inputs, seed=0):
    """Variables of a linen network without its initialisation."""
    return _random(jax.eval_shape(net.init, jax.eval_shape(jax.random.key, 0), *inputs), seed)


def _random(shapes, seed):
    """Kernels of variance 1 / fan-in; all others within 0.2 and 0.8, as weights of priors and variances are positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key in ("kernel", "momentum"):
            values = rng.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[-4:-1]))
        else:
            values = rng.uniform(0.2, 0.8, leaf.shape)
        return jnp.array(np.asarray(values, leaf.dtype))

    return jax.tree_util.tree_map_with_path(draw, shapes)
