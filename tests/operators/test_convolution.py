"""Linear convolution in k-space: against its definition for every parity, and its two short forms against transforms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.operators import (
    ImageConvolution,
    MapConvolution,
    kernels_to_maps,
    linear_grid,
    maps_to_kernels,
    pad_mask,
    to_grid,
    vdot,
)
from jaxrecon.operators.convolution_by_columns import image_normal
from jaxrecon.operators.cpu import faster_by_columns

PARITIES = list(itertools.product([(12, 9), (11, 10)], [(5, 4), (4, 3)]))


@pytest.mark.parametrize(("shape", "kernel"), PARITIES)
def test_it_is_the_linear_convolution_for_every_parity(x64, random_complex, shape, kernel):
    grid = linear_grid(shape, kernel)
    assert all(p - (n + k - 1) in (0, 1) for p, n, k in zip(grid, shape, kernel, strict=True))
    kernels, image = random_complex((3, *kernel), np.complex128), random_complex(grid, np.complex128)

    @jax.jit
    def convolved(kernels, image):
        by_maps = MapConvolution(image, None, shape, kernel).forward
        by_image = ImageConvolution(kernels, None, shape, grid).forward
        # the centre of a kernel is its sample size // 2: a delta there changes nothing
        delta = crop_or_pad(jnp.ones((1, 1, 1), complex), kernel)
        m = fftc(image)
        return by_image(image), by_maps(kernels), m, by_maps(delta)[0], crop_or_pad(m, shape)

    by_image, by_maps, m, by_delta, cropped = jax.device_get(convolved(kernels, image))
    np.testing.assert_allclose(by_image, by_maps, atol=1e-12)
    for own, s in zip(by_maps, np.asarray(kernels), strict=True):
        valid = convolve2d(m, s, mode="valid")
        # where the grid has one sample more than it needs, the first one of the valid part is not used
        extra = [a - b for a, b in zip(valid.shape, shape, strict=True)]
        np.testing.assert_allclose(np.sqrt(m.size) * own, valid[extra[0] :, extra[1] :], atol=1e-11)
    np.testing.assert_allclose(np.sqrt(m.size) * by_delta, cropped, atol=1e-12)


@pytest.mark.parametrize(("shape", "kernel"), PARITIES)
@pytest.mark.parametrize(("sets", "extra"), [(None, 0), (2, 3)])
def test_the_forms_for_line_masks_are_the_normal_operators(x64, random_complex, rng, shape, kernel, sets, extra):
    grid = tuple(n + extra for n in linear_grid(shape, kernel))
    leading = () if sets is None else (sets,)
    image, kernels = (random_complex(s, np.complex128) for s in ((*leading, *grid), (*leading, 3, *kernel)))
    weights = rng.random(shape[1])
    cotangent = random_complex(image.shape, np.complex128)

    @jax.jit
    def both(weights, kernels, image):
        """Both operators in both forms, and the gradient of the one that is written out."""
        of_maps, of_image = (
            MapConvolution(image, weights, shape, kernel),
            ImageConvolution(kernels, weights, shape, grid),
        )
        short = of_maps.prepared_normal()(kernels)

        def twice(kernels, image, weights, by_transforms):
            op = ImageConvolution(kernels, weights, shape, grid)
            normal = (
                op.prepared_normal(by_transforms=True) if by_transforms else image_normal(kernels, weights, shape, grid)
            )
            return jnp.real(jnp.vdot(cotangent, normal(normal(image)) * image))

        gradients = [jax.grad(twice, (0, 1, 2))(kernels, image, weights, by) for by in (False, True)]
        without_coils = image_normal(kernels, weights, shape, grid)(image)
        expected = of_maps.adjoint(of_maps.forward(kernels)), of_image.adjoint(of_image.forward(image)), gradients[1]
        return (short, without_coils, gradients[0]), expected

    for own, expected in zip(*map(jax.tree.leaves, both(weights, kernels, image)), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-11 * np.abs(expected).max())


def test_the_short_form_is_taken_where_it_is_faster():
    size = dict(shape=(160, 128), grid=(174, 136), kernel=(15, 9))
    faster = faster_by_columns
    assert faster(1, 15, **size) and not faster(1, 4, **size) and not faster(2, 15, **size)
    assert faster(1, 15, (640, 368), (654, 376), (15, 9))


def test_parts(x64, random_complex):
    kernels, maps = random_complex((3, 4, 3), np.complex128), random_complex((3, 12, 9), np.complex128)
    y, mask = random_complex((3, 8, 7), np.complex128), np.arange(7.0)

    @jax.jit
    def look(kernels, maps, y, mask):
        """Pairs of what must be equal."""
        to_maps, to_kernels = kernels_to_maps(kernels, (12, 9)), maps_to_kernels(maps, (4, 3))
        op = ImageConvolution(kernels, mask, (8, 7), (12, 9))
        return [
            (to_maps, ifftc(crop_or_pad(kernels, (12, 9)))),
            (to_kernels, crop_or_pad(fftc(maps), (4, 3))),
            (vdot(to_maps, maps), vdot(kernels, to_kernels)),
            (op.combine(to_grid(y, mask, (12, 9))), op.adjoint(y)),
        ]

    for own, expected in look(kernels, maps, y, mask):
        np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="the mask must be"):
        pad_mask(jnp.ones((3, 1, 7)), (8, 7), (12, 9))
    with pytest.raises(ValueError, match=r"map kernels of \(13, 3\) do not fit a grid of \(12, 9\)"):
        kernels_to_maps(random_complex((3, 13, 3)), (12, 9))
