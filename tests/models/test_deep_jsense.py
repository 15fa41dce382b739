import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import n_parameters, problem, with_mask

from jaxrecon.complex_ops import from_channels, rss, to_channels
from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.models import (
    DeepJSenseConfig,
    MoDLDeepJSenseConfig,
    batched,
    build,
    deep_jsense,
    modl_deep_jsense,
    run,
    stack_problems,
)
from jaxrecon.models.modl import regularized_solve
from jaxrecon.nn import BiasFreeResNet
from jaxrecon.operators import CartesianSense, MapConvolution, kernels_to_maps
from jaxrecon.problem import Problem

SMALL = DeepJSenseConfig(n_steps=2, map_iters=2, image_iters=2, kernel=(5, 3), features=3, blocks=2)
PLAIN = dataclasses.replace(SMALL, map_net=False, image_net=False)
JSENSE = Path(__file__).parents[1] / "golden" / "deep_jsense" / "jsense_sigpy.npz"


@pytest.mark.parametrize(
    ("config", "part", "count"),
    [
        (DeepJSenseConfig(), None, 447_490),
        (dataclasses.replace(DeepJSenseConfig(), shared=False), "steps", 6 * 223_744),
        (dataclasses.replace(DeepJSenseConfig(), shared=False), "start", 223_744 + 2),
        (dataclasses.replace(DeepJSenseConfig(), map_iters=0), None, 223_745),
        (MoDLDeepJSenseConfig(), None, 223_745),
        (MoDLDeepJSenseConfig(shared=False), "steps", 6 * 223_744),
        (MoDLDeepJSenseConfig(shared=False), "start", 1),
        (dataclasses.replace(DeepJSenseConfig(), map_net=False, image_net=False), None, 2),
    ],
)
def test_published_numbers_of_parameters(config, part, count):
    model = build(config)
    assert n_parameters(model, maps=model.wants.maps == "given", part=part) == count


def explained(kernels, image, shape):
    """k-space of kernels and image by the definition: the valid convolution, on transforms of its own."""
    maps = ifftc(crop_or_pad(kernels, image.shape[-2:]))
    return crop_or_pad(
        fftc(jnp.sum(maps * image[..., None, :, :], 0) if image.ndim == 3 else maps * image[None]), shape
    )


def relative_residual(given, carry):
    mask = jnp.ones((1, 1)) if given.op.encoding.mask is None else given.op.encoding.mask
    error = given.kspace - mask[None] * explained(carry["kernels"], carry["image"], given.kspace.shape[-2:])
    return float(jnp.linalg.norm(error) / jnp.linalg.norm(given.kspace))


def consistent_problem(shape=(24, 20), coils=4, sets=1, dtype=np.complex128):
    """Noise-free data of the model itself."""
    rng = np.random.default_rng(0)
    draw = lambda *s: jnp.asarray((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype))
    image = draw(sets, *(n + k - 1 for n, k in zip(shape, SMALL.kernel, strict=True)))
    return Problem(explained(draw(sets, coils, *SMALL.kernel), image, shape), CartesianSense(None))


