"""Simulated multi-coil measurements: contrast, phase, coils and noise put onto an anatomy, all pure functions of a key.

One key is one subject: the same key at several positions gives slices of one head, with the same coils and phase and
with noise of their own. Anatomy comes from `jaxrecon.data.phantoms`, or from tissue maps (`jaxrecon.data.anatomy`).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Complex, Float

from ..checks import UserError
from ..fourier import fftc
from ..typing import Key, Scalar
from .phantoms import CHEST_TISSUES, HEAD_TISSUES, chest_phantom, draws, head_phantom, random_field

TISSUE_PROPERTIES = {
    "muscle": (0.75, 1300.0, 35.0),
    "fat": (0.65, 370.0, 120.0),
    "bone": (0.05, 250.0, 5.0),
    "marrow": (0.45, 450.0, 80.0),
    "csf": (1.00, 4200.0, 1800.0),
    "grey": (0.82, 1330.0, 100.0),
    "white": (0.70, 830.0, 80.0),
    "deep_grey": (0.76, 1120.0, 78.0),
    "lesion": (0.86, 1500.0, 160.0),
    "vessel": (0.25, 1600.0, 60.0),
    "lung": (0.08, 1200.0, 30.0),
    "liver": (0.75, 750.0, 40.0),
    "myocardium": (0.80, 1100.0, 48.0),
    "blood": (0.90, 1700.0, 240.0),
}
"""Tissue -> (proton density relative to water, T1 in ms, T2 in ms), rounded values of the literature at 3 T."""


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A sequence as far as it makes contrast.

    Attributes:
      repetition_time: TR in ms.
      echo_time: TE in ms.
      inversion_time: time TI from a preceding inversion in ms; None: there is none.
      flip_angle: angle in degrees of a balanced steady state, which then replaces the formula of the spin echo.
    """

    repetition_time: float
    echo_time: float
    inversion_time: float | None = None
    flip_angle: float | None = None


CONTRASTS = {
    "t1": Contrast(2300.0, 3.0, inversion_time=1000.0),
    "t2": Contrast(6000.0, 95.0),
    "pd": Contrast(4000.0, 15.0),
    "flair": Contrast(9000.0, 110.0, inversion_time=2550.0),
    "bssfp": Contrast(3.2, 1.6, flip_angle=50.0),
}
"""Contrasts by the names that a user types (`jaxrecon simulate --contrast flair`)."""


class Simulation(NamedTuple):
    """What was simulated, truth included.

    Attributes:
      image: (y, x) or (frame, y, x), complex; magnitude of the brightest tissue 1.
      maps: (coil, y, x), complex, of unit root sum of squares at every pixel.
      kspace: (coil, y, x) or (frame, coil, y, x), complex, fully sampled, centred, with noise.
      noise_std: standard deviation of the complex noise per sample, sqrt(E |n|^2); the FFT keeps it.
    """

    image: Complex[Array, "*frame y x"]
    maps: Complex[Array, "coil y x"]
    kspace: Complex[Array, "*frame coil y x"]
    noise_std: Float[Array, ""]


def simulate(
    key: Key,
    *,
    shape: tuple[int, int] = (256, 256),
    n_coils: int = 8,
    position: Scalar = 0.2,
    contrast: Contrast = CONTRASTS["t1"],
    snr: float = 30.0,
    phase: float = 1.0,
    tissues: Float[Array, "tissue y2 x2"] | None = None,
) -> Simulation:
    """A fully sampled multi-coil measurement of a random head: kspace_c = F (S_c image) + n_c.

    Args:
      key: the subject (anatomy, coils, phase, noise). vmap over keys or positions makes a batch.
      shape: (y, x) of the image.
      n_coils: number of receive coils.
      position: where the slice lies, from 0 (basal ganglia) to 1 (near the vertex); it also decides the slice's noise.
      contrast: one of CONTRASTS, or your own.
      snr: mean magnitude within the head divided by noise_std; infinity for none.
      phase: size in radians of the smooth image phase.
      tissues: fractions of HEAD_TISSUES, (tissue, y2, x2) of any size, e.g. of `jaxrecon.data.anatomy`, in place of the
        analytic phantom; they are scaled to the shape and deformed at random.

    Returns:
      Image, maps, k-space and noise level.

    Raises:
      ValueError: sizes that make no image, or tissues with another tissue axis.

    Example:
      >>> jax.eval_shape(lambda key: simulate(key, shape=(48, 40), n_coils=4), jax.random.key(0)).kspace.shape
      (4, 48, 40)
    """
    _check_sizes(shape, n_coils)
    if tissues is not None and (tissues.ndim != 3 or tissues.shape[0] != len(HEAD_TISSUES)):
        raise UserError(
            f"tissues must be ({len(HEAD_TISSUES)}, y, x), one map of each of {HEAD_TISSUES}: {tissues.shape}"
        )
    signals = tissue_signals(contrast, HEAD_TISSUES)
    return _simulate(key, signals, position, snr, phase, tissues, shape=tuple(shape), n_coils=n_coils)


