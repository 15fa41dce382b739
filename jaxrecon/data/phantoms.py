"""Analytic anatomy: a random head slice and a beating heart as tissue fractions, pure functions of a key.

One unit of length is half the length of the head (or about half the height of the chest); y points down the picture
(posterior), x to its right, the middle of pixel n // 2 is the origin. Each boundary is a level set that passes a
sigmoid one pixel wide, so that edges hold partial volume.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..typing import Key, Scalar

HEAD_TISSUES = ("muscle", "fat", "bone", "marrow", "csf", "grey", "white", "deep_grey", "lesion", "vessel")
"""Order of the tissue axis of `head_phantom`; muscle stands for skin too."""
CHEST_TISSUES = ("muscle", "fat", "bone", "marrow", "lung", "liver", "myocardium", "blood")
"""Order of the tissue axis of `chest_phantom`."""

_MM = 1 / 95  # the head is 190 mm long


def head_phantom(
    key: Key, *, shape: tuple[int, int], position: Scalar = 0.2, n_lesions: int = 4
) -> Float[Array, "tissue y x"]:
    """Random brain-like axial slice: scalp, skull, CSF, folded cortex, white matter, ventricles, deep nuclei, lesions.

    The sulci are the zero lines of random narrow-band fields that are stretched towards the middle of the brain, with
    the longitudinal and the Sylvian fissures; the distance D to the nearest of them, or to the surface, makes the
    cortex: CSF where D < w, grey matter where w < D < w + thickness, white matter beyond.

    Args:
      key: the subject: one key is one anatomy, whatever the position.
      shape: (y, x); the head fills it.
      position: where the slice lies, from 0 (basal ganglia) to 1 (near the vertex); anatomy varies smoothly with it.
      n_lesions: white-matter lesions of the subject; a slice shows those that are near.

    Returns:
      Fraction of each of HEAD_TISSUES per pixel, (tissue, y, x), real, summing to 1 in the head and 0 in air.
    """
    u = draws(
        key,
        pose=(5,),
        warp=(2, 4, 8),
        ripple=(2, 4, 8),
        skull=(5,),
        fat=(5,),
        folds=(3, 4, 32),
        widths=(3,),
        lesions=(n_lesions, 5),
    )
    z = jnp.asarray(position, float)
    y, x, step = _pixel_grid(shape, half_width=0.87)
    y, x = _posed(u["pose"], y, x)
    y, x = _warped(u["warp"], y, x, z, amplitude=0.012, wavenumber=5.0)

    def inside(level):
        return jax.nn.sigmoid(4 * level / step)

    # head and skull: depth below the skin along the ray from the middle
    size = jnp.sqrt(1 - 0.55 * z**2)
    r = jnp.sqrt(x**2 + y**2) + 1e-6
    sine, cosine = y / r, x / r
    harmonics = 0.05 * (u["skull"] - 0.5) / jnp.arange(1.0, 6.0)
    surface = size * _ray_length(cosine / (0.78 - 0.05 * sine), sine / 0.95) * (1 + _harmonics(harmonics, sine, cosine))
    depth_skin = surface - r
    temple = jnp.exp(-(((jnp.abs(cosine) - 0.93) / 0.13) ** 2) - ((sine + 0.33) / 0.22) ** 2) * (1 - z) ** 2
    uneven = _harmonics(u["fat"] - 0.5, sine, cosine)
    fat_end = (5.0 + 1.2 * uneven + 1.5 * jnp.maximum(sine, 0)) * _MM
    muscle_end = fat_end + 7 * _MM * temple
    layers = [0.0, 2 * _MM, fat_end, muscle_end]
    for thickness in (1.6, 3.2 + 0.8 * uneven, 1.6):
        layers.append(layers[-1] + thickness * _MM)
    steps = [inside(depth_skin - level) for level in layers]
    skin, fat, muscle, outer, marrow, inner = (a - b for a, b in itertools.pairwise(steps))
    brain = steps[-1]
    depth_brain = depth_skin - layers[-1]

    # cortex
    y_fine, x_fine = _warped(u["ripple"], y, x, z, amplitude=0.008, wavenumber=18.0)
    sulci = _sulci(u["folds"], x_fine, y_fine, z, r, surface, depth_brain)
    sulci = jnp.minimum(sulci, _fissures(jnp.abs(x_fine), y_fine, z))
    gap = (0.35 + 0.5 * u["widths"][0]) * _MM  # half the width of a sulcus
    rim = (1.2 + 1.3 * u["widths"][1]) * _MM  # subarachnoid space
    distance = _smooth_minimum(depth_brain - rim + gap, sulci, 1.5 * _MM)
    pia = inside(distance - gap)
    white = inside(distance - gap - 2.8 * _MM)

    # interior
    mirror = jnp.abs(x)
    horns = _ventricles(mirror, y, z, 0.7 + 0.7 * u["widths"][2])
    nuclei = inside(-_deep_nuclei(mirror, y, z)) * white
    spots = _lesions(u["lesions"], x, y, z, inside) * (white - nuclei)
    fluid = inside(-horns)
    sinus = inside(3.2 * _MM - jnp.sqrt(x**2 + (jnp.abs(y) - (size * 0.95 - 15 * _MM)) ** 2)) * (brain - brain * pia)
    tissue = brain * (1 - fluid)
    fractions = {
        "muscle": skin + muscle,
        "fat": fat,
        "bone": outer + inner,
        "marrow": marrow,
        "csf": brain * (1 - pia) * (1 - fluid) + brain * fluid - sinus * (1 - fluid),
        "grey": tissue * (pia - white),
        "white": tissue * (white - nuclei - spots),
        "deep_grey": tissue * nuclei,
        "lesion": tissue * spots,
        "vessel": sinus * (1 - fluid),
    }
    return jnp.stack([fractions[name] for name in HEAD_TISSUES])


def chest_phantom(key: Key, *, shape: tuple[int, int, int]) -> Float[Array, "frame tissue y x"]:
    """Short-axis slices of a beating heart: chest wall, lungs, liver, vertebra, aorta, ventricles, papillary muscles.

    The cavity shrinks and the wall thickens over one beat with the area of the wall conserved:
    outer^2 - inner^2 = constant, inner(t) = inner(0) (1 - s e(t)), e periodic with its peak after a third of the beat.

    Args:
      key: the subject.
      shape: (frame, y, x); the frames are equally spaced over one beat, so that the last leads to the first.

    Returns:
      Fraction of each of CHEST_TISSUES per pixel, (frame, tissue, y, x), real, summing to 1 in the body and 0 in air.
    """
    n_frames, *size = shape
    u = draws(key, pose=(5,), warp=(2, 4, 8), body=(6,))
    y, x, step = _pixel_grid(size, half_width=1.3)
    y, x = _posed(u["pose"], y, x)
    y, x = _warped(u["warp"], y, x, 0.0, amplitude=0.012, wavenumber=6.0)
    vary = 1 + 0.24 * (u["body"] - 0.5)

    def inside(level):
        return jax.nn.sigmoid(4 * level / step)

    r = jnp.sqrt(x**2 + y**2) + 1e-6
    depth = _ray_length(x / r / 1.22, y / r / 0.92, 2.6) - r
    skin, fat_end, wall_end = 0.015, 0.09 * vary[0], 0.22 * vary[1]
    ribs = inside(0.022 - jnp.abs(depth - 0.16 * vary[1])) * inside(0.5 + jnp.sin(11 * jnp.arctan2(y, x)))
    cavity = inside(depth - wall_end)
    lung = jnp.minimum(_ellipse(x, y, (-0.58, 0.0), (0.42, 0.62)), _ellipse(x, y, (0.62, 0.12), (0.40, 0.58)))
    lung, liver = inside(-lung) * cavity, inside(-_ellipse(x, y, (-0.66, 0.42), (0.42, 0.36), 0.3)) * cavity
    vertebra = inside(-_ellipse(x, y, (0.0, 0.55), (0.15, 0.13)))
    aorta = inside(0.075 * vary[2] - jnp.sqrt((x - 0.17) ** 2 + (y - 0.40) ** 2))
    start, shortening = 0.185 * vary[3], 0.34 + 0.06 * u["body"][5]
    thickness = 0.062 * vary[4]
    center_y, center_x = -0.12, 0.12

    def frame(time):
        phase = jnp.exp(1.5 * (jnp.cos(2 * jnp.pi * (time - 0.35)) - 1))
        rest = jnp.exp(1.5 * (jnp.cos(2 * jnp.pi * 0.35) - 1))
        squeeze = shortening * (phase - rest) / (1 - rest)
        inner = start * (1 - squeeze)
        outer = jnp.sqrt(inner**2 + (start + thickness) ** 2 - start**2)
        v, u = y - center_y - 0.03 * squeeze, x - center_x
        left = jnp.sqrt((v / 1.06) ** 2 + u**2)
        papillary = jnp.minimum(
            jnp.hypot(u - 0.62 * inner, v - 0.45 * inner), jnp.hypot(u + 0.35 * inner, v - 0.72 * inner)
        )
        right = _ellipse(u, v, (-0.20 + 0.05 * squeeze, -0.06), (0.235 - 0.1 * squeeze, 0.255 - 0.15 * squeeze), 0.35)
        right = jnp.maximum(right, outer - left)
        pools = jnp.maximum(inside(inner - left) * (1 - inside(0.030 - papillary)), inside(-right))
        heart = jnp.maximum(inside(outer - left), inside(0.022 - right))
        pericardium = inside(-_ellipse(u, v, (-0.08, -0.02), (0.46, 0.36), 0.2)) * cavity
        return pools * cavity, (heart - jnp.minimum(heart, pools)) * cavity, pericardium

    def fractions(time):
        blood, myocardium, pericardium = frame(time)
        free = cavity * (1 - blood - myocardium) * (1 - vertebra) * (1 - aorta)
        lungs, livers = free * (1 - pericardium) * lung * (1 - liver), free * (1 - pericardium) * liver
        outer_fat = inside(depth - skin) - inside(depth - fat_end)
        wall = inside(depth - fat_end) - cavity
        spine = cavity * vertebra * (1 - blood - myocardium) * (1 - aorta)
        vessel = cavity * aorta * (1 - blood - myocardium)
        mediastinum = free - lungs - livers
        parts = {
            "muscle": inside(depth) - inside(depth - skin) + wall * (1 - ribs) + 0.5 * mediastinum,
            "fat": outer_fat + 0.5 * mediastinum,
            "bone": wall * ribs,
            "marrow": spine,
            "lung": lungs,
            "liver": livers,
            "myocardium": myocardium,
            "blood": blood + vessel,
        }
        return jnp.stack([parts[name] for name in CHEST_TISSUES])

    return jax.vmap(fractions)(jnp.arange(n_frames) / n_frames)


def draws(key: Key, **shapes: tuple[int, ...]) -> dict[str, Float[Array, "..."]]:
    """Numbers uniform in [0, 1) under names, all of one draw: each further call of the generator costs compile time."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    numbers = jax.random.uniform(key, (sum(sizes),))
    ends = list(itertools.accumulate(sizes))
    parts = zip(shapes.items(), ends, sizes, strict=True)
    return {name: numbers[end - size : end].reshape(shape) for (name, shape), end, size in parts}


