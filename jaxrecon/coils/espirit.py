"""ESPIRiT: coil sensitivity maps as eigenvectors of the operator that the calibration region's null space defines."""

import functools
import math
from typing import Literal, NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from ..checks import UserError, check_at_least, check_calibration
from ..fourier import crop_or_pad
from ..host import native
from ..typing import AnyArray, Scalar

Phase = Literal["first_coil", "principal"]
CROP = 0.8
"""Maps are 0 where ESPIRiT's eigenvalue is not above this number, unless said: see `espirit_eigen`."""

# Entries of the matrices G(r) that are worked on at a time: in the cache of a core, or enough to fill an accelerator.
_CHUNK_ENTRIES = {"cpu": 2**15}
_CHUNK_ENTRIES_ACCELERATOR = 2**24


class EspiritResult(NamedTuple):
    """What ESPIRiT finds.

    Attributes:
      maps: (set, coil, y, x).
      eigenvalues: (set, y, x), within [0, 1].
      singular_values: (kernel,), all of the calibration matrix, the largest first.
      n_kernels: the number of kernels kept.

    Source: Uecker et al. 2014 (ESPIRiT).
    """

    maps: Complex[Array, "set coil *z y x"]
    eigenvalues: Float[Array, "set *z y x"]
    singular_values: Float[Array, " kernel"]
    n_kernels: Int[Array, ""]


class EspiritOptions(TypedDict, total=False):
    """The options of `espirit`, as `espirit_eigen` explains them."""

    calib_size: int
    kernel_size: int
    threshold: float
    crop: float
    n_maps: int
    soft: bool
    phase: Phase
    n_iter: int
    chunk: int | None


def espirit(
    kspace: Complex[AnyArray, "coil *z y x"], **options: Unpack[EspiritOptions]
) -> Complex[Array, "coil *z y x"] | Complex[Array, "set coil *z y x"]:
    """Coil sensitivity maps of unit norm from the fully sampled center of k-space.

    S(r) is the eigenvector of G(r) = sum_k q_k(r) q_k(r)^H with eigenvalue 1, where q_k are the coil images of the
    kernels that span the rows of the calibration matrix.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered; only its central calib_size region along each axis is read.
      **options: those of `espirit_eigen`, which also gives the eigenvalues: calib_size, kernel_size, crop, n_maps ...

    Returns:
      (coil, y, x) for n_maps = 1, else (set, coil, y, x); complex as kspace.

    Raises:
      ValueError: sizes that do not fit each other; a calibration region with unsampled positions, or NaN (checked on
        concrete arrays only, not under `jit`).

    Source: Uecker et al. 2014 (ESPIRiT). sigpy and BART differ from this where two eigenvalues are close (background):
    their 100 and 30 power iterations have not converged there.

    Example:
      >>> espirit(jnp.ones((4, 32, 30), complex), calib_size=12, kernel_size=4).shape
      (4, 32, 30)
    """
    maps = espirit_eigen(kspace, **options).maps
    return maps[0] if len(maps) == 1 else maps


