"""An encoding of one's own goes through problem, classical methods, batches, training and the memory report as the Cartesian does."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.coil_data import simulate
from support.dense_dft import DENSE_DFT, N_SAMPLES, DenseDFT, phases
from support.type_check import as_user

from jaxrecon import Problem, classical, losses, models, reconstruct
from jaxrecon.data.pipeline import batches, labelled
from jaxrecon.data.preparation import Preparation, combined_target, maximum, prepare
from jaxrecon.data.scan import Slice
from jaxrecon.models import batched, run
from jaxrecon.operators import CARTESIAN, EncodingRecord, Sense
from jaxrecon.problem import Target
from jaxrecon.strategies import end_to_end, gleam
from jaxrecon.training import evaluator, fit, from_grad_fn, memory_report

Y, X, COILS = 14, 12, 3
HOW = Preparation(encoding=DENSE_DFT, target=combined_target, scale=maximum)
NETWORKS = {
    "pgd": lambda: models.pgd(models.PGDConfig(n_steps=2, features=4, blocks=1)),
    "modl": lambda: models.modl(
        # much too smooth at first: lam and the networks have something to learn
        models.MoDLConfig(n_steps=2, features=4, layers=2, norm="none", shared=False, cg_iters=3, lam=2.0)
    ),
}


def slices(n):
    found = []
    for seed in range(n):
        kspace, maps, _ = simulate(COILS, (Y, X), seed=seed)
        found.append(Slice(kspace=kspace, maps=maps, index=seed, file="volume"))
    return found


@pytest.fixture(scope="module")
def both():
    """The same problem twice: by a mask, and as a dense transform at the points that the mask measures."""
    kspace, maps, _ = simulate(COILS, (Y, X))
    rng = np.random.default_rng(0)
    mask = rng.random((Y, X)) < 0.6
    mask[4:10, 3:9] = True
    rows, columns = np.nonzero(mask)
    example = {
        "kspace": kspace[:, rows, columns],
        "rows": phases(rows - Y // 2, Y),
        "columns": phases(columns - X // 2, X),
        "maps": maps,
    }
    example = jax.tree.map(jnp.asarray, example)
    return Problem.from_numpy(kspace, mask=mask, maps=maps), Problem.from_example(example, DENSE_DFT)


METHODS = {
    "zero-filled": classical.zero_filled,
    "rss": classical.rss_image,
    "CG-SENSE": lambda p: classical.cg_sense(p, lam=0.05, n_iter=15),
    "L1-wavelet": lambda p: classical.l1_wavelet(p, lam=0.02, n_iter=20, wavelet="haar"),
    "TV": lambda p: classical.total_variation(p, lam=0.02, n_iter=30),
    "scale": lambda p: classical.data_scale(p, "max"),
}


@pytest.mark.parametrize("name", METHODS)
def test_at_the_points_of_a_mask_it_is_the_cartesian_problem(both, name):
    cartesian, dense = (jax.jit(METHODS[name])(problem) for problem in both)
    np.testing.assert_allclose(dense, cartesian, atol=2e-4 * float(jnp.abs(cartesian).max()))


@pytest.mark.parametrize("method", ["zero-filled", "rss", "cg-sense", "l1-wavelet", "tv"])
def test_reconstruct_takes_it(both, method):
    cartesian, dense = (reconstruct(problem, method=method, n_iter=10, scale="max") for problem in both)
    np.testing.assert_allclose(dense.images, cartesian.images, atol=2e-4 * float(np.abs(cartesian.images).max()))
    assert dense.images.shape == (1, Y, X)


def test_scale_of_the_first_picture(both):
    """BART's rule looks at the calibration region; where an encoding has none, at the first picture."""
    _, dense = both
    image = np.sort(np.ravel(classical.rss_image(dense)))
    assert float(classical.data_scale(dense, "bart", calib_size=(6, 6))) in image


def test_examples_have_its_data_and_the_scale_of_their_first_picture():
    part = slices(1)[0]
    example = prepare(part, HOW, np.random.default_rng(3))
    assert set(example) == {"kspace", "rows", "columns", "maps", "target", "scale", "data_range"}
    assert example["kspace"].shape == (COILS, N_SAMPLES) and example["kspace"].dtype == np.complex64
    problem = Problem.from_example(jax.tree.map(jnp.asarray, example), DENSE_DFT)
    # in units of the scale the first picture's maximum is 1
    assert float(jnp.abs(classical.zero_filled(problem)).max()) == pytest.approx(1, rel=1e-4)
    full = Sense(jnp.asarray(part.maps), CARTESIAN.build({"mask": None})).adjoint(jnp.asarray(part.kspace))
    np.testing.assert_allclose(example["target"] * example["scale"], full, atol=1e-4 * float(jnp.abs(full).max()))
    assert {name: (a.shape, a.dtype) for name, a in DENSE_DFT.abstract(part.kspace.shape, (1, 1)).items()} == {
        name: (example[name].shape, example[name].dtype) for name in ("kspace", "rows", "columns")
    }
    assert pickle.loads(pickle.dumps(HOW)) == HOW  # processes that prepare examples are handed it so


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("strategy", [end_to_end(), gleam(2)])
def test_networks_train_on_it(name, strategy, tmp_path):
    model = NETWORKS[name]()
    update = from_grad_fn(strategy(batched(model), losses.complex_l1), optax.adam(3e-2))
    feed = batches(slices(4), HOW, batch_size=2, seed=0)
    problem, _ = next(iter(feed))
    assert isinstance(problem.op.encoding, DenseDFT) and problem.kspace.shape == (2, COILS, N_SAMPLES)
    params = batched(model).init(jax.random.key(0), problem)
    seen = labelled(slices(2), HOW)
    scores = evaluator(model, seen, variant="fastmri")
    before = scores(params).metrics["nmse"]
    state = fit(update, params, feed, out=tmp_path, n_updates=15, progress=False)
    assert scores(state.params).metrics["nmse"] < 0.7 * before
    _, _, problem, target = next(iter(seen))
    assert run(model, state.params, problem).shape == target.image.shape == (Y, X)


def test_memory_is_reported_of_shapes_alone():
    def batch():
        arrays = {
            **DENSE_DFT.abstract((COILS, Y, X), (1, X)),
            "maps": jax.ShapeDtypeStruct((COILS, Y, X), np.complex64),
        }
        example = {name: jnp.zeros((2, *array.shape), array.dtype) for name, array in arrays.items()}
        return Problem.from_example(example, DENSE_DFT), Target(jnp.zeros((2, Y, X), np.complex64))

    rows = memory_report(
        NETWORKS["pgd"](), losses.complex_l1, optax.adam(1e-3), *jax.eval_shape(batch), strategies={"gleam": gleam(2)}
    )
    assert rows[0].memory.temporary > 0


def test_refused(both):
    _, dense = both
    with pytest.raises(ValueError, match=r"encoding dense-dft is made of kspace, rows, columns: columns missing"):
        Problem.from_example({"kspace": dense.kspace, "rows": dense.op.encoding.rows}, DENSE_DFT)
    with pytest.raises(ValueError, match=r"needs a Cartesian problem.*cg_sense takes any other"):
        classical.sense(dense, acceleration=(2, 1))
    with as_user(), pytest.raises(ValueError, match="an example has maps already"):
        EncodingRecord("mine", ("maps",), *[None] * 4)