def random_field(
    numbers: Float[Array, "4 wave"], coordinates: tuple, wavenumber: Scalar
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """Random field of unit variance with waves of about one length, and the length of its in-plane gradient.

    n(p) = sqrt(2 / K) sum_k cos(q_k p + phi_k), |q_k| within 25 % of `wavenumber`.

    Args:
      numbers: uniform in [0, 1), for direction, length, change along z and phase of each wave.
      coordinates: (x, y, z); x and y of the shape of the field, z a scalar.
      wavenumber: radians per unit of length.

    Returns:
      n and |grad n|, each (y, x).
    """
    directions, lengths, heights, phases = numbers
    n_waves = numbers.shape[1]
    x, y, z = coordinates
    angle = 2 * jnp.pi * directions
    length = wavenumber * (0.75 + 0.5 * lengths)
    waves = length * jnp.cos(angle), length * jnp.sin(angle), wavenumber * (heights - 0.5), 2 * jnp.pi * phases

    def add(total, wave):
        qx, qy, qz, phase = wave
        argument = qx * x + qy * y + (qz * z + phase)
        sine = jnp.sin(argument)
        value, gradient_x, gradient_y = total
        return (value + jnp.cos(argument), gradient_x - qx * sine, gradient_y - qy * sine), None

    (value, gx, gy), _ = jax.lax.scan(add, (jnp.zeros_like(x),) * 3, waves)
    scale = jnp.sqrt(2 / n_waves)
    return scale * value, scale * jnp.sqrt(gx**2 + gy**2)


def _sulci(numbers, x, y, z, r, surface, depth_brain):
    """Distance to the nearest sulcus: |n| / |grad n| of narrow-band fields n, with the depth below the floor."""
    floor, _ = random_field(numbers[0, :, :12], (x, y, z), 2 * jnp.pi / (90 * _MM))
    radius = r / surface

    def distance(waves, length, deepest, spread, stretch):
        wavenumber = 2 * jnp.pi / (length * _MM)
        # radially the field varies more slowly than along the surface: sulci run inwards
        scale = 0.78 * (1 - stretch + stretch * radius) / r
        value, slope = random_field(waves, (x * scale, y * scale, z), wavenumber)
        line = jnp.abs(value) / jnp.sqrt(slope**2 + (0.12 * wavenumber) ** 2)
        below = jnp.maximum(depth_brain - (deepest + spread * floor) * _MM, 0)
        return jnp.sqrt(line**2 + below**2)

    # primary sulci, deep and far apart, and secondary ones between: wave length, depth, its spread, radial stretch
    kinds = jnp.array([(34, 23, 6, 0.45), (23, 12, 5, 0.7)], x.dtype)
    return jnp.min(jax.vmap(distance)(numbers[1:], *kinds.T), 0)


def _fissures(mirror, y, z):
    """Distance to the longitudinal fissure, open above the corpus callosum, and to the Sylvian fissure below it."""
    callosum = 1 - _smooth_step(z, 0.45, 0.62)
    front, back = -0.02 - 0.38 * callosum, -0.02 + 0.27 * callosum
    closed = jnp.maximum(jnp.minimum(y - front, back - y), 0)
    longitudinal = jnp.sqrt(mirror**2 + closed**2)
    above = jnp.maximum(z - 0.34, 0) * 0.8
    insula_and_opening = jnp.array(  # x, y of start and end
        [(0.395, -0.22, 0.43, -0.10), (0.43, -0.10, 0.425, 0.13), (0.43, -0.05, 0.72, 0.03)], y.dtype
    )
    lateral = jnp.min(jax.vmap(lambda ends: _segment(mirror, y, ends)[0])(insula_and_opening), 0)
    return jnp.minimum(longitudinal, jnp.sqrt(lateral**2 + above**2))


def _ventricles(mirror, y, z, size):
    """Level set of the lateral and third ventricles, negative within: tapered segments that come and go with z."""
    low, high = 1 - _smooth_step(z, 0.20, 0.36), _smooth_step(z, 0.12, 0.26) * (1 - _smooth_step(z, 0.42, 0.54))
    parts = jnp.array(
        [  # x, y of start and end, radius at both
            (0.030, -0.11, 0.085, -0.24, 0.014, 0.034),
            (0.085, -0.24, 0.120, -0.36, 0.034, 0.020),
            (0.000, -0.06, 0.000, 0.12, 0.013, 0.011),
            (0.195, 0.24, 0.230, 0.36, 0.034, 0.036),
            (0.230, 0.36, 0.205, 0.54, 0.036, 0.010),
            (0.095, -0.32, 0.070, -0.14, 0.022, 0.032),
            (0.070, -0.14, 0.095, 0.12, 0.032, 0.034),
            (0.095, 0.12, 0.200, 0.33, 0.034, 0.040),
        ],
        y.dtype,
    )
    present = jnp.stack([low] * 5 + [high] * 3)

    def level(part, present):
        distance, along = _segment(mirror, y, part[:4])
        return distance - size * (part[4] + (part[5] - part[4]) * along) + 0.06 * (1 - present)

    # a soft minimum: the segments flow into each other
    return -0.003 * jax.nn.logsumexp(jax.vmap(level)(parts, present) / -0.003, axis=0)


def _deep_nuclei(mirror, y, z):
    """Level set of caudate, putamen and thalamus, negative within."""
    low = 1 - _smooth_step(z, 0.20, 0.34)
    middle = 1 - _smooth_step(z, 0.36, 0.48)
    ellipses = jnp.array(  # center x, y, half axes, angle
        [(0.165, -0.25, 0.050, 0.095, 0.25), (0.300, -0.03, 0.062, 0.185, -0.12), (0.110, 0.095, 0.078, 0.150, 0.30)],
        y.dtype,
    )
    levels = jax.vmap(lambda e: _ellipse(mirror, y, e[:2], e[2:4], e[4]))(ellipses)
    return jnp.min(levels + 0.1 * (1 - jnp.stack([middle, low, low]))[:, None, None], 0)


def _lesions(numbers, x, y, z, inside):
    """Ellipsoidal lesions around the ventricles, (y, x) fraction; 0 where a slice meets none."""

    def one(lesion):
        angle, ring, height, size, flat = lesion
        center = (0.25 + 0.2 * ring) * jnp.cos(2 * jnp.pi * angle), (0.35 + 0.25 * ring) * jnp.sin(2 * jnp.pi * angle)
        radius = (0.018 + 0.03 * size) * (1 - ((z - height) / 0.25) ** 2)
        return inside(radius - jnp.sqrt((x - center[0]) ** 2 * (0.7 + flat) ** 2 + (y - center[1]) ** 2))

    return jnp.max(jax.vmap(one)(numbers), 0, initial=0)


def _pixel_grid(shape, *, half_width):
    """Coordinates (y, x) of the pixels and the size of one; the region |y| < 1.02, |x| < half_width fits the shape."""
    ny, nx = shape
    step = jnp.asarray(max(2 * 1.02 / ny, 2 * half_width / nx))
    y = (jnp.arange(ny, dtype=step.dtype) - ny // 2) * step
    x = (jnp.arange(nx, dtype=step.dtype) - nx // 2) * step
    return *jnp.meshgrid(y, x, indexing="ij"), step


def _posed(numbers, y, x):
    """Coordinates seen from a head that is turned, shifted and scaled a little."""
    turn, down, right, tall, wide = 2 * numbers - 1
    angle = 0.08 * turn
    y, x = (y - 0.015 * down) / (0.965 + 0.03 * tall), (x - 0.015 * right) / (0.965 + 0.03 * wide)
    return jnp.cos(angle) * y - jnp.sin(angle) * x, jnp.sin(angle) * y + jnp.cos(angle) * x


def _warped(numbers, y, x, z, *, amplitude, wavenumber):
    """Coordinates displaced by two smooth random fields."""
    dy, dx = jax.vmap(lambda waves: random_field(waves, (x, y, z), wavenumber)[0])(numbers)
    return y + amplitude * dy, x + amplitude * dx


def _ray_length(a, b, power=2.25):
    """Length of a ray up to the superellipse: (|a|^p + |b|^p)^(-1/p), (a, b) its direction over the half axes."""
    return (jnp.abs(a) ** power + jnp.abs(b) ** power) ** (-1 / power)


def _harmonics(coefficients, sine, cosine):
    """Smooth periodic function of the angle: sum_k c_k sin(k angle + k^2)."""
    k = jnp.arange(1.0, len(coefficients) + 1)[:, None, None]
    return jnp.tensordot(coefficients, jnp.sin(k * jnp.arctan2(sine, cosine)[None] + k**2), 1)


def _segment(x, y, ends):
    """Distance to a straight segment with ends (x, y, x, y), and the fraction of the way where it is nearest."""
    dx, dy = ends[2] - ends[0], ends[3] - ends[1]
    along = jnp.clip(((x - ends[0]) * dx + (y - ends[1]) * dy) / (dx**2 + dy**2), 0, 1)
    return jnp.sqrt((x - ends[0] - along * dx) ** 2 + (y - ends[1] - along * dy) ** 2), along


def _ellipse(x, y, center, axes, angle=0.0):
    """Level set of a turned ellipse, negative within, about a distance near its border."""
    u, v = x - center[0], y - center[1]
    u, v = jnp.cos(angle) * u + jnp.sin(angle) * v, jnp.cos(angle) * v - jnp.sin(angle) * u
    return (jnp.sqrt((u / axes[0]) ** 2 + (v / axes[1]) ** 2) - 1) * jnp.minimum(axes[0], axes[1])


def _smooth_step(z, start, end):
    t = jnp.clip((z - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _smooth_minimum(a, b, width):
    """Minimum with a rounded corner of the given width."""
    h = jnp.maximum(width - jnp.abs(a - b), 0) / width
    return jnp.minimum(a, b) - h * h * width / 4
