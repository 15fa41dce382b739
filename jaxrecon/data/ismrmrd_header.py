"""The header of ISMRMRD: its XML, and what flags, indices and trajectories of the acquisitions mean."""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..checks import DataError
from .hdf5 import members

MAX_MATRIX = 65536
"""Encoding indices are 16 bit: no matrix size can be larger."""
MAX_XML_BYTES = 16 * 2**20
"""Real headers have some kilobytes."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """Range of one encoding index; None where the header leaves it out."""

    maximum: int | None
    center: int | None


@dataclasses.dataclass(frozen=True)
class Encoding:
    """One encoding of an ISMRMRD header; None (or empty) where the header leaves something out.

    Attributes:
      encoded_matrix: (x, y, z), x = readout.
      recon_matrix: (x, y, z).
      field_of_view: (x, y, z) of the encoded space in mm.
      recon_field_of_view: (x, y, z) of the reconstruction in mm.
      limits: range of each index by name, e.g. kspace_encoding_step_1.
      trajectory: name in lower case, e.g. "cartesian".
      protocol: name of the protocol.
      acceleration: product of the accelerations along both phase encodes.
      calibration_mode: "embedded", "separate" ...
    """

    encoded_matrix: tuple[int, int, int] | None = None
    recon_matrix: tuple[int, int, int] | None = None
    field_of_view: tuple[float, float, float] | None = None
    recon_field_of_view: tuple[float, float, float] | None = None
    limits: dict[str, Limit] = dataclasses.field(default_factory=dict)
    trajectory: str = "cartesian"
    protocol: str | None = None
    acceleration: float | None = None
    calibration_mode: str | None = None


def parse_header(xml: bytes, file: Path, name: str, *, encoding_space: int = 0) -> Encoding:
    """Read one encoding of the XML header, whatever its namespace, and tolerate absent parts.

    Args:
      xml: its text.
      file: the file, for messages.
      name: the dataset, for messages.
      encoding_space: which of its encodings.

    Raises:
      DataError: it is no well-formed XML, defines entities (an expansion attack), lacks the encoding, or a number in it is
        not plausible.
    """
    from defusedxml import DefusedXmlException, ElementTree

    text = xml.rstrip(b"\0")
    expected = "an ISMRMRD XML header"
    if len(text) > MAX_XML_BYTES:
        raise DataError(
            "the header is too long", file=file, dataset=name, expected=f"{MAX_XML_BYTES} bytes", found=len(text)
        )
    try:
        root = ElementTree.fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DataError(
            "the XML header defines a document type or entities, which could expand without end",
            file=file, dataset=name, expected=expected, found=str(error),
        ) from error  # fmt: skip
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(
            "the XML header is damaged", file=file, dataset=name, expected=expected, found=f"{error}: {text[:40]!r}"
        ) from error

    def number(node, path, convert=int):
        child = node.find(_any(path)) if node is not None else None
        if child is None or not (child.text or "").strip():
            return None
        try:
            value = convert(child.text)
        except ValueError as error:
            raise DataError(
                f"<{path}> is no number", file=file, dataset=name, expected=convert.__name__, found=child.text[:40]
            ) from error
        if not 0 <= value <= MAX_MATRIX:
            raise DataError(
                f"<{path}> is not plausible", file=file, dataset=name, expected=f"0 to {MAX_MATRIX}", found=value
            )
        return value

    def sizes(node, path, convert=int):
        values = [number(node, f"{path}/{axis}", convert) for axis in "xyz"]
        return None if None in values or not any(values) else tuple(values)

    encodings = root.findall(_any("encoding"))
    if encoding_space and encoding_space >= len(encodings):
        raise DataError(
            f"the header lacks encoding {encoding_space}, of which the lines are",
            file=file,
            dataset=name,
            expected=f"{encoding_space + 1} encodings",
            found=len(encodings),
        )
    encoding = encodings[encoding_space] if encodings else None
    parallel = encoding.find(_any("parallelImaging")) if encoding is not None else None
    factors = [number(parallel, f"accelerationFactor/kspace_encoding_step_{i}", float) for i in (1, 2)]
    limits = encoding.find(_any("encodingLimits")) if encoding is not None else None
    return Encoding(
        encoded_matrix=sizes(encoding, "encodedSpace/matrixSize"),
        recon_matrix=sizes(encoding, "reconSpace/matrixSize"),
        field_of_view=sizes(encoding, "encodedSpace/fieldOfView_mm", float),
        recon_field_of_view=sizes(encoding, "reconSpace/fieldOfView_mm", float),
        limits={
            re.sub(r"^\{.*\}", "", node.tag): Limit(number(node, "maximum"), number(node, "center"))
            for node in (limits if limits is not None else ())
        },
        trajectory=(_text(encoding, "trajectory") or "cartesian").lower(),
        protocol=_text(root, "measurementInformation/protocolName"),
        acceleration=float(np.prod([f or 1 for f in factors])) if any(factors) else None,
        calibration_mode=(_text(parallel, "calibrationMode") or "").lower() or None,
    )


def _any(path: str) -> str:
    """An ElementTree path that matches in any namespace."""
    return "/".join("{*}" + step for step in path.split("/"))


def _text(node, path):
    child = node.find(_any(path)) if node is not None else None
    return (child.text or "").strip() or None if child is not None else None


def flagged(flags: np.ndarray, *numbers: int) -> np.ndarray:
    """Whether any of the flags is set; ISMRMRD counts them from 1: flag n is bit n - 1."""
    bits = np.uint64(sum(1 << (n - 1) for n in numbers))
    return (flags.astype(np.uint64) & bits) != 0


NOISE = 19
CALIBRATION = 20
CALIBRATION_AND_IMAGING = 21
REVERSE = 22
NOT_IMAGING = (NOISE, 23, 24, 26, 27, 28, 29, 30, 31)
"""Noise, navigation, phase correction, HP feedback, dummy, RT feedback, surface coils, phase stabilization (two)."""


def find_group(file: h5py.File, path: Path) -> str:
    """Name of the group that holds `xml` and `data`, usually "dataset"."""
    found = members(file, path)
    groups = [n for n, item in found.items() if isinstance(item, h5py.Group) and {"xml", "data"} <= set(item)]
    if not groups:
        raise DataError(
            "it is no ISMRMRD file",
            file=path,
            dataset="dataset",
            expected="a group with xml and data",
            found=list(found),
        )
    return "dataset" if "dataset" in groups else groups[0]


class Grid(NamedTuple):
    """Size of a grid along one phase encode, and what is added to an encoding index to have the place on it."""

    n: int
    shift: int


def encoding_grid(steps: np.ndarray, limit: Limit | None, size: int) -> Grid:
    """The grid of the lines along one phase encode.

    The centre of the limits goes to n // 2. Where the stated matrix does not hold all lines so (partial Fourier), n is the
    smallest even size that does. A centre that cannot be one counts as not stated: it lies outside of the lines, or the
    lines outside of its limits; one that is off by one, as rounded, does not enlarge the matrix. Then the indices
    themselves are the places, in the stated matrix or as far as they reach.

    Args:
      steps: encoding indices of all lines.
      limit: what the header says of them.
      size: the stated matrix; 0: none.
    """
    smallest, largest = int(steps.min()), int(steps.max())
    n, center = size or largest + 1, limit.center if limit else None
    fits = lambda shift: smallest + shift >= 0 and largest + shift < n
    if limit is not None and center is not None:
        if fits(n // 2 - center):
            return Grid(n, n // 2 - center)
        within = limit.maximum is None or largest <= limit.maximum
        rounded = fits(0) and abs(n // 2 - center) == 1
        if within and smallest < center <= largest and not rounded:
            n = 2 * max(center - smallest, largest - center + 1)
            return Grid(n, n // 2 - center)
    return Grid(n if fits(0) else largest + 1, 0)


def acquired_columns(limit: Limit | None, shift: int, n_columns: int) -> tuple[int, int] | None:
    """(left, right): columns outside of [left, right) were never acquired, by the limits of the encoding indices.

    Args:
      limit: what the header says of the indices.
      shift: what is added to an index to have its column.
      n_columns: columns of k-space.

    Returns:
      None where the header does not say, or contradicts itself: the centre n // 2 is always acquired.
    """
    if limit is None or limit.maximum is None:
        return None
    left, right = max(shift, 0), min(shift + limit.maximum + 1, n_columns)
    return (left, right) if left <= n_columns // 2 < right else None


def trajectory_scale(
    points: np.ndarray, matrix: tuple[int, ...] | None, field_of_view: tuple[float, ...] | None
) -> np.ndarray | None:
    """The factor per column that turns a trajectory (sample, ndim) into cycles per pixel; None where it is unknown.

    ISMRMRD does not fix the unit: values up to 1/2 are cycles per pixel, up to n / 2 cycles per field of view, and
    those beyond 1/m (which reach n / 2 per field of view, in meters below 1).
    """
    ndim, largest = points.shape[-1], np.abs(points).max(initial=0)
    if largest <= 0.5 * 1.01:
        return np.ones(ndim, np.float32)
    if matrix is None or ndim > 3:
        return None
    if largest <= max(matrix[:ndim]) / 2 * 1.01:
        return 1 / np.array(matrix[:ndim], np.float32)
    if field_of_view is None or 0 in field_of_view[:ndim]:
        return None
    return np.array(field_of_view[:ndim], np.float32) / 1000 / np.array(matrix[:ndim], np.float32)
