import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import with_mask

from jaxrecon.complex_ops import rss
from jaxrecon.fourier import fftc, ifftc
from jaxrecon.models import (
    PROMPTMR_16,
    PROMPTMR_BRAIN,
    PROMPTMR_KNEE,
    PROMPTMR_PLUS_BASELINE,
    PROMPTMR_PLUS_BASELINE_BRAIN,
    PROMPTMR_PLUS_BASELINE_KNEE,
    PromptMRConfig,
    PromptMRPlusConfig,
    PromptSizes,
    batched,
    build,
    run,
    stack_problems,
)
from jaxrecon.models.promptmr import prompt_nets
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.strategies import checkpointed, end_to_end, gleam
from jaxrecon.training import compiled_memory, losses

SLICES, COILS, Y, X = 3, 2, 10, 12
SIZES = PromptSizes(
    features=4,
    level_features=(5,),
    prompt_features=(4,),
    sens_features=4,
    sens_level_features=(4,),
    sens_prompt_features=(4,),
    prompt_lengths=(2,),
    prompt_sizes=(3,),
    enc_cabs=(2,),
    dec_cabs=(1,),
    skip_cabs=(0,),
    bottleneck_cabs=0,
)
ORIGINAL = PromptMRConfig(n_steps=2, n_adjacent=SLICES, sizes=SIZES)
PLUS = PromptMRPlusConfig(n_steps=2, n_adjacent=SLICES, n_history=2, sizes=SIZES)


