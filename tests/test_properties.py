"""Properties that hold for any sizes, on the host alone: published masks, crops, and files that are written and read again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrecon import data
from jaxrecon.metrics.crop import crop_to_smallest, crop_to_target
from jaxrecon.sampling.named import MASKS, Request, names

ANY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
PUBLISHED = [name for name in names("lines", "frames") if MASKS[name].published]
WHOLE_NUMBERS = ("equispaced", "magic", "kt-shear")
"""Masks whose acceleration is a whole number."""
EXACT = ("fixed-count", "kt-gaussian")
"""Masks of n / R columns, rounded down, in each frame."""

sizes = st.integers(1, 12)


@ANY
@given(
    name=st.sampled_from(PUBLISHED),
    n=st.integers(4, 64),
    acceleration=st.one_of(st.integers(2, 12), st.floats(1.25, 12)),
    share=st.floats(0, 1.1),
    n_frames=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_published_masks_are_refused_in_words_or_keep_their_promise(name, n, acceleration, share, n_frames, seed):
    acceleration = round(acceleration) if name in WHOLE_NUMBERS else acceleration
    n_acs = round(share * n / acceleration)  # of what the acceleration leaves: most requests can be met
    mask, request = MASKS[name], Request((1, n), acceleration, n_acs, n_frames)
    try:
        drawn = mask.published(seed, request)
    except ValueError as error:
        # never a word of NumPy's
        assert any(word in str(error) for word in ("acceleration", "centre", "n_acs", "n_cal"))
        return
    assert drawn.shape == ((n_frames, n) if mask.kind == "frames" else (n,)) and drawn.dtype == np.float32
    assert set(np.unique(drawn)) <= {0, 1} and np.array_equal(drawn, mask.published(seed, request))
    assert drawn[..., mask.center(request)].all()
    if name in EXACT:
        assert (drawn.sum(-1) == int(n / acceleration)).all()


@ANY
@given(
    shape=st.tuples(sizes, sizes), other=st.tuples(sizes, sizes), rounding=st.sampled_from(("floor", "ceil", "center"))
)
def test_crops_keep_the_middle(shape, other, rounding):
    smaller = tuple(map(min, shape, other))
    image = np.arange(np.prod(shape)).reshape(shape)
    crop = crop_to_target(image, smaller, rounding=rounding)
    assert crop.shape == smaller
    row, column = divmod(int(crop[0, 0]), shape[1])
    assert np.array_equal(crop, image[row : row + smaller[0], column : column + smaller[1]])
    for before, size, n in zip((row, column), shape, smaller, strict=True):
        more_after = size - n - 2 * before
        assert more_after in {"floor": (0, 1), "ceil": (0, -1), "center": (-1, 0, 1)}[rounding]
    assert [a.shape for a in crop_to_smallest(image, np.zeros(other))] == [smaller, smaller]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@ANY
@given(
    shape=st.tuples(sizes, sizes, sizes),
    suffix=st.sampled_from((".h5", ".npy", ".npz", ".nii", ".nii.gz")),
    seed=st.integers(0, 9),
)
def test_images_come_back_from_files(folder, shape, suffix, seed):
    images = np.random.default_rng(seed).random(shape, np.float32)
    path = data.write_reconstruction(folder / f"images{suffix}", images, overwrite=True)
    with data.open(path) as scan:
        assert len(scan) == shape[0] and scan.header.shape == shape[1:]
        assert np.array_equal(np.stack([part.image for part in scan]), images)


@ANY
@given(
    shape=st.tuples(sizes, sizes, sizes, sizes),
    has=st.sets(st.sampled_from(("mask", "maps", "target"))),
    as_pairs=st.booleans(),
    compressed=st.booleans(),
    seed=st.integers(0, 9),
)
def test_kspace_comes_back_from_npz(folder, shape, has, as_pairs, compressed, seed):
    rng = np.random.default_rng(seed)
    draw = lambda *sizes: (rng.standard_normal(sizes) + 1j * rng.standard_normal(sizes)).astype(np.complex64)
    n_slices, n_coils, y, x = shape
    stored = {"kspace": draw(*shape), "maps": draw(n_coils, y, x), "target": rng.random((n_slices, y, x), np.float32)}
    stored["mask"] = rng.random((y, x)) < 0.5
    stored = {name: array for name, array in stored.items() if name in {"kspace", *has}}
    pairs = np.stack([stored["kspace"].real, stored["kspace"].imag], -1) if as_pairs else stored["kspace"]
    (np.savez_compressed if compressed else np.savez)(folder / "scan.npz", **stored | {"kspace": pairs})
    with data.open(folder / "scan.npz", axes="slice,coil,y,x") as scan:
        for i, part in enumerate(scan):
            assert np.array_equal(part.kspace, stored["kspace"][i])
            for name in ("mask", "maps", "target"):
                own = getattr(part, name)
                if name in has:
                    assert np.array_equal(own, stored[name][i] if name == "target" else stored[name])
                else:
                    assert own is None
        assert i + 1 == len(scan) == n_slices
