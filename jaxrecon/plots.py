"""Figures of results: image grids, comparisons with error maps, masks, trajectories, curves.

One convention throughout: an array is shown as it is stored, row 0 at the top, column 0 at the left, square pixels,
never flipped or turned (so fastMRI's images stand as in its files). Complex images are shown by their magnitude. Every
function returns a matplotlib Figure that belongs to no global state; `save` writes it.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .checks import UserError

ArrayLike = Any
"""An array of jax or numpy."""


def display_window(image: Inexact[ArrayLike, "..."], *, percentile: float = 99.5) -> tuple[float, float]:
    """Grey values that are shown as black and white: 0 (or the minimum, if negative) and a percentile of the magnitude.

    A percentile, not the maximum: one bright vessel would darken the rest.

    Args:
      image: any shape; complex ones by magnitude; NaN are left out.
      percentile: in (0, 100].

    Returns:
      (low, high) with low < high, also for a constant image.
    """
    values = _magnitude(image)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = min(float(values.min()), 0.0), float(np.percentile(values, percentile))
    # where almost all is background the percentile falls into it
    high = high if high > low else float(values.max())
    return low, high if high > low else low + 1.0


def image_grid(
    images: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    *,
    columns: int | None = None,
    window: tuple[float, float] | None = None,
    cmap: str = "gray",
    title: str | None = None,
) -> Figure:
    """Images side by side, each under its title.

    Args:
      images: (y, x) each, by title, or a sequence without titles; sizes may differ.
      columns: panels per row; default as near to square as it gets, four at most.
      window: grey values shown as black and white, for all panels; None: `display_window` of each.
      cmap: name of a matplotlib colour map.
      title: title of the whole figure.

    Returns:
      A Figure with one Axes per image.

    Raises:
      ValueError: no image, or one that is not (y, x).
    """
    named = _named(images)
    columns = min(columns or min(int(np.ceil(np.sqrt(len(named)))), 4), len(named))
    rows = -(-len(named) // columns)
    height, width = (max(image.shape[i] for _, image in named) for i in (0, 1))
    figure = _figure(columns * 2.6, rows * (2.6 * height / width + 0.3), title)
    for i, (name, image) in enumerate(named):
        _show(figure.add_subplot(rows, columns, i + 1), image, name, window or display_window(image), cmap)
    return figure


def comparison(
    reference: ArrayLike,
    reconstructions: Mapping[str, ArrayLike],
    *,
    captions: Mapping[str, str] | None = None,
    error_factor: float = 5.0,
    zoom: tuple[slice, slice] | None = None,
    title: str | None = None,
) -> Figure:
    """Reconstructions beside their reference in one window, below them their errors, and a zoom between if wanted.

    The error map is the absolute difference of magnitudes, brightened by `error_factor`, with its own colour bar in
    units of the reference's window.

    Args:
      reference: (y, x).
      reconstructions: title -> (y, x), of the size of the reference.
      captions: title -> a line under it, e.g. "PSNR 31.2 dB"; missing ones are left out.
      error_factor: how much errors are brightened.
      zoom: rows and columns of a part to enlarge, e.g. (slice(40, 80), slice(30, 70)).
      title: title of the whole figure.

    Returns:
      A Figure: row of images, row of zooms (if any), row of errors; one colour bar.

    Raises:
      ValueError: nothing to compare, sizes that differ, a zoom outside of the image.
    """
    reference = _image("reference", reference)
    images = dict(_named(reconstructions))
    for name, image in images.items():
        if image.shape != reference.shape:
            raise UserError(
                f"reconstruction '{name}' has size {image.shape}, the reference {reference.shape}: crop it with "
                "jaxrecon.metrics.crop_to_target first"
            )
    if zoom is not None and 0 in reference[zoom].shape:
        raise UserError(f"zoom {zoom} holds no pixel of an image of size {reference.shape}")
    low, high = display_window(reference)
    rows, columns = 2 + (zoom is not None), 1 + len(images)
    shape = reference.shape
    figure = _figure(columns * 2.6 + 0.8, rows * (2.6 * shape[0] / shape[1] + 0.35), title)
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1] * columns + [0.06])
    for i, (name, image) in enumerate({"reference": reference, **images}.items()):
        label = "\n".join(filter(None, (name, (captions or {}).get(name))))
        axes = figure.add_subplot(grid[0, i])
        _show(axes, image, label, (low, high), "gray")
        if zoom is not None:
            _frame(axes, zoom, shape)
            _show(figure.add_subplot(grid[1, i]), image[zoom], "", (low, high), "gray")
        if i > 0:
            error = np.abs(image - reference) / (high - low)
            axes = figure.add_subplot(grid[-1, i])
            panel = _show(axes, error, f"error x {error_factor:g}", (0, 1 / error_factor), "inferno")
    bar = figure.colorbar(panel, cax=figure.add_subplot(grid[-1, columns]))
    bar.set_label("|error| / window")
    return figure


def mask_grid(masks: Mapping[str, ArrayLike] | Sequence[ArrayLike], *, columns: int | None = None) -> Figure:
    """Sampling masks side by side, measured samples white; a mask of lines (x,) is drawn as wide as it is high.

    Args:
      masks: (y, x), (1, x), (y, 1) or (x,) each, by title, or a sequence without; the titles get the acceleration.
      columns: panels per row.

    Returns:
      A Figure with one Axes per mask.

    Raises:
      ValueError: no mask, one of another number of axes, or one that measures nothing.
    """
    drawn = {}
    for i, (name, mask) in enumerate(_items(masks)):
        mask = np.asarray(mask) != 0
        if mask.ndim not in (1, 2) or not mask.any():
            raise UserError(f"mask '{name or i}' must be (y, x) with a sample, but its shape is {mask.shape}")
        mask = np.atleast_2d(mask)
        shape = tuple(max(mask.shape) if n == 1 else n for n in mask.shape)
        label = f"R = {mask.size / mask.sum():.2f}"
        drawn[f"{name}\n{label}" if name else f"{i}: {label}"] = np.broadcast_to(mask, shape).astype(float)
    return image_grid(drawn, columns=columns, window=(0, 1))


def trajectory_plot(trajectory: Float[ArrayLike, "sample 2"], *, n_samples: int | None = None) -> Figure:
    """Sample positions of a non-Cartesian trajectory, row direction downwards as in the images.

    Args:
      trajectory: (sample, 2), radians per pixel, columns (y, x).
      n_samples: samples per spoke or interleaf, to join them by a line; None: points only.

    Returns:
      A Figure with one Axes.

    Raises:
      ValueError: another shape, or n_samples that does not divide the number of samples.
    """
    points = np.asarray(trajectory)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError(f"trajectory must be (sample, 2), but its shape is {points.shape}")
    if n_samples is not None and len(points) % n_samples:
        raise UserError(f"{len(points)} samples are no whole number of spokes of {n_samples}")
    figure = _figure(4.2, 4.2)
    axes = figure.add_subplot()
    if n_samples is None:
        axes.plot(points[:, 1], points[:, 0], ".", markersize=1)
    else:
        axes.plot(*points.reshape(-1, n_samples, 2).transpose(2, 1, 0)[::-1], linewidth=0.5)
    axes.set(xlabel="k x / (rad / pixel)", ylabel="k y / (rad / pixel)", aspect="equal")
    axes.invert_yaxis()
    return figure


def curves(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    log_y: bool = False,
    title: str | None = None,
) -> Figure:
    """Lines over one pair of axes, each with its name.

    Args:
      lines: name -> (x, y), each (n,); NaN leave gaps.
      xlabel: label of the x axis, with the unit.
      ylabel: label of the y axis, with the unit.
      log_y: logarithmic y axis.
      title: title of the figure.

    Returns:
      A Figure with one Axes.

    Raises:
      ValueError: no line, or x and y of different length.
    """
    if not lines:
        raise UserError("no line to draw")
    figure = _figure(5.6, 3.8, title)
    axes = figure.add_subplot()
    for name, (x, y) in lines.items():
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.ndim != 1:
            raise UserError(f"line '{name}': x has shape {x.shape}, y {y.shape}; both must be (n,)")
        axes.plot(x, y, marker="o" if len(x) <= 20 else "", markersize=3, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log_y else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure; the file appears whole or not at all.

    Args:
      figure: what one of the functions here returned.
      path: the suffix chooses the format: .png, .pdf, .svg.
      dpi: pixels per inch of raster formats.

    Returns:
      The path.

    Raises:
      ValueError: a suffix that matplotlib cannot write.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    formats = figure.canvas.get_supported_filetypes()
    if suffix not in formats:
        raise UserError(f"cannot write '{path.name}': choose one of the suffixes {', '.join(sorted(formats))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        figure.savefig(temporary, dpi=dpi, format=suffix)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _figure(width, height, title=None):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    return figure


def _show(axes, image, title, window, cmap):
    panel = axes.imshow(image, cmap=cmap, vmin=window[0], vmax=window[1], origin="upper", interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    return panel


def _frame(axes, zoom, shape):
    """Outline of the enlarged part."""
    (top, bottom, _), (left, right, _) = (part.indices(n) for part, n in zip(zoom, shape, strict=True))
    y, x = [top - 0.5, bottom - 0.5], [left - 0.5, right - 0.5]
    axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color="yellow", linewidth=0.8)


def _items(images):
    items = list(images.items()) if isinstance(images, Mapping) else [("", image) for image in images]
    if not items:
        raise UserError("no image to draw")
    return items


def _named(images):
    return [(name, _image(name or f"image {i}", image)) for i, (name, image) in enumerate(_items(images))]


def _image(name, image):
    image = _magnitude(image)
    if image.ndim != 2 or 0 in image.shape:
        raise UserError(f"'{name}' must be one image (y, x), but its shape is {image.shape}: choose a slice or frame")
    return image


def _magnitude(image):
    image = np.asarray(image)
    return np.abs(image) if np.iscomplexobj(image) else image.astype(float)