def window(seed=0, frames=False, dtype=np.complex64):
    """Random k-space of three slices, a line mask with a centre of 4, for frames each its own lines."""
    rng = np.random.default_rng(seed)
    kspace = (rng.standard_normal((2, SLICES, COILS, Y, X)) * [[[[[1]]]], [[[[1j]]]]]).sum(0).astype(dtype)
    mask = rng.random(((SLICES, 1, 1, X)) if frames else (1, X)) < 0.5
    mask[..., X // 2 - 2 : X // 2 + 2] = True
    mask[..., 0, X // 2 + 2] = False
    mask = jnp.asarray(mask, kspace.real.dtype)
    return Problem(jnp.asarray(kspace) * mask.reshape((1,) * (4 - mask.ndim) + mask.shape), CartesianSense(None, mask))


def abstract(config):
    problem = Problem(
        jax.ShapeDtypeStruct((config.n_adjacent, 2, 16, 16), jnp.complex64),
        CartesianSense(None, jax.ShapeDtypeStruct((1, 16), jnp.float32)),
    )
    return jax.eval_shape(build(config).init, jax.eval_shape(jax.random.key, 0), problem)


def random_params(config, dtype=np.float32):
    """Parameters without compiling their initialisation."""
    rng = np.random.default_rng(2)
    draw = lambda a: jnp.asarray((rng.standard_normal(a.shape) / np.sqrt(max(np.prod(a.shape[1:-1]), 4))).astype(dtype))
    return jax.tree.map(draw, abstract(config))


def named(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


@pytest.mark.parametrize(
    ("config", "count", "frozen", "maps_count"),
    [
        (PromptMRPlusConfig(), 92_859_005, 10_368_000, 1_871_537),
        (dataclasses.replace(PromptMRPlusConfig(), n_history=0), 82_318_205, 10_368_000, 1_871_537),
        (dataclasses.replace(PromptMRPlusConfig(), n_buffers=0), 92_075_645, 10_368_000, 1_871_537),
        (dataclasses.replace(PromptMRPlusConfig(), adjacent_maps=False), 92_852_477, 10_368_000, 1_865_009),
        (PROMPTMR_PLUS_BASELINE, 81_528_317, 10_368_000, 1_865_009),
        (PROMPTMR_PLUS_BASELINE_KNEE, 79_643_645, 10_368_000, 1_828_145),
        (PROMPTMR_PLUS_BASELINE_BRAIN, 78_376_853, 10_160_640, 561_353),
        (PromptMRConfig(), 81_528_317, 10_368_000, 1_865_009),
        (PROMPTMR_KNEE, 79_643_645, 10_368_000, 1_828_145),
        (PROMPTMR_BRAIN, 78_376_853, 10_160_640, 561_353),
        (PROMPTMR_16, 108_082_753, 13_685_760, 1_865_009),
    ],
)
def test_published_numbers_of_parameters(config, count, frozen, maps_count):
    params = named(abstract(config))
    assert sum(leaf.size for leaf in params.values()) == count
    assert sum(leaf.size for name, leaf in params.items() if name.endswith("/prompt")) == frozen
    # the shared slope is counted with the maps
    assert sum(leaf.size for name, leaf in params.items() if name.startswith("start/")) == maps_count


@pytest.fixture(scope="module")
def setups():
    """config -> (model, parameters with all kinds of values moved from their start, problem), made once."""
    made = {}

    def make(config):
        if config not in made:
            model, problem = build(config), window()
            params = random_params(config)
            params["steps"]["dc_weight"] = jnp.linspace(0.7, 0.5, config.n_steps)
            made[config] = model, params, problem
        return made[config]

    return make


def test_original_written_out(setups):
    model, params, problem = setups(ORIGINAL)
    image, last, (_, op, slope) = jax.jit(lambda p, g: run(model, p, g, carry=True))(params, problem)
    net = jax.jit(prompt_nets(SIZES)[1].apply)
    maps, measured, k = op.maps, problem.kspace, problem.kspace
    np.testing.assert_allclose(rss(maps), 1, rtol=1e-5)
    for i, eta in enumerate((0.7, 0.5)):
        theta = jax.tree.map(lambda a, i=i: a[i], params["steps"]["net"])
        combined = jnp.sum(jnp.conj(maps) * ifftc(k), 1)
        change, _ = net(theta, combined, slope)
        k = k - eta * problem.op.encoding.mask[None, None] * (k - measured) - fftc(maps * change[:, None])
    np.testing.assert_allclose(last, k, atol=2e-4)
    np.testing.assert_allclose(image, np.sqrt(np.sum(np.abs(ifftc(k[1])) ** 2, 0)), atol=2e-4)


def test_plus_written_out(setups):
    """Two cascades by hand: the five inputs, the latent, the history, and the step from the input's data gradient."""
    model, params, problem = setups(PLUS)
    image, last, (op, zero_filled, slope) = jax.jit(lambda p, g: run(model, p, g, carry=True))(params, problem)
    net = prompt_nets(SIZES, n_history=2)[1]
    apply = jax.jit(net.apply)
    maps, mask = op.maps, problem.op.encoding.mask[None, None]
    x = s = z = jnp.sum(jnp.conj(maps) * ifftc(problem.kspace), 1)
    np.testing.assert_allclose(zero_filled, z, atol=1e-5)
    history = net.empty_history(x)
    for i, eta in enumerate((0.7, 0.5)):
        f = jnp.sum(jnp.conj(maps) * ifftc(mask * fftc(maps * x[:, None])), 1)
        theta = jax.tree.map(lambda a, i=i: a[i], params["steps"]["net"])
        out, history = apply(theta, jnp.concatenate([x, f, s, z, f - z]), slope, history, i == 0)
        x, s = x - eta * (f - z) - out[:SLICES], out[2 * SLICES : 3 * SLICES]
    np.testing.assert_allclose(last["image"], x, atol=2e-4)
    np.testing.assert_allclose(last["latent"], s, atol=2e-4)
    for own, expected in zip(last["history"], history, strict=True):
        np.testing.assert_allclose(own, expected, atol=2e-4)
    np.testing.assert_allclose(image, jnp.abs(x[1]), atol=2e-4)  # the maps of a pixel have a sum of squares of 1


@pytest.mark.parametrize("config", [ORIGINAL, PLUS], ids=["original", "plus"])
def test_scan_loop_early_exit_and_batch(setups, config):
    model, params, problem = setups(config)
    every = jax.jit(lambda p, g: run(model, p, g, every_step=True))(params, problem)
    assert every.shape == (2, Y, X) and every.dtype == jnp.float32
    loop = jax.jit(lambda p, g: run(model, p, g, loop=True, every_step=True))(params, problem)
    np.testing.assert_allclose(loop, every, atol=1e-4)
    other = problem.replace(kspace=problem.kspace[::-1])
    batch = jax.jit(lambda p, g: run(batched(model), p, g))(params, stack_problems([other, problem]))
    np.testing.assert_allclose(batch[1], every[1], atol=1e-4)
    assert np.abs(batch[0] - batch[1]).max() > 1e-3


def loss(image, target):
    return losses.ssim(image, target)


def gradient(strategy, model, params, problem):
    target = Target(jnp.abs(ifftc(problem.kspace[1, 0])), jnp.ones((), problem.kspace.real.dtype))
    return jax.jit(strategy(model, loss))(params, problem, target)


def relative(own, expected):
    flat = lambda tree: jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(tree)])
    return float(jnp.linalg.norm(flat(own) - flat(expected)) / jnp.linalg.norm(flat(expected)))


def test_recomputed_cascades_have_the_same_gradient(x64):
    """With history, in double precision: where the reference recomputes, its history has changed, and its gradient is 2 % off."""
    config = dataclasses.replace(PLUS, n_steps=3)
    model, problem = build(config), window(dtype=np.complex128)
    params = random_params(config, np.float64)
    (value, _), expected = gradient(end_to_end(), model, params, problem)
    (own_value, _), own = gradient(checkpointed(), model, params, problem)
    np.testing.assert_allclose(own_value, value, rtol=1e-12)
    assert relative(own, expected) < 1e-11
    momentum = {k: v for k, v in named(own).items() if k.endswith("/momentum")}
    assert len(momentum) == 1 and all(np.abs(g).max((1, 2, 3, 4)).min() > 0 for g in momentum.values())


def test_prompts_are_frozen_unless_learned(setups):
    model, params, problem = setups(ORIGINAL)
    grads = named(gradient(checkpointed(), model, params, problem)[1])
    prompts = [name for name in grads if name.endswith("/prompt")]
    assert len(prompts) == 2
    assert not any(grads[name].any() for name in prompts)
    never = [name for name, g in grads.items() if not g.any()]
    assert never == prompts, "the other parameters have a gradient"
    first, second = grads["steps/dc_weight"]
    assert first == 0 and second != 0, "k_0 = y: the first weight has no effect"
    learned = build(dataclasses.replace(ORIGINAL, learn_prompts=True))
    grads = named(gradient(checkpointed(), learned, params, problem)[1])
    assert all(grads[name].any() for name in prompts)


def test_latents_learn_with_two_cascades_in_a_module():
    """The output rows of the latent get a gradient only through a later cascade of the same module."""
    config = dataclasses.replace(PLUS, n_steps=4)
    model, problem = build(config), window()
    params = random_params(config)

    def latent_gradients(strategy):
        grads = gradient(strategy, model, params, problem)[1]
        out = grads["steps"]["net"]["params"]["unet"]["out"]["kernel"]  # (step, y, x, in, real parts then imaginary)
        slots = out.reshape(*out.shape[:-1], 2, 1 + config.n_buffers, SLICES)
        assert not slots[..., [1, 3, 4], :].any(), "nothing reads these outputs"
        return np.abs(slots[..., 2, :]).max((1, 2, 3, 4, 5))

    assert (latent_gradients(end_to_end()) > 0).tolist() == [True, True, True, False]
    assert (latent_gradients(gleam(2)) > 0).tolist() == [True, False, True, False]
    assert (latent_gradients(gleam(4)) > 0).tolist() == [False] * 4


def test_maps_of_adjacent_slices_take_less_memory(monkeypatch):
    """Compiled for gradients; the full size is in experiments/benchmarks/promptmr_memory.py."""
    # blocks as small beside these images as they are beside real ones
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.BLOCK", 2**9)
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.LEAST_PIXELS", 16)

    def temporary(**changes):
        config = dataclasses.replace(PLUS, sizes=dataclasses.replace(SIZES, sens_features=8), **changes)
        model, problem, params = build(config), window(), abstract(config)
        maps = lambda start, problem: jnp.sum(jnp.abs(model.start(start, problem)[1][0].maps.real) ** 3)
        return compiled_memory(jax.grad(maps), params["start"], problem).temporary

    together, alone = temporary(), temporary(adjacent_maps=False)
    assert together < 0.45 * alone
    assert temporary(one_map_at_a_time=True) < together


@pytest.mark.parametrize("adjacent", [True, False])
def test_one_map_at_a_time_is_the_same(setups, adjacent):
    config = dataclasses.replace(PLUS, adjacent_maps=adjacent)
    model, params, problem = build(config), random_params(config), window()
    slow = build(dataclasses.replace(config, one_map_at_a_time=True))
    maps = [jax.jit(lambda p, m=m: m.start(p, problem)[1][0].maps)(params["start"]) for m in (model, slow)]
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-5)