def test_without_map_updates_it_is_modl_from_the_library_own_parts(x64):
    """MoDL on the padded grid: network after CG, warm start, no prior in the first right-hand side."""
    given, _ = problem((12, 10), maps=False, dtype=np.complex128)
    config = dataclasses.replace(SMALL, n_steps=3, map_iters=0, image_iters=3, lam=0.05)
    model = deep_jsense(config)
    params = jax.jit(model.init)(jax.random.key(0), given)
    image, carry, _ = jax.jit(lambda p: run(model, p, given, carry=True))(params)

    shape, grid = (12, 10), (16, 12)
    images = ifftc(given.kspace)
    kernels = crop_or_pad(fftc(images / rss(images)[None]), (5, 3))
    maps = ifftc(crop_or_pad(kernels, grid))
    op = CartesianSense(maps, crop_or_pad(jnp.broadcast_to(given.op.encoding.mask, shape), grid))
    zero_filled = op.adjoint(crop_or_pad(given.kspace, grid))
    net = BiasFreeResNet(3, 2)
    x, theta = zero_filled, params["steps"]
    for i in range(3):
        rhs = zero_filled + (theta["image_lam"] * x if i else 0)
        x = regularized_solve(op.normal, rhs, theta["image_lam"], x0=x, n_iter=3)
        x = from_channels(net.apply(theta["image_net"], to_channels(x)))
    np.testing.assert_allclose(carry["image"], x, atol=1e-11)
    np.testing.assert_array_equal(carry["kernels"], model.start({}, given)[0]["kernels"])
    np.testing.assert_allclose(image, rss(ifftc(crop_or_pad(fftc(maps * x[None]), shape))), atol=1e-11)


def test_modl_mode_is_the_unpadded_problem(x64):
    given, _ = problem((12, 10), dtype=np.complex128)
    model = modl_deep_jsense(MoDLDeepJSenseConfig(n_steps=2, image_iters=3, features=3, blocks=2))
    params = jax.jit(model.init)(jax.random.key(0), given)
    net, theta = BiasFreeResNet(3, 2), params["steps"]
    x = zero_filled = given.op.adjoint(given.kspace)
    for i in range(2):
        rhs = zero_filled + (theta["image_lam"] * x if i else 0)
        x = regularized_solve(given.op.normal, rhs, theta["image_lam"], x0=x, n_iter=3)
        x = from_channels(net.apply(theta["image_net"], to_channels(x)))
    np.testing.assert_allclose(
        jax.jit(lambda p: run(model, p, given))(params), rss(given.op.maps * x[None]), atol=1e-11
    )


def test_networks_off_it_is_l2_jsense_of_sigpy(x64):
    case = np.load(JSENSE)
    n_pixels = case["image_kernel"].size
    config = DeepJSenseConfig(
        n_steps=5,
        kernel=case["map_kernel"].shape[1:],
        map_net=False,
        image_net=False,
        prior="zero",
        start="delta",
        lam=0.01 / n_pixels**0.5,
    )
    given = Problem(jnp.asarray(case["y_cal"]), CartesianSense(None, jnp.asarray(case["weights"]) ** 0.5))
    model = deep_jsense(config)
    params = model.init(jax.random.key(0), given)
    reconstruct = jax.jit(lambda p, n_steps: run(model, p, given, n_steps=n_steps, carry=True)[1], static_argnums=1)
    for n_steps, suffix in ((1, "_1"), (5, "")):
        carry = reconstruct(params, n_steps)
        scale = n_pixels**-0.25
        for own, name in ((carry["kernels"], "map_kernel"), (fftc(carry["image"]), "image_kernel")):
            expected = case[f"{name}{suffix}"]
            assert np.abs(scale * own - expected).max() < 1e-8 * np.abs(expected).max()


def test_column_masks_take_the_short_way_to_the_same_iterates(x64):
    given, _ = problem((13, 10), maps=False, dtype=np.complex128)
    model = deep_jsense(dataclasses.replace(PLAIN, map_iters=4))
    params = jax.jit(model.init)(jax.random.key(0), given)
    flat = with_mask(given, given.op.encoding.mask.reshape(-1))
    full = with_mask(given, jnp.broadcast_to(given.op.encoding.mask, (13, 10)))
    gradient = jax.jit(jax.value_and_grad(lambda p, g: jnp.sum(run(model, p, g) ** 2)))
    value, expected = gradient(params, full)
    for form in (given, flat):
        own_value, own = gradient(params, form)
        np.testing.assert_allclose(own_value, value, rtol=1e-11)
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9 * np.abs(b).max())