def simulate_cine(
    key: Key,
    *,
    shape: tuple[int, int, int] = (16, 160, 192),
    n_coils: int = 8,
    contrast: Contrast = CONTRASTS["bssfp"],
    snr: float = 30.0,
    phase: float = 1.0,
) -> Simulation:
    """A fully sampled multi-coil measurement of a beating heart, one beat: kspace_tc = F (S_c image_t) + n_tc.

    Args:
      key: the subject.
      shape: (frame, y, x).
      n_coils: number of receive coils; their maps do not move.
      contrast: one of CONTRASTS, or your own.
      snr: mean magnitude within the body divided by noise_std; infinity for none.
      phase: size in radians of the smooth image phase.

    Returns:
      Image (frame, y, x), maps (coil, y, x), k-space (frame, coil, y, x) and noise level.

    Raises:
      ValueError: sizes that make no image.
    """
    _check_sizes(shape, n_coils)
    signals = tissue_signals(contrast, CHEST_TISSUES)
    return _simulate_cine(key, signals, snr, phase, shape=tuple(shape), n_coils=n_coils)


def split_slices(
    n_slices: int, *, fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), gap: int = 2
) -> dict[str, range]:
    """Contiguous ranges of slices for training, validation and test, with unused slices between them.

    Neighbouring slices are nearly the same picture: a split at random would test on what was trained on.

    Args:
      n_slices: number of slices, or of equally spaced positions.
      fractions: the parts for training, validation and test, summing to 1.
      gap: slices left out between two ranges.

    Returns:
      {"train": range, "validation": range, "test": range}.

    Raises:
      ValueError: fractions that do not sum to 1, or a range that would be empty.

    Example:
      >>> split_slices(24, fractions=(0.6, 0.2, 0.2))
      {'train': range(0, 12), 'validation': range(14, 18), 'test': range(20, 24)}
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0:
        raise UserError(f"fractions of training, validation and test must sum to 1, but are {fractions}")
    usable = n_slices - 2 * gap
    ends = [round(usable * sum(fractions[: i + 1])) for i in range(3)]
    sizes = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    if usable < 3 or min(sizes) < 1:
        raise UserError(f"{n_slices} slices are too few for fractions {fractions} with gaps of {gap}")
    starts = [0, sizes[0] + gap, sizes[0] + sizes[1] + 2 * gap]
    names = ("train", "validation", "test")
    return {name: range(s, s + n) for name, s, n in zip(names, starts, sizes, strict=True)}


def tissue_signals(contrast: Contrast, tissues: tuple[str, ...]) -> np.ndarray:
    """Signal of each tissue, the brightest 1.

    Spin echo: PD (1 - exp(-TR / T1)) exp(-TE / T2); after an inversion |1 - 2 exp(-TI / T1) + exp(-TR / T1)| in place
    of the bracket; balanced steady state: PD sin a / (1 + cos a + (1 - cos a) T1 / T2).

    Args:
      contrast: the sequence.
      tissues: names in TISSUE_PROPERTIES.

    Returns:
      (tissue,) float64.
    """
    density, t1, t2 = np.array([TISSUE_PROPERTIES[name] for name in tissues]).T
    if contrast.flip_angle is not None:
        cosine = np.cos(np.deg2rad(contrast.flip_angle))
        signal = density * np.sqrt(1 - cosine**2) / (1 + cosine + (1 - cosine) * t1 / t2)
    else:
        recovered = 1 - np.exp(-contrast.repetition_time / t1)
        if contrast.inversion_time is not None:
            recovered = np.abs(1 - 2 * np.exp(-contrast.inversion_time / t1) + np.exp(-contrast.repetition_time / t1))
        signal = density * recovered * np.exp(-contrast.echo_time / t2)
    return signal / signal.max()


def smooth_phase(key: Key, *, shape: tuple[int, int], size: Scalar = 1.0, order: int = 3) -> Float[Array, "y x"]:
    """Random polynomial of low order: sum_{i + j <= order} c_ij P_i(y) P_j(x), Legendre polynomials over the image.

    Args:
      key: random key.
      shape: (y, x).
      size: root mean square over subjects in radians, without the constant, which is uniform over the circle.
      order: largest total degree.

    Returns:
      (y, x), radians.
    """
    axes = [jnp.linspace(-1, 1, n) if n > 1 else jnp.zeros(1) for n in shape]
    y, x = ([jnp.ones_like(u), u, *_legendre(u, order)][: order + 1] for u in axes)
    terms = [(i, j) for i in range(order + 1) for j in range(order + 1 - i) if i + j > 0]
    u = draws(key, constant=(), coefficients=(len(terms),))
    norms = [np.sqrt((2 * i + 1) * (2 * j + 1)) for i, j in terms]
    coefficients = np.sqrt(12 / len(terms)) * (u["coefficients"] - 0.5) * np.array(norms)
    total = sum(c * y[i][:, None] * x[j][None, :] for c, (i, j) in zip(coefficients, terms, strict=True))
    return size * total + 2 * jnp.pi * (u["constant"] - 0.5)


def coil_maps(
    key: Key, *, shape: tuple[int, int], n_coils: int, z: Scalar = 0.0, n_segments: int = 32
) -> Complex[Array, "coil y x"]:
    """Sensitivities of circular loops around the object by the law of Biot and Savart, of unit root sum of squares.

    S_c = B_x - i B_y, B = sum over the segments of the loop of dl x (r - r') / |r - r'|^3. The loops stand on an
    elliptic cylinder whose axis is normal to the slice; more than eight make two staggered rows.

    Args:
      key: small displacements of the loops.
      shape: (y, x).
      n_coils: number of loops.
      z: height of the slice above the middle of the array, in halves of the longer side of the image.
      n_segments: straight pieces of each loop.

    Returns:
      (coil, y, x), complex, sum_c |S_c|^2 = 1 at every pixel.
    """
    turn, shift, width = jax.random.uniform(key, (3, n_coils), minval=-1, maxval=1)
    half = max(shape) / 2
    y, x = jnp.meshgrid(*[(jnp.arange(n, dtype=turn.dtype) - n // 2) / half for n in shape], indexing="ij")
    index = jnp.arange(n_coils)
    angle = 2 * jnp.pi * (index + 0.15 * turn) / n_coils + 0.3
    # clear of the head: wires meet the slice in its corners at most, in air
    wide, tall = (1.25 * max(n / max(shape), 0.6) for n in shape[::-1])
    radius = min(max(0.5 * np.pi * (wide + tall) / n_coils, 0.3), 0.8) * (1 + 0.1 * width)
    height = 0.05 * shift + (0.35 * (2 * (index % 2) - 1) if n_coils > 8 else 0)

    def one(angle, radius, height):
        tangent_x, tangent_y = -jnp.sin(angle), jnp.cos(angle)

        def add(field, phi):
            along, up = radius * jnp.cos(phi), radius * jnp.sin(phi)
            dx = x - wide * jnp.cos(angle) - along * tangent_x
            dy = y - tall * jnp.sin(angle) - along * tangent_y
            dz = z - height - up
            lx, ly, lz = -up * tangent_x, -up * tangent_y, along
            distance = (dx**2 + dy**2 + dz**2 + 0.05**2) ** 1.5  # wires have a thickness
            bx, by = (ly * dz - lz * dy) / distance, (lz * dx - lx * dz) / distance
            return (field[0] + bx, field[1] + by), None

        phis = 2 * jnp.pi * jnp.arange(n_segments, dtype=x.dtype) / n_segments
        (bx, by), _ = jax.lax.scan(add, (jnp.zeros_like(x), jnp.zeros_like(x)), phis)
        return jax.lax.complex(bx, -by)

    fields = jax.vmap(one)(angle, radius, height)
    return fields / jnp.sqrt(jnp.sum(jnp.abs(fields) ** 2, 0))[None]


def complex_noise(key: Key, shape: tuple[int, ...], *, std: Float[Array, ""] | float) -> Complex[Array, "..."]:
    """Complex white Gaussian noise with E |n|^2 = std^2, hence std / sqrt(2) in each of the two parts.

    Args:
      key: random key.
      shape: the shape of the noise.
      std: standard deviation, a number ().

    Returns:
      Complex noise of that shape.
    """
    real, imaginary = jax.random.normal(key, (2, *shape)) / jnp.sqrt(2)
    return std * jax.lax.complex(real, imaginary)


def deform(
    key: Key, maps: Float[Array, "tissue y x"], *, shape: tuple[int, int], amount: Scalar = 1.0
) -> Float[Array, "tissue y2 x2"]:
    """Scale maps to a new shape, turned, shifted, stretched and warped at random, by linear interpolation.

    Args:
      key: the deformation.
      maps: (tissue, y, x), real; outside they count as 0.
      shape: the new (y, x).
      amount: size of the deformation, 0 for none.

    Returns:
      (tissue, *shape).
    """
    u = draws(key, affine=(5,), elastic=(2, 4, 8))
    turn, down, right, tall, wide = amount * (2 * u["affine"] - 1)
    old = maps.shape[1:]
    # pixels of the old grid per pixel of the new one: all of the old maps stay in view
    step = max(o / n for o, n in zip(old, shape, strict=True))
    y, x = jnp.meshgrid(*[(jnp.arange(n, dtype=turn.dtype) - n // 2) * step for n in shape], indexing="ij")
    size = max(old)
    coordinates = (x / size, y / size, 0.0)
    dy, dx = 0.008 * size * amount * jax.vmap(lambda waves: random_field(waves, coordinates, 14.0)[0])(u["elastic"])
    y, x = (1 + 0.06 * tall) * y + 0.02 * size * down + dy, (1 + 0.06 * wide) * x + 0.02 * size * right + dx
    cosine, sine = jnp.cos(0.15 * turn), jnp.sin(0.15 * turn)
    at = [cosine * y - sine * x + old[0] // 2, sine * y + cosine * x + old[1] // 2]
    return jax.vmap(lambda image: map_coordinates(image, at, order=1, mode="constant"))(maps)


@functools.partial(jax.jit, static_argnames=("shape", "n_coils"))
def _simulate(key, signals, position, snr, phase, tissues, *, shape, n_coils):
    anatomy, texture, image_phase, coils, noise = jax.random.split(key, 5)
    if tissues is None:
        tissues = head_phantom(anatomy, shape=shape, position=position)
    else:
        tissues = deform(anatomy, tissues, shape=shape)
    magnitudes = jnp.tensordot(signals.astype(tissues.dtype), tissues, 1)
    magnitudes = magnitudes * _texture(texture, shape, position)
    noise = jax.random.fold_in(noise, jnp.asarray(position * 2**16, jnp.int32))
    return _measured(magnitudes, jnp.sum(tissues), (image_phase, coils, noise), n_coils, snr, phase)


@functools.partial(jax.jit, static_argnames=("shape", "n_coils"))
def _simulate_cine(key, signals, snr, phase, *, shape, n_coils):
    anatomy, image_phase, coils, noise = jax.random.split(key, 4)
    tissues = chest_phantom(anatomy, shape=shape)
    magnitudes = jnp.einsum("c,tcyx->tyx", signals.astype(tissues.dtype), tissues)
    return _measured(magnitudes, jnp.sum(tissues), (image_phase, coils, noise), n_coils, snr, phase)


def _measured(magnitudes, area, keys, n_coils, snr, phase):
    """Phase, coils and noise for magnitudes (..., y, x); `area` is the number of pixels within the body."""
    phase_key, coil_key, noise_key = keys
    angle = smooth_phase(phase_key, shape=magnitudes.shape[-2:], size=phase)
    rotation = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    image = magnitudes * rotation.reshape((1,) * (magnitudes.ndim - 2) + rotation.shape)
    maps = coil_maps(coil_key, shape=magnitudes.shape[-2:], n_coils=n_coils)
    std = jnp.sum(magnitudes) / area / snr
    coil_images = image[..., None, :, :] * maps.reshape((1,) * (image.ndim - 2) + maps.shape)
    kspace = fftc(coil_images) + complex_noise(noise_key, coil_images.shape, std=std)
    return Simulation(image, maps, kspace, std)


def _texture(key, shape, position):
    """Slow and fine variations of a few percent: no tissue is flat."""
    y, x = jnp.meshgrid(*[jnp.linspace(-1, 1, n) for n in shape], indexing="ij")
    waves = jax.random.uniform(key, (2, 4, 32))
    slow, fine = jax.vmap(lambda w, q: random_field(w, (x, y, position), q)[0])(waves, jnp.array([6.0, 40.0]))
    return jnp.clip(1 + 0.025 * slow + 0.02 * fine, 0.8, 1.2)


def _legendre(u, order):
    """P_2 ... P_order by the recurrence n P_n = (2 n - 1) u P_{n-1} - (n - 1) P_{n-2}."""
    before, last = jnp.ones_like(u), u
    for n in range(2, order + 1):
        before, last = last, ((2 * n - 1) * u * last - (n - 1) * before) / n
        yield last


def _check_sizes(shape, n_coils):
    if min(shape) < 1 or n_coils < 1:
        raise UserError(f"sizes must be positive, but shape is {tuple(shape)} and n_coils is {n_coils}")