@pytest.mark.parametrize("config", [ORIGINAL, PLUS], ids=["original", "plus"])
def test_empty_slices_give_no_nan(setups, config):
    """An empty slice beside others, and an empty window: finite images and gradients, the empty window's image is 0."""
    model, params, problem = setups(config)
    reconstruct = jax.jit(lambda p, g: run(model, p, g))
    empty = problem.replace(kspace=jnp.zeros_like(problem.kspace))
    assert not reconstruct(params, empty).any()
    border = problem.replace(kspace=problem.kspace.at[0].set(0))
    assert np.isfinite(reconstruct(params, border)).all()
    for given in (empty, border):
        target = Target(jnp.ones((Y, X)), jnp.float32(1))
        grads = jax.jit(checkpointed()(model, losses.l1))(params, given, target)[1]
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_masks(setups):
    """A full mask, no mask, a mask of each frame, and a given calibration region."""
    model, params, problem = setups(PLUS)
    reconstruct = jax.jit(lambda p, g: run(model, p, g))
    expected = reconstruct(params, problem)
    full, none = with_mask(problem, jnp.ones((1, X))), with_mask(problem, None)
    assert np.isfinite(reconstruct(params, full)).all()
    np.testing.assert_allclose(reconstruct(params, none), reconstruct(params, full), atol=1e-4)
    # the same lines, said for each frame; found in the mask and given
    framed = with_mask(problem, jnp.tile(problem.op.encoding.mask[None, None], (SLICES, 1, 1, 1)))
    np.testing.assert_allclose(reconstruct(params, framed), expected, atol=1e-4)
    given = problem.replace(acs=jnp.zeros((1, X)).at[:, X // 2 - 2 : X // 2 + 2].set(1))
    np.testing.assert_allclose(reconstruct(params, given), expected, atol=1e-4)
    # what all frames sample is the calibration region
    frames = window(frames=True)
    region = jnp.zeros((1, X)).at[:, X // 2 - 2 : X // 2 + 2].set(1)
    np.testing.assert_allclose(reconstruct(params, frames), reconstruct(params, frames.replace(acs=region)), atol=1e-4)


def test_refused(setups):
    model, params, problem = setups(PLUS)
    with pytest.raises(ValueError, match=r"kspace must be \(3, coil, y, x\), but its shape is \(2, 10, 12\).*adjacent"):
        run(model, params, problem.replace(kspace=problem.kspace[1]))
    with pytest.raises(ValueError, match=r"3 neighbouring slices at once.*\(2, 2, 10, 12\)"):
        run(model, params, problem.replace(kspace=problem.kspace[:2]))
    with pytest.raises(ValueError, match="mask of shape"):
        run(model, params, with_mask(problem, jnp.ones((2, 1, 1, X))))
    for wrong, reason in (
        ({"n_adjacent": 4}, "odd"),
        ({"n_buffers": 2}, "n_buffers"),
        ({"n_history": -1}, "n_history"),
        ({"n_steps": 0}, "n_steps"),
    ):
        with pytest.raises(ValueError, match=reason):
            build(dataclasses.replace(PLUS, **wrong))
    with pytest.raises(ValueError, match="n_adjacent must be odd"):
        build(dataclasses.replace(ORIGINAL, n_adjacent=-1))
    for wrong, reason in (
        ({"features": 3}, "channels"),
        ({"prompt_sizes": (0,)}, "prompt_sizes"),
        ({"prompt_sizes": (4, 2)}, "one entry for each"),
        ({"bottleneck_cabs": -1}, "bottleneck_cabs"),
    ):
        with pytest.raises(ValueError, match=reason):
            dataclasses.replace(SIZES, **wrong)


def test_bfloat16_stays_near(setups):
    model, params, problem = setups(PLUS)
    exact = jax.jit(lambda p, g: run(model, p, g))(params, problem)
    half = build(dataclasses.replace(PLUS, bfloat16=True))
    image, carry, _ = jax.jit(lambda p, g: run(half, p, g, carry=True))(params, problem)
    assert image.dtype == jnp.float32 and carry["history"][0].dtype == jnp.bfloat16
    assert np.linalg.norm(image - exact) < 0.1 * np.linalg.norm(exact)