def test_alternation_falls_monotonically_on_consistent_data(x64):
    given = consistent_problem()
    model = deep_jsense(dataclasses.replace(PLAIN, n_steps=6, lam=1e-8))
    params = model.init(jax.random.key(0), given)
    carry, context = model.start({}, given)
    step, residuals = jax.jit(model.step), [relative_residual(given, carry)]
    for i in range(6):
        carry = step(params["steps"], carry, context, i)
        residuals.append(relative_residual(given, carry))
    assert all(after < before for before, after in itertools.pairwise(residuals)), residuals
    assert residuals[-1] < 0.3 * residuals[0]


def test_scale_and_phase_may_move_from_image_to_maps():
    given, _ = problem((12, 10), maps=False)
    model = deep_jsense(PLAIN)
    carry, context = model.start({}, given)
    t = 0.3 - 2j
    moved = {"image": t * carry["image"], "kernels": carry["kernels"] / t}
    np.testing.assert_allclose(model.finish(moved, context), model.finish(carry, context), rtol=2e-5)


def test_two_map_sets_explain_what_one_cannot(x64):
    """Data of two sets, as where the object is larger than the field of view."""
    given = consistent_problem(sets=2)
    residuals = {}
    for n_sets in (1, 2):
        config = dataclasses.replace(PLAIN, n_steps=12, n_sets=n_sets, map_iters=6, image_iters=6, lam=1e-6)
        model = deep_jsense(config)
        params = model.init(jax.random.key(0), given)
        image, carry, _ = jax.jit(lambda p, m=model: run(m, p, given, carry=True))(params)
        assert image.shape == (24, 20)
        residuals[n_sets] = relative_residual(given, carry)
    assert residuals[2] < 0.5 * residuals[1]


@pytest.mark.parametrize("start", ["rss", "delta"])
def test_map_sets_differ_from_the_first_step_on(start):
    given, _ = problem((12, 10), maps=False)
    model = deep_jsense(dataclasses.replace(PLAIN, n_sets=2, start=start))
    params = model.init(jax.random.key(0), given)
    carry = jax.jit(lambda p: run(model, p, given, n_steps=1, carry=True)[1])(params)
    for sets in (carry["kernels"], carry["image"]):
        assert np.linalg.norm(sets[1] - sets[0]) > 0.1 * np.linalg.norm(sets[0])


def test_networks_see_each_map_set_by_itself():
    given, _ = problem((12, 10), maps=False)
    model = deep_jsense(dataclasses.replace(SMALL, n_sets=2))
    params = jax.jit(model.init)(jax.random.key(0), given)
    assert n_parameters(model, maps=False) == n_parameters(deep_jsense(SMALL), maps=False)
    image, carry, _ = jax.jit(lambda p: run(model, p, given, carry=True))(params)
    assert image.shape == (12, 10) and carry["image"].shape == (2, 16, 12)
    assert carry["kernels"].shape == (2, 3, 5, 3)
    assert np.isfinite(image).all()


@pytest.mark.parametrize(("config", "shape"), [(SMALL, (11, 9)), (dataclasses.replace(SMALL, shared=False), (12, 10))])
def test_scan_loop_batch_and_early_exit(config, shape):
    given, _ = problem(shape, maps=False)
    other, _ = problem(shape, maps=False, seed=1)
    model = deep_jsense(config)
    # shared weights fit any number of steps: here they are those of one, as a warm-up over steps leaves them
    first = deep_jsense(dataclasses.replace(config, n_steps=1)) if config.shared else model
    params = jax.jit(first.init)(jax.random.key(0), given)
    every = jax.jit(lambda p: run(model, p, given, every_step=True))(params)
    np.testing.assert_allclose(
        jax.jit(lambda p: run(model, p, given, loop=True))(params), every[1], rtol=1e-3, atol=1e-4
    )
    n_steps = None if config.shared else 1
    np.testing.assert_allclose(jax.jit(lambda p: run(first, p, given, n_steps=n_steps))(params), every[0], atol=1e-4)
    both = jax.jit(lambda p: run(batched(model), p, stack_problems([other, given])))(params)
    np.testing.assert_allclose(both[1], every[1], rtol=1e-3, atol=1e-4)
    assert every.shape == (2, *shape) and np.abs(every[1] - every[0]).max() > 1e-3


