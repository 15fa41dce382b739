"""Batches: what is in them, buckets, order, exact places, workers; examples against formulas."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.data.pipeline import batches, labelled, to_problem
from jaxrecon.data.preparation import (
    Preparation,
    acs_maximum,
    combined_target,
    constant,
    file_target,
    instance_std,
    maximum,
    prepare,
    rss_target,
    top_magnitude,
    volume_maximum,
)
from jaxrecon.data.recipes import magnitude_target
from jaxrecon.data.scan import Slice
from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.metrics import top_magnitude_scale
from jaxrecon.operators import CartesianSense

COILS, Y, X = 3, 11, 8


def draw_lines(part, rng):
    mask = rng.random(part.kspace.shape[-1]) < 0.5
    mask[len(mask) // 2] = True
    return mask


def middle(part, mask):
    return np.arange(mask.shape[-1])[None] == mask.shape[-1] // 2


def make(n=1, *, coils=COILS, shape=(Y, X), seed=0, file="", **more):
    rng = np.random.default_rng(seed)

    def array(*size):
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)

    return [Slice(kspace=array(coils, *shape), maps=array(coils, *shape), index=i, file=file, **more) for i in range(n)]


@pytest.fixture
def part():
    return make()[0]


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def test_an_example_is_the_forward_model_over_the_scale(part, generator):
    how = Preparation(mask=draw_lines, target=combined_target, scale=top_magnitude)
    example = prepare(part, how, generator)
    problem, target = to_problem(example)
    assert example["mask"].shape == (1, X) and 0 < example["mask"].sum() < X
    scale = float(example["scale"])
    op = CartesianSense(jnp.asarray(part.maps), jnp.asarray(example["mask"]))
    full = CartesianSense(jnp.asarray(part.maps), None)
    np.testing.assert_allclose(problem.kspace * scale, part.kspace * example["mask"], rtol=1e-5)
    zero_filled = op.adjoint(jnp.asarray(part.kspace))
    assert scale == pytest.approx(float(top_magnitude_scale(zero_filled)), rel=1e-5)
    np.testing.assert_allclose(target.image * scale, full.adjoint(jnp.asarray(part.kspace)), rtol=1e-4, atol=1e-5)
    assert float(target.data_range) == pytest.approx(float(jnp.abs(target.image).max()), rel=1e-5)
    assert problem.key is None and problem.acs is None
    assert {a.dtype for a in (problem.kspace, problem.op.maps, target.image)} == {jnp.dtype("complex64")}


def test_scales(part, generator):
    how = functools.partial(Preparation, mask=draw_lines, target=rss_target, maps=False)
    plain = prepare(part, how(), np.random.default_rng(7))
    coil_images = np.asarray(ifftc(jnp.asarray(plain["kspace"])))
    image = np.sqrt((np.abs(coil_images) ** 2).sum(0))
    values = {
        maximum: image.max(),
        top_magnitude: np.sort(image.ravel())[-round(0.05 * image.size)],
        instance_std: image.std(ddof=1),
        constant(1e-6): 1e-6,
    }
    for scale, value in values.items():
        example = prepare(part, how(scale=scale), np.random.default_rng(7))
        assert float(example["scale"]) == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(example["kspace"], plain["kspace"] / value, rtol=1e-5)
        assert "maps" not in example
    example = prepare(part, how(scale=acs_maximum, acs=middle), np.random.default_rng(7))
    assert float(example["scale"]) == pytest.approx(np.abs(part.kspace[..., X // 2]).max())
    assert example["acs"].sum() == 1
    with pytest.raises(ValueError, match="acs="):
        prepare(part, how(scale=acs_maximum), generator)


def test_scale_of_frames_is_that_of_their_time_average(generator):
    part = make(shape=(Y, X))[0]
    frames = np.stack([part.kspace * (1 + k) for k in range(3)])
    mask = np.ones((3, 1, 1, X), bool)
    mask[0, ..., 0] = False
    example = prepare(
        Slice(kspace=frames, maps=part.maps),
        Preparation(mask=lambda part, rng: mask, target=combined_target, scale=top_magnitude),
        generator,
    )
    average = (frames * mask).sum(0) / (mask.sum(0) + 1e-6)
    image = CartesianSense(jnp.asarray(part.maps), None).adjoint(jnp.asarray(average))
    assert float(example["scale"]) == pytest.approx(float(top_magnitude_scale(image)), rel=1e-4)
    assert example["target"].shape == (3, Y, X)


@pytest.mark.parametrize("shape", [(7, 6), (14, 10), (11, 5)])
def test_sizes_change_in_the_image_domain(part, shape, generator):
    part = Slice(kspace=part.kspace, maps=part.maps, target=np.ones((8, 8), np.float32))
    example = prepare(part, Preparation(mask=draw_lines, shape=shape, n_coils=5, target=file_target), generator)
    image = crop_or_pad(ifftc(jnp.asarray(part.kspace)), shape)
    expected = np.asarray(fftc(image)) * example["mask"]
    np.testing.assert_allclose(example["kspace"][:COILS], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(example["maps"][:COILS], crop_or_pad(jnp.asarray(part.maps), shape))
    assert not example["kspace"][COILS:].any() and example["kspace"].shape[0] == 5
    assert example["target"].shape == tuple(min(8, n) for n in shape)


def test_the_files_own_mask_stays(part, generator):
    own = np.ones((1, X), bool)
    own[0, :3] = False
    part = Slice(kspace=part.kspace, maps=part.maps, mask=own)
    example = prepare(part, Preparation(target=combined_target), generator)
    np.testing.assert_array_equal(example["mask"], own)
    drawn = prepare(part, Preparation(mask=draw_lines, target=combined_target), generator)
    assert not drawn["mask"][0, :3].any()
    with pytest.raises(ValueError, match="undersampled along axis -1"):
        prepare(part, Preparation(target=combined_target, shape=(Y, 6)), generator)


def test_padding_and_volume_maximum_come_from_the_header(tmp_path, generator):
    import h5py

    path = tmp_path / "scan.h5"
    kspace = np.stack([p.kspace for p in make(2)])
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["reconstruction_rss"] = np.ones((2, 8, 8), np.float32)
        file.attrs.update({"max": 3.5, "padding_left": 2, "padding_right": 7, "acquisition": "AXT2"})
    from jaxrecon.data import Source, index_files

    source = Source(index_files(path))
    example = prepare(source[0], Preparation(data_range=volume_maximum, scale=constant(0.5)), generator)
    np.testing.assert_array_equal(example["mask"][0], [0, 0, 1, 1, 1, 1, 1, 0])
    assert float(example["data_range"]) == 7
    problem, target = next(iter(batches(source, Preparation(mask=draw_lines), batch_size=2, seed=0)))
    assert problem.kspace.shape == (2, COILS, Y, X) and target.image.shape == (2, 8, 8)
    with pytest.raises(ValueError, match="target_maximum"):
        prepare(make()[0], Preparation(target=rss_target, data_range=volume_maximum), generator)


def test_targets_are_not_made_of_undersampled_kspace(generator):
    """Gaps are refused; what was never acquired at the edges is none: padding, partial Fourier, the corners of an ellipse."""
    rows, columns = np.ogrid[-8:8, -10:10]
    edges = np.ones((1, 20), bool)
    edges[0, :3] = edges[0, -2:] = False
    ellipse = (rows / 8) ** 2 + (columns / 10) ** 2 < 1
    hole = ellipse.copy()
    hole[8, 11] = False  # one sample is 0 in all coils
    lines = columns % 3 == 0
    lines[0, 8:12] = True
    frames = np.stack([np.roll(lines, k, -1) for k in range(3)])[:, None]
    points = np.random.default_rng(0).random((16, 20)) < 0.5
    part = make(shape=(16, 20))[0]
    for target in (rss_target, combined_target):
        for mask in (None, edges, edges[0], ellipse, hole, ellipse & edges, np.zeros((16, 20), bool)):
            target(dataclasses.replace(part, mask=mask))
        for mask in (lines, lines & edges, frames, points, points & ellipse):
            with pytest.raises(ValueError, match=r"slice 0 of p/AccFactor04/a\.mat.* % of its samples.*FullSample"):
                target(dataclasses.replace(part, mask=mask, file="p/AccFactor04/a.mat"))
    assert file_target(dataclasses.replace(part, mask=lines, target=np.ones((4, 4)))).any()


def test_errors_name_the_slice_and_the_cure(part, generator):
    def refuses(part, match, **options):
        with pytest.raises(ValueError, match=match):
            prepare(part, Preparation(**options), generator)

    refuses(part, "no target: choose combined_target")
    refuses(Slice(kspace=part.kspace), "rss_target", target=combined_target)
    refuses(Slice(image=np.ones((3, 3))), "simulate it")
    larger = np.ones((Y + 1, X + 2), np.float32)
    refuses(
        Slice(kspace=part.kspace, target=larger),
        rf"expected a target of at most \({Y}, {X}\).*found \({Y + 1}, {X + 2}\)",
    )
    # fastMRI has targets wider than a narrow image
    prepare(Slice(kspace=part.kspace, target=larger[:Y]), Preparation(), generator)
    refuses(part, "more than n_coils = 2", target=rss_target, n_coils=2)
    refuses(part, "is empty", target=rss_target, mask=lambda part, rng: np.zeros(X))
    refuses(Slice(kspace=0 * part.kspace), "slice 0 .* is 0 everywhere: leave it out", target=rss_target)
    refuses(part, "slice 0 .* positive data range.* found 0", target=rss_target, data_range=lambda part, target: 0.0)


HOW = Preparation(mask=draw_lines, target=rss_target, keys=True)


def as_arrays(batch):
    problem, target = batch
    return [problem.kspace, problem.op.encoding.mask, jax.random.key_data(problem.key), target.image]


def assert_equal_batches(a, b):
    for x, y in zip(a, b, strict=True):
        for p, q in zip(as_arrays(x), as_arrays(y), strict=True):
            np.testing.assert_array_equal(p, q)


def take(iterator, n):
    return [next(iterator) for _ in range(n)]


def test_buckets_hold_one_shape_and_an_epoch_holds_each_slice_once():
    source = make(5) + make(4, shape=(9, 6), seed=1)
    data = batches(source, HOW, batch_size=2, seed=0, n_epochs=2)
    assert data.per_epoch == 4
    whole = list(data)
    assert len(whole) == 8
    norms = [np.linalg.norm(p) for p in (s.kspace for s in source)]
    for epoch in (whole[:4], whole[4:]):
        assert sorted(problem.kspace.shape for problem, _ in epoch) == [(2, 3, 9, 6)] * 2 + [(2, 3, Y, X)] * 2
        seen = [float(np.abs(t).sum()) for _, target in epoch for t in target.image]
        assert len(set(seen)) == 8 <= len(norms)
    first, second = ([as_arrays(b)[3].sum().item() for b in e] for e in (whole[:4], whole[4:]))
    assert first != second
    # masks and keys of one slice are new in each epoch
    assert not np.array_equal(as_arrays(whole[0])[2], as_arrays(whole[4])[2])
    assert_equal_batches(list(data), whole)
    other = list(batches(source, HOW, batch_size=2, seed=1, n_epochs=2))
    assert any(not np.array_equal(as_arrays(a)[3], as_arrays(b)[3]) for a, b in zip(whole, other, strict=True))


def test_masks_of_columns_and_of_points_share_a_batch():
    """Files of one folder: one seen to lack single samples, others complete."""
    points = np.random.default_rng(3).random((Y, X)) < 0.5
    points[:, X // 2] = True
    several = [
        dataclasses.replace(make(1)[0], mask=mask, target=np.ones((Y, X), np.float32)) for mask in (None, points)
    ]
    problem, _ = next(iter(batches(several, Preparation(draw_lines, target=magnitude_target), batch_size=2, seed=0)))
    assert problem.op.encoding.mask.shape == (2, Y, X)
    assert sorted((np.asarray(mask) == mask[:1]).all() for mask in problem.op.encoding.mask) == [False, True]


def test_slices_without_signal_are_left_out():
    """Of training, the next slice in their place, a pure function of the place; of an evaluation, the others moving up."""
    source = make(4, file="a.h5")
    for i in (1, 2):
        source[i] = dataclasses.replace(source[i], kspace=0 * source[i].kspace, mask=np.zeros((Y, X), bool))
    how = Preparation(mask=draw_lines, target=rss_target)
    data = batches(source, how, batch_size=2, seed=0, shuffle=False)
    whole = take(iter(data), 4)
    images = [rss_target(source[i]) for i in (0, 3)]
    for k, i in enumerate((0, 1, 1, 1)):
        np.testing.assert_allclose(whole[k // 2][1].image[k % 2], images[i], rtol=1e-5)
    assert data.n_empty == 2
    resumed = iter(data)
    resumed.set_state({"next": 3})
    np.testing.assert_array_equal(take(resumed, 1)[0][0].kspace, whole[3][0].kspace)
    left = list(labelled(source, how))
    assert [(file, index) for file, index, *_ in left] == [("a.h5", 0), ("a.h5", 1)]
    np.testing.assert_allclose(left[1][3].image, images[1], rtol=1e-5)
    with pytest.raises(ValueError, match=r"slice 1 of a\.h5: expected a signal .*, found none"):
        next(iter(batches(source[1:3], how, batch_size=1, seed=0, shuffle=False)))


def test_in_order_without_shuffle():
    source = make(4)
    data = batches(source, Preparation(target=rss_target), batch_size=2, seed=0, shuffle=False)
    for batch, pair in zip(take(iter(data), 4), [(0, 1), (2, 3)] * 2, strict=True):
        np.testing.assert_array_equal(batch[0].kspace, np.stack([source[i].kspace for i in pair]))


def test_merged_buckets_and_those_that_are_too_small():
    source = make(1) + make(1, coils=2, shape=(9, 10), seed=1)
    with pytest.raises(ValueError, match="do not fill a batch of 2"):
        batches(source, HOW, batch_size=2, seed=0)
    merged = Preparation(mask=draw_lines, target=rss_target, shape=(10, 8), n_coils=4)
    problem, _ = next(iter(batches(source, merged, batch_size=2, seed=0)))
    assert problem.kspace.shape == (2, 4, 10, 8)
    with pytest.raises(ValueError, match="no slices"):
        batches([], HOW, batch_size=1, seed=0)


def test_a_place_is_found_again_exactly():
    data = batches(make(5), HOW, batch_size=2, seed=0)
    whole = take(iter(data), 9)
    iterator = iter(data)
    take(iterator, 4)
    place = iterator.get_state()
    assert place == {"next": 4}
    resumed = iter(data)
    resumed.set_state(place)
    assert_equal_batches(take(resumed, 5), whole[4:])
    iterator.set_state({"next": 1})
    assert_equal_batches(take(iterator, 3), whole[1:4])


@pytest.mark.slow
def test_processes_give_the_same_batches():
    source = make(5)
    expected = take(iter(batches(source, HOW, batch_size=2, seed=0)), 6)
    iterator = iter(batches(source, HOW, batch_size=2, seed=0, n_workers=2))
    iterator.set_state({"next": 1})
    try:
        assert_equal_batches(take(iterator, 3), expected[1:4])
    finally:
        iterator.close()


def test_labelled_slices_of_a_volume_share_their_mask():
    source = make(3, file="a/one.h5") + make(2, file="b/two.h5", seed=1)
    examples = labelled(source, HOW)
    assert len(examples) == 5
    first, again = list(examples), list(examples)
    assert [(file, index) for file, index, *_ in first] == [("a/one.h5", i) for i in range(3)] + [
        ("b/two.h5", i) for i in range(2)
    ]
    masks = [np.asarray(problem.op.encoding.mask) for _, _, problem, _ in first]
    np.testing.assert_array_equal(masks[0], masks[2])
    assert_equal_batches([e[2:] for e in first], [e[2:] for e in again])
    assert first[0][2].kspace.shape == (COILS, Y, X)


def test_patients_have_masks_of_their_own():
    masks = [
        next(iter(labelled(make(1, file=f"P00{n}/cine.mat", shape=(5, 40)), HOW)))[2].op.encoding.mask.tolist()
        for n in (1, 2)
    ]
    assert masks[0] != masks[1]