def espirit_eigen(
    kspace: Complex[AnyArray, "coil *z y x"],
    *,
    calib_size: int = 24,
    kernel_size: int = 6,
    threshold: float = 0.02,
    crop: float = CROP,
    n_maps: int = 1,
    soft: bool = False,
    phase: Phase = "first_coil",
    n_iter: int = 128,
    chunk: int | None = None,
) -> EspiritResult:
    """ESPIRiT with everything it finds: maps, eigenvalues, singular values, number of kernels.

    1. A = all kernel_size^d blocks of the calibration region as rows; A = U diag(s) V^H.
    2. P = sum_{k: s_k > threshold s_1} v_k v_k^H, v_k the rows of V^H as they stand: (coil, position) squared.
    3. C_cd(D) = sum_{j - j' = D} P[(c, j), (d, j')], in (2 kernel_size - 1)^d: the kernels' correlations.
    4. G_cd(r) = sum_D C_cd(D) exp(2 pi i D . (r - n // 2) / n) / kernel_size^d.
    5. Per pixel the leading eigenvectors of the Hermitian G(r), whose eigenvalues lie within [0, 1].

    Steps 4 and 5 go over chunks of image lines: G(r) of all pixels never exists at once.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered.
      calib_size: width of the calibration region in samples, along each spatial axis (default of sigpy and BART).
      kernel_size: width of the k-space kernels in samples (default of sigpy and BART).
      threshold: kernels with singular value above threshold * largest are kept. BART's `-t` is the square of this.
      crop: maps are zero where the eigenvalue is not above it; 0 keeps everything. The default of BART is 0.8, that of sigpy
        0.95. What a crop takes from the object folds into the rest: on a measured head of 16 coils 0.95 cuts off parts of the
        scalp, and the error of CG-SENSE is 0.050 at R = 2 and 0.085 at R = 4, at 0.8 it is 0.022 and 0.058. Below 0.8 noise
        from the background comes in (0.082 at R = 4 without a crop); on simulated heads, whose maps are smooth, 0.95 would be
        better by at most a tenth. Soft weights at 0.9 do as well as 0.8, a second set adds nothing where none is needed.
      n_maps: map sets; a second one describes an object that is larger than the field of view.
      soft: weight the maps smoothly by their eigenvalue, see `soft_weight`, instead of cropping (soft-SENSE).
      phase: "first_coil" makes the first coil real and positive (sigpy); "principal" makes sum_c conj(u_c) S_c so,
        with u the first left singular vector of the calibration data (coil, samples) (BART).
      n_iter: equivalent number of power iterations; most of them are squarings of G(r).
      chunk: pixels worked on at a time; by default what fits the cache.

    Returns:
      EspiritResult; its maps have the set axis also for n_maps = 1, its eigenvalues are neither cropped nor weighted.

    Raises:
      ValueError: as `espirit`.

    Source: Uecker et al. 2014 (ESPIRiT).
    """
    check_at_least("kspace", kspace, ("coil", "y", "x"))
    n_coils, *shape = kspace.shape
    if not 1 <= n_maps <= n_coils:
        raise UserError(f"n_maps is {n_maps}, but {n_coils} coils have between 1 and {n_coils} map sets")
    if phase not in ("first_coil", "principal"):
        raise UserError(f"phase is {phase!r}; wanted: 'first_coil' (sigpy) or 'principal' (BART)")
    kspace = native(kspace)
    check_calibration(kspace, calib_size, kernel_size, several=True)
    if chunk is None:
        entries = _CHUNK_ENTRIES.get(jax.default_backend(), _CHUNK_ENTRIES_ACCELERATOR)
        chunk = max(entries // n_coils**2, 1)
    principal = phase == "principal"
    correlation, reference, *singular = _kernels(
        kspace, threshold, calib_size=calib_size, kernel_size=kernel_size, principal=principal
    )
    maps, eigenvalues = _maps(
        correlation, reference, crop, shape=tuple(shape), n_maps=n_maps, soft=soft, n_iter=n_iter, chunk=chunk
    )
    return EspiritResult(maps, eigenvalues, *singular)


@functools.partial(jax.jit, static_argnames=("calib_size", "kernel_size", "principal"))
def _kernels(kspace, threshold, *, calib_size, kernel_size, principal):
    """Steps 1 to 3: (correlations, the direction (coil,) that is made real, singular values, number of kernels)."""
    n_coils, *shape = kspace.shape
    calib = crop_or_pad(kspace, (calib_size,) * len(shape))
    _, singular_values, kernels = jnp.linalg.svd(calibration_matrix(calib, kernel_size), full_matrices=False)
    keep = singular_values > threshold * singular_values[0]
    correlation = _correlate(kernels * keep[:, None], n_coils, kernel_size, len(shape))
    if principal:
        reference = jnp.linalg.svd(calib.reshape(n_coils, -1), full_matrices=False)[0][:, 0]
    else:
        reference = jnp.zeros(n_coils, kspace.dtype).at[0].set(1)
    return correlation, reference, singular_values, keep.sum()


@functools.partial(jax.jit, static_argnames=("shape", "n_maps", "soft", "n_iter", "chunk"))
def _maps(correlation, reference, crop, *, shape, n_maps, soft, n_iter, chunk):
    """Steps 4 and 5: (maps (set, coil, *shape), eigenvalues (set, *shape))."""
    n_coils = len(reference)

    def lines(index):  # flat indices over all spatial axes but the last
        gram = _gram(correlation, index, shape)
        maps, eigenvalues = _leading(gram, n_maps, n_iter)
        inner = jnp.einsum("c,scp->sp", reference.conj(), maps, precision="highest")
        length = jnp.abs(inner)
        rotation = jnp.where(length > 0, inner.conj() / jnp.where(length > 0, length, 1), 1)
        weight = soft_weight(eigenvalues, crop) if soft else (eigenvalues > crop).astype(eigenvalues.dtype)
        return maps * (rotation * weight)[:, None], eigenvalues

    n_lines = math.prod(shape[:-1])
    per_chunk = min(max(chunk // shape[-1], 1), n_lines)
    n_chunks = -(-n_lines // per_chunk)
    index = jnp.minimum(jnp.arange(n_chunks * per_chunk), n_lines - 1).reshape(n_chunks, per_chunk)
    maps, eigenvalues = jax.lax.map(lines, index)  # (chunk, set, coil, pixel), (chunk, set, pixel)
    maps, eigenvalues = jnp.moveaxis(maps, 0, 2), jnp.moveaxis(eigenvalues, 0, 1)
    pixels = n_lines * shape[-1]
    return (
        maps.reshape(n_maps, n_coils, -1)[..., :pixels].reshape(n_maps, n_coils, *shape),
        eigenvalues.reshape(n_maps, -1)[:, :pixels].reshape(n_maps, *shape),
    )


def calibration_matrix(
    calib: Complex[AnyArray, "coil *z y x"], kernel_size: int
) -> Complex[Array, "block coil_and_position"]:
    """All kernel_size^d blocks of the calibration region (stride 1) as rows, columns coil-major.

    Args:
      calib: (coil, y, x) or (coil, z, y, x), the calibration region.
      kernel_size: width of a block along each spatial axis.

    Returns:
      (block, coil * kernel_size^d), with (n - kernel_size + 1)^d blocks.

    Source: Uecker et al. 2014 (ESPIRiT), the matrix A.
    """
    blocks = calib  # (coil, *block, *position)
    for axis in range(1, calib.ndim):
        start = np.arange(calib.shape[axis] - kernel_size + 1)
        blocks = jnp.moveaxis(jnp.take(blocks, start[:, None] + np.arange(kernel_size)[None], axis), axis + 1, -1)
    n_space = calib.ndim - 1
    n_blocks = math.prod(blocks.shape[1 : 1 + n_space])
    return jnp.moveaxis(blocks, 0, n_space).reshape(n_blocks, -1)


def soft_weight(eigenvalues: Float[AnyArray, "*axes"], crop: Scalar) -> Float[Array, "*axes"]:
    """The S-curve of soft-SENSE: 0 where sqrt(eigenvalue) <= 2 crop - 1, 1/2 at crop, 1 at 1.

    w = 1/2 + t / (1 + t^2), t = (sqrt(eigenvalue) - crop) / (1 - crop), clipped to [-1, 1].

    Args:
      eigenvalues: any shape, within [0, 1].
      crop: where the weight is 1/2.

    Returns:
      The weight, of the shape of the eigenvalues.

    Source: BART, `ecalib -S`.
    """
    t = jnp.clip((jnp.sqrt(jnp.maximum(eigenvalues, 0)) - crop) / (1 - crop), -1, 1)
    return 0.5 + t / (1 + t**2)


def _correlate(kernels, n_coils, size, n_space):
    """Steps 2 and 3: (kernel, coil * position) to correlations (coil * coil, (2 size - 1)^(d - 1), 2 size - 1)."""
    projection = jnp.einsum("ki,kj->ij", kernels, kernels.conj(), precision="highest")
    block = (size,) * n_space
    out = jnp.moveaxis(projection.reshape(n_coils, *block, n_coils, *block), 1 + n_space, 1)
    for axis in range(2, 2 + n_space):  # (coil, coil, *j, *j'): the first j' axis goes, its j axis becomes j - j'
        parts = [
            jnp.pad(part, [(size - 1 - j, j) if a == axis else (0, 0) for a in range(out.ndim - 1)])
            for j, part in enumerate(jnp.moveaxis(out, 2 + n_space, 0))
        ]
        out = functools.reduce(jnp.add, parts)
    return out.reshape(n_coils**2, -1, 2 * size - 1) / size**n_space


def _gram(correlation, index, shape):
    """Step 4 for the lines at flat `index`: real and imaginary part of G, each (coil, coil, line * x)."""
    n_pairs, _, width = correlation.shape
    lead = jnp.ones((index.shape[0], 1), correlation.dtype)
    for position, n in zip(jnp.unravel_index(index, shape[:-1]), shape[:-1], strict=True):
        wave = _waves(position, n, width, correlation.dtype)
        lead = (lead[:, :, None] * wave[:, None, :]).reshape(index.shape[0], -1)
    rows = jnp.einsum("lj,pjx->plx", lead, correlation, precision="highest").reshape(-1, width)
    wave = _waves(jnp.arange(shape[-1]), shape[-1], width, correlation.dtype).T
    # real products: complex ones and everything elementwise on complex numbers are slow on a CPU
    rows = jnp.concatenate([rows.real, rows.imag], 1)
    n_coils = math.isqrt(n_pairs)

    def product(waves):
        return jnp.matmul(rows, jnp.concatenate(waves), precision="highest").reshape(n_coils, n_coils, -1)

    return product([wave.real, -wave.imag]), product([wave.imag, wave.real])


def _waves(position, n, width, dtype):
    """exp(2 pi i D (r - n // 2) / n): (position, D), with D from -(width // 2) to width // 2."""
    turns = (position[:, None] - n // 2) * jnp.arange(-(width // 2), width // 2 + 1)[None] % n
    return jnp.exp(2j * np.pi * (turns / n)).astype(dtype)


def _leading(gram, n_maps, n_iter):
    """Step 5: the eigenvectors (set, coil, pixel) and eigenvalues (set, pixel) of Hermitian matrices, pixels last."""
    n_coils = gram[0].shape[0]
    # G^(2^m) by m squarings (n_coils^3 each) leaves n_iter / 2^m iterations (n_coils^2 each): about the cheapest m
    n_squarings = max(int(math.log2(max(n_iter / n_coils, 1))), 0)
    vectors, values = [], []
    for _ in range(n_maps):
        (re, im), value = _largest(gram, n_squarings, -(-n_iter // 2**n_squarings))
        vectors.append(jax.lax.complex(re, im))
        values.append(value)
        # deflation: the next largest eigenvalue becomes the largest
        gram = (
            gram[0] - value[None, None] * (re[:, None] * re[None] + im[:, None] * im[None]),
            gram[1] - value[None, None] * (im[:, None] * re[None] - re[:, None] * im[None]),
        )
    return jnp.stack(vectors), jnp.stack(values)


def _largest(gram, n_squarings, n_iter):
    n_coils = gram[0].shape[0]

    def square(_, matrix):
        # M M^H, by rows: sum_c M_ac conj(M_bc); over the trace, which keeps the powers from vanishing
        re, im = matrix
        pairs = [(re[:, None, c], re[None, :, c], im[:, None, c], im[None, :, c]) for c in range(n_coils)]
        re, im = sum(a * b + p * q for a, b, p, q in pairs), sum(p * b - a * q for a, b, p, q in pairs)
        scale = 1 / _positive(sum(re[c, c] for c in range(n_coils)))
        return re * scale[None, None], im * scale[None, None]

    re, im = power = jax.lax.fori_loop(0, n_squarings, square, gram)
    # start with the column of the largest diagonal entry: it is never orthogonal to the wanted eigenvector
    diagonal = jnp.stack([re[c, c] for c in range(n_coils)])
    start = (diagonal == diagonal.max(0)[None]).astype(re.dtype)
    vector = _normalized((re * start[None]).sum(1), (im * start[None]).sum(1))
    vector = jax.lax.fori_loop(0, n_iter - 1, lambda _, v: _normalized(*_apply(power, v)), vector)
    image = _apply(gram, vector)
    value = (vector[0] * image[0] + vector[1] * image[1]).sum(0)
    return _normalized(*image), value


def _apply(matrix, vector):
    re, im = vector[0][None], vector[1][None]
    return (matrix[0] * re - matrix[1] * im).sum(1), (matrix[0] * im + matrix[1] * re).sum(1)


def _normalized(re, im):
    scale = jax.lax.rsqrt(_positive((re**2 + im**2).sum(0)))[None]
    return re * scale, im * scale


def _positive(x):
    return jnp.maximum(x, jnp.finfo(x.dtype).tiny)