@pytest.mark.slow
def test_the_paper_s_network_runs():
    given, _ = problem((40, 32), coils=2, maps=False)
    model = deep_jsense(DeepJSenseConfig())
    params = jax.jit(model.init)(jax.random.key(0), given)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 447_490
    image = jax.jit(lambda p: run(model, p, given))(params)
    assert image.shape == (40, 32) and np.isfinite(image).all() and np.any(image)


def test_separate_image_networks_are_separate():
    given, _ = problem((12, 10), maps=False)
    model, shared = deep_jsense(dataclasses.replace(SMALL, shared=False)), deep_jsense(SMALL)
    params = jax.jit(model.init)(jax.random.key(0), given)
    assert set(params["steps"]) == {"image_net"} and set(params["start"]) == {"map_net", "map_lam", "image_lam"}
    first = jax.tree.map(lambda a: a[0], params["steps"])
    tied = {"start": {}, "steps": {**params["start"], **first}}
    repeated = {"start": params["start"], "steps": jax.tree.map(lambda a: jnp.stack([a, a]), first)}
    out = lambda m, p: jax.jit(lambda p: run(m, p, given))(p)
    np.testing.assert_allclose(out(model, repeated), out(shared, tied), rtol=1e-4, atol=1e-5)
    assert np.abs(out(model, params) - out(model, repeated)).max() > 1e-3


def test_implicit_gradient_is_that_of_converged_iterations(x64):
    given, _ = problem((6, 5), coils=2, maps=False, dtype=np.complex128)
    config = dataclasses.replace(PLAIN, kernel=(3, 3), map_iters=60, image_iters=60, lam=0.3)
    params = None
    results = []
    for implicit in (False, True):
        model = deep_jsense(dataclasses.replace(config, implicit=implicit))
        params = jax.jit(model.init)(jax.random.key(0), given) if params is None else params
        results.append(jax.jit(jax.grad(lambda p, m=model: jnp.sum(run(m, p, given) ** 2)))(params))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


def test_all_zero_slices_give_zero_and_finite_gradients():
    given, _ = problem((12, 10), maps=False)
    given = given.replace(kspace=jnp.zeros_like(given.kspace))
    model = deep_jsense(SMALL)
    params = jax.jit(model.init)(jax.random.key(0), given)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: jnp.sum((run(model, p, given) - 1) ** 2)))(params)
    assert value == 120
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    from_delta = deep_jsense(dataclasses.replace(SMALL, start="delta"))
    np.testing.assert_array_equal(jax.jit(lambda p: run(from_delta, p, given))(params), 0)


@pytest.mark.parametrize("implicit", [False, True])
def test_weights_learned_below_zero_are_finite(implicit):
    """Nothing keeps the weights positive: the matrices are then indefinite where nothing is measured."""
    given, _ = problem((24, 20), coils=2, maps=False)
    options = {"n_steps": 6, "map_iters": 6, "image_iters": 6, "lam": -0.01, "implicit": implicit}
    model = deep_jsense(dataclasses.replace(PLAIN, **options))
    params = model.init(jax.random.key(0), given)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: jnp.mean(run(model, p, given))))(params)
    assert np.isfinite(value) and value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_full_sampling_and_one_coil():
    given, _ = problem((12, 10), coils=1, maps=False)
    full = with_mask(given, jnp.ones((1, 10)))
    none = with_mask(given, None)
    model = deep_jsense(SMALL)
    params = jax.jit(model.init)(jax.random.key(0), given)
    reconstruct = jax.jit(lambda p, g: run(model, p, g))
    image = reconstruct(params, none)
    np.testing.assert_allclose(image, reconstruct(params, full), rtol=1e-3, atol=1e-4)
    assert np.isfinite(image).all() and np.any(image)


def test_refused_with_a_reason():
    given, _ = problem((12, 10), maps=False)
    initial = lambda config, given=given: jax.eval_shape(build(config).init, jax.random.key(0), given)
    with pytest.raises(ValueError, match=r"map kernels of \(15, 9\) do not fit k-space \(y, x\) of \(12, 10\)"):
        initial(DeepJSenseConfig())
    with pytest.raises(ValueError, match=r"would wrap around; wanted at least \(16, 12\)"):
        initial(dataclasses.replace(SMALL, grid=(14, 12)))
    with pytest.raises(ValueError, match="the mask must be"):
        initial(SMALL, with_mask(given, jnp.ones((3, 1, 10))))
    with pytest.raises(ValueError, match=r"the mask of shape \(1, 9\) .* kspace \(y, x\) of shape \(12, 10\)"):
        initial(SMALL, with_mask(given, jnp.ones((1, 9))))
    with pytest.raises(ValueError, match=r"kspace must have axes \(coil, y, x\)"):
        initial(SMALL, given.replace(kspace=given.kspace[None]))
    with pytest.raises(ValueError, match="maps are needed"):
        initial(MoDLDeepJSenseConfig(features=3))
    for options, reason in (
        ({"image_iters": 0}, "image_iters"),
        ({"blocks": 1}, "blocks"),
        ({"prior": "none"}, "prior must be one of previous, zero"),
        ({"shared": False, "image_net": False}, "separate image networks"),
    ):
        with pytest.raises(ValueError, match=reason):
            modl_deep_jsense(MoDLDeepJSenseConfig(**options))
    for options, reason in (
        ({"map_iters": -1}, "map_iters"),
        ({"image_iters": 0}, "image_iters"),
        ({"blocks": 1}, "blocks"),
        ({"n_sets": 0}, "n_sets"),
        ({"kernel": (5, 1)}, "mirrors its border"),
        ({"shared": False, "image_net": False}, "separate image networks"),
        ({"convention": "refrence"}, "convention must be one of consistent, reference, not 'refrence'"),
        ({"start": "RSS"}, "start must be one of rss, delta"),
        ({"prior": None}, "prior must be one of previous, zero"),
        ({"kernel": 5}, r"kernel must be two sizes \(y, x\), not 5"),
        ({"kernel": (5, 3, 3)}, "kernel must be two sizes"),
        ({"grid": (24,)}, "grid must be two sizes"),
    ):
        with pytest.raises(ValueError, match=reason):
            deep_jsense(dataclasses.replace(SMALL, **options))


def test_larger_grid_keeps_the_convolution_linear(x64, random_complex):
    kernels, image = random_complex((3, 5, 3), np.complex128), random_complex((18, 16), np.complex128)
    from scipy.signal import convolve2d

    out = MapConvolution(image, None, (12, 10), (5, 3)).forward(kernels)
    expected = [convolve2d(np.asarray(fftc(image)), np.asarray(k), mode="same") for k in kernels]
    np.testing.assert_allclose(
        18 * 16 * np.abs(out) ** 2, np.abs(crop_or_pad(jnp.asarray(expected), (12, 10))) ** 2, rtol=1e-9
    )
    np.testing.assert_allclose(kernels_to_maps(kernels, (18, 16)), ifftc(crop_or_pad(kernels, (18, 16))), atol=1e-12)


def test_the_network_is_positively_homogeneous(rng):
    net = BiasFreeResNet(3, 2)
    x = jnp.asarray(rng.standard_normal((2, 6, 5, 2)), jnp.float32)
    params = net.init(jax.random.key(0), x)
    np.testing.assert_allclose(net.apply(params, 3 * x), 3 * net.apply(params, x), rtol=1e-4, atol=1e-5)
    assert np.abs(net.apply(params, -x) + net.apply(params, x)).max() > 1e-2
