"""ISMRMRD raw data, read by field names: 2D stacks, 3D scans, mridata.org's layout, and non-Cartesian lines."""

import dataclasses
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Complex, Int

from ..checks import DataError, DataWarning, check_bytes
from ..files import check_expansion, check_file, reading
from ..host import crop_or_pad, fftc, ifftc
from .geometry import kept_pixels
from .hdf5 import lines, opened, text
from .ismrmrd_average import Line, average
from .ismrmrd_header import (
    MAX_MATRIX,
    NOISE,
    REVERSE,
    Encoding,
    acquired_columns,
    encoding_grid,
    find_group,
    flagged,
    parse_header,
    trajectory_scale,
)
from .ismrmrd_heads import (
    PROBLEM,
    STEPS,
    calibration_lines,
    image_encoding,
    line_roles,
    matching_problem,
    problem_counters,
    read_coil_weights,
    read_table,
    warn_left_out,
)
from .ismrmrd_images import with_encoding
from .scan import Header, Scan, Slice, latest_volume, volume_key


class Lines(NamedTuple):
    """The imaging lines, each an array over lines in the file's order."""

    position: np.ndarray  # row of the table
    ky: np.ndarray  # index on the grid
    kz: np.ndarray
    problem: np.ndarray
    samples: np.ndarray  # as stored
    discard_pre: np.ndarray
    discard_post: np.ndarray
    center: np.ndarray
    reverse: np.ndarray
    step_1: np.ndarray  # as the header states it
    step_2: np.ndarray
    average: np.ndarray


class IsmrmrdScan(Scan):
    """An ISMRMRD file: a group with `xml` and a table `data` of acquisitions (head, traj, data).

    Lines are placed by their encoding indices, so that the centre of the encoding limits lands on n // 2, in a matrix larger
    than the stated one if need be, and by their centre sample along the readout (partial Fourier, asymmetric echo);
    reversed lines are flipped. Each sample is the mean of its measurements: of lines whose average index differs, or that
    agree within noise; of others with equal counters the first one counts, and a warning says so. Images keep the field of
    view of the reconstruction, whatever its matrix. Calibration lines join where the header says that they are embedded (or
    some also are imaging lines); else they are `Slice.calibration` of problems of the same slice and field of view. What is
    no image (noise, navigators, dummies ...) is left out; noise is `noise`.

    Problems are the combinations of contrast, phase, repetition, set and slice. A 2D problem is k-space (coil, readout,
    ky), its readout oversampled as measured (`remove_oversampling`). In a 3D scan the readout is transformed and
    cropped to the field of view, and each of its positions is a problem (coil, ky, kz); `volume` is the k-space (coil,
    kz, ky, kx) with all samples. Non-Cartesian problems are (coil, sample) with a trajectory.

    Args:
      path: the file.
      slice_in_image_domain: mridata.org's layout, where the slice index counts positions, already transformed, with an
        alternating sign, of what the header calls a 3D encoding. None: decide so where the header states several kz but
        all lines are at step_2 = 0 and there is a slice index for each kz.
      encoding: which encoding is read, where the file has several; None: the first with more than calibration lines.
      calibration: read the separate calibration lines in place of the images.

    Raises:
      DataError: the file is damaged, or its lines and its header disagree.

    Source: ISMRMRD (Inati et al., MRM 2017); the layout of mridata.org as read by dl-cs and GLEAM.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        slice_in_image_domain: bool | None = None,
        encoding: int | None = None,
        calibration: bool = False,
    ):
        self.path = check_file(path)
        self._warned = False
        with opened(self.path) as file:
            self._group = find_group(file, self.path)
            xml = text(file[self._group], "xml", self.path)
            table = read_table(file[self._group], self.path)
            attributes: dict[str, Any] = read_coil_weights(file[self._group], self.path)
        heads, self._references, self._kinds = table
        self._noise = np.flatnonzero(flagged(heads["flags"], NOISE))
        self._noise_sizes = [(int(h["active_channels"]), int(h["number_of_samples"])) for h in heads[self._noise]]
        parse = functools.partial(parse_header, xml, self.path, f"{self._group}/xml")
        space = image_encoding(heads) if encoding is None else encoding
        stated = parse(encoding_space=space)
        roles = line_roles(heads, space, stated.calibration_mode)
        imaging = roles.imaging
        if calibration:
            imaging, space = calibration_lines(heads, roles)
            stated = parse(encoding_space=space)
        if not imaging.any():
            raise DataError(
                "there is no imaging line",
                file=self.path,
                dataset=f"{self._group}/data",
                expected="acquisitions without flags of noise, navigation ...",
                found=f"{len(heads)} others",
            )
        lines = heads[imaging]
        channels = np.unique(lines["active_channels"])
        if len(channels) != 1 or channels[0] == 0:
            self._wrong("the number of coils changes between lines", "one number of coils", channels.tolist())
        self._n_coils = int(channels[0])
        self._cartesian = stated.trajectory == "cartesian" or not lines["trajectory_dimensions"].any()
        self._place(stated, lines, np.flatnonzero(imaging), slice_in_image_domain)
        if not calibration and encoding is None:
            warn_left_out(heads, roles, space, self.path)
        attributes |= {"encoding": space, "n_calibration_lines": int(roles.calibration.sum())}
        self._set_header(stated, heads, attributes, lines)
        self._calibration = self._separate(roles) if not calibration else None
        self.header = dataclasses.replace(self.header, has_calibration=self._calibration is not None)

    def _separate(self, roles) -> "IsmrmrdScan | None":
        """The scan of the separate calibration lines, where maps of these images can be estimated from them."""
        if not roles.calibration.any() or not self._cartesian or self._slice_in_image_domain:
            return None
        scan, n_axes = IsmrmrdScan(self.path, calibration=True), 3 if self._is_3d else 2
        kinds = ((s._n_coils, s._cartesian, s._is_3d, s._recon_x if s._is_3d else 0) for s in (self, scan))
        views = ((s.header.encoded_fov or (0, 0, 0))[:n_axes] for s in (self, scan))
        return scan if len(set(kinds)) == 1 and np.allclose(next(views), next(views), rtol=0.01) else None

    def _calibration_of(self, problem: int, position: int) -> Complex[np.ndarray, "coil y x"] | None:
        """The calibration lines of a problem, or those of its slice, on its grid; at a position along the readout in 3D."""
        scan = self._calibration
        which = None if scan is None else matching_problem(scan._problems, self._problems[problem])
        if scan is None or which is None:
            return None
        if self._is_3d:
            key = volume_key(self.path, which, "calibration")
            kspace = latest_volume(key, lambda: scan._calibration_volume(which), kind="calibration")[..., position]
        else:
            kspace = scan._assemble(which)[0][:, 0]
        for axis, n in zip((-2, -1), self.header.shape[::-1], strict=True):
            kspace = crop_or_pad(kspace, n, axis)
        return np.ascontiguousarray(kspace.swapaxes(-1, -2))

    def _calibration_volume(self, problem: int) -> Complex[np.ndarray, "coil kz ky x"]:
        """(coil, kz, ky, x), the readout transformed, of the center that holds all lines: to be kept beside the images."""
        volume = self._hybrid(problem)
        for axis in (-3, -2):
            n = volume.shape[axis]
            measured = np.flatnonzero(self._measured(problem).any(-1 if axis == -3 else -2))
            reach = max(n // 2 - measured[0], measured[-1] + 1 - n // 2)
            volume = crop_or_pad(volume, min(2 * int(reach), n), axis)
        return volume

    @property
    def noise(self) -> Complex[np.ndarray, "line coil sample"] | None:
        """The noise pre-scans for `coils.prewhiten`, (line, coil, sample), cut to the shortest; None where there are none."""
        if not len(self._noise):
            return None
        sizes = self._noise_sizes
        read = zip(self._noise, sizes, self._read_lines(self._noise), strict=True)
        lines = [self._to_complex(data, n_coils, n_samples, i) for i, (n_coils, n_samples), data in read]
        if len({n_coils for n_coils, _ in sizes}) != 1:
            self._wrong("the number of coils changes between noise lines", "one number of coils", sorted(set(sizes)))
        shortest = min(line.shape[-1] for line in lines)
        return np.stack([line[..., :shortest] for line in lines])

    @property
    def line_order(self) -> Int[np.ndarray, "line two"]:
        """(kspace_encode_step_2, kspace_encode_step_1) of the imaging lines in the order of acquisition, as (line, 2)."""
        return np.stack([self._lines.step_2, self._lines.step_1], -1)

    def _wrong(self, problem, expected, found) -> NoReturn:
        raise DataError(problem, file=self.path, dataset=f"{self._group}/data", expected=expected, found=found)

    def _place(self, encoding: Encoding, lines, position, slice_in_image_domain):
        """Where each line goes: grid indices, the number of its problem, and the sizes of the grid."""
        idx = lines["idx"]
        size_x, size_y, size_z = encoding.encoded_matrix or (0, 0, 0)
        step_1, step_2 = (idx[n].astype(np.int64) for n in STEPS)
        n_positions = int(idx["slice"].max()) + 1
        if slice_in_image_domain is None:
            slice_in_image_domain = size_z == n_positions > 1 and not step_2.any()
        self._slice_in_image_domain = slice_in_image_domain and self._cartesian
        limit = encoding.limits.get("kspace_encoding_step_1")
        grid_y = encoding_grid(step_1, limit, size_y)
        if self._slice_in_image_domain:
            kz, n_kz = idx["slice"].astype(np.int64), max(n_positions, size_z)
        elif step_2.any():
            grid_z = encoding_grid(step_2, encoding.limits.get("kspace_encoding_step_2"), size_z)
            kz, n_kz = step_2 + grid_z.shift, grid_z.n
        else:  # a 2D scan may state a slab of slices as its z size: what no line encodes is no axis
            kz, n_kz = step_2, 1
        if max(grid_y.n, n_kz) > MAX_MATRIX:
            self._wrong("no matrix holds its lines", f"at most {MAX_MATRIX} positions", f"{grid_y.n} x {n_kz}")
        names = [n for n in PROBLEM if not (self._slice_in_image_domain and n == "slice")]
        keys, problem = np.unique(np.stack([idx[n] for n in names], -1), axis=0, return_inverse=True)
        kept = {n: lines[n].astype(np.int64) for n in ("number_of_samples", "discard_pre", "discard_post")}
        n_samples = kept["number_of_samples"] - kept["discard_pre"] - kept["discard_post"]
        if (n_samples < 1).any():
            self._wrong("a line has no samples", "samples beyond those to discard", int(n_samples.min()))
        self._problems, self._counted = keys.astype(np.int64), names
        self._lines = Lines(
            position, step_1 + grid_y.shift, kz, problem.reshape(-1), kept["number_of_samples"], kept["discard_pre"], kept["discard_post"],
            lines["center_sample"].astype(np.int64), flagged(lines["flags"], REVERSE), step_1, step_2,
            idx["average"].astype(np.int64),
        )  # fmt: skip
        self._longest = int(n_samples.max())
        self._grid = n_kz, grid_y.n, max(self._longest, size_x)
        # limits that the lines exceed say nothing of what was not acquired
        within = limit is not None and limit.maximum is not None and step_1.max() <= limit.maximum
        self._padding = acquired_columns(limit, grid_y.shift, grid_y.n) if within else None

    def _set_header(self, encoding: Encoding, heads, attributes, lines):
        n_kz, n_ky, n_kx = self._grid
        self._is_3d = self._cartesian and n_kz > 1
        self._field_of_view = encoding.field_of_view
        self._recon_x = kept_pixels(n_kx, 0, encoding)
        if self._cartesian:
            shape: tuple[int, ...] = (n_ky, n_kz) if self._is_3d else (n_kx, n_ky)
            size = self._n_coils * n_kz * n_ky * n_kx
            check_bytes((self._n_coils, n_kz, n_ky, n_kx), 8, file=self.path, dataset=f"{self._group}/xml")
            check_expansion(8 * size, self.path.stat().st_size, file=self.path, dataset=f"{self._group}/xml")
            slice_axes: tuple[str, ...] = ("coil", "ky", "kz") if self._is_3d else ("coil", "readout", "ky")
        else:
            per_problem = np.bincount(self._lines.problem, self._lines.samples)
            shape, slice_axes = (int(per_problem[0]),), ("coil", "sample")
        attributes = {
            **attributes,
            "n_acquisitions": len(heads),
            "n_imaging_lines": len(lines),
            "n_noise_lines": len(self._noise),
            "sample_time_us": float(lines["sample_time_us"][0]),
        }
        if len(self._noise):
            attributes["noise_sample_time_us"] = float(heads["sample_time_us"][self._noise[0]])
        header = Header(
            format="ISMRMRD",
            n_slices=len(self._problems) * (self._recon_x if self._is_3d else 1),
            n_coils=self._n_coils,
            shape=shape,
            file_shape=(len(heads),),
            file_axes=("acquisition",),
            slice_axes=slice_axes,
            counters=problem_counters(self._problems, self._counted, self._recon_x if self._is_3d else None),
            # slices of a 2D scan have a mask that shows it
            readout_complete=not self._is_3d or self._longest == n_kx,
            padding=self._padding if self._cartesian and not self._is_3d else None,
            has_mask=True,
            has_volume=self._is_3d,
            attributes=attributes,
        )
        self.header = with_encoding(header, encoding, lines, self._grid if self._cartesian else None)

    def _read_lines(self, positions, field: str = "data") -> Iterator[np.ndarray]:
        """The raw numbers of some lines, one after the other."""
        if field not in self._kinds:
            self._wrong("there is no trajectory", f"a field {field}", list(self._kinds))
        with reading(self.path, f"{self._group}/data", expected=f"the {field} of {len(positions)} lines"):
            yield from lines(self.path, f"{self._group}/data", self._references[field][positions], self._kinds[field])

    def _to_complex(self, data, n_coils, n_samples, position):
        """One line as complex (coil, sample): real and imaginary parts interleave, coils are the slow axis."""
        if data.size != 2 * n_coils * n_samples:
            self._wrong(
                f"line {int(position)} disagrees with its head",
                f"{2 * n_coils * n_samples} numbers for {n_coils} coils x {n_samples} samples",
                f"{data.size} numbers",
            )
        return np.ascontiguousarray(data, np.float32).view(np.complex64).reshape(n_coils, n_samples)

    def _imaging_lines(self, problem: int) -> Iterator[tuple[int, np.ndarray]]:
        """(number among the imaging lines, samples (coil, sample) without those to discard) of a problem."""
        lines = self._lines
        chosen = np.flatnonzero(lines.problem == problem)
        for i, data in zip(chosen, self._read_lines(lines.position[chosen]), strict=True):
            samples = self._to_complex(data, self._n_coils, lines.samples[i], lines.position[i])
            yield int(i), samples[:, lines.discard_pre[i] : lines.samples[i] - lines.discard_post[i]]

    def _assemble(self, problem: int):
        """K-space (coil, kz, ky, kx) of a problem, and which samples (kz, ky, kx) were measured."""
        n_kz, n_ky, n_kx = self._grid
        averaged = average(self._placed(problem), (self._n_coils, n_kz, n_ky, n_kx))
        if not averaged.agree and not self._warned:
            self._warned = True
            warnings.warn(
                f"file {self.path}: {averaged.n_repeated} lines have all counters of an earlier one, from which they differ by "
                f"up to {100 * averaged.difference:.3g} % of the largest sample, more than by noise: the first ones are taken. "
                "Were echoes, sets or repetitions written without their index?",
                DataWarning,
                stacklevel=2,
            )
        kspace = averaged.kspace
        if self._slice_in_image_domain:
            sign = np.where(np.arange(n_kz) % 2, -1, 1).astype(np.float32)[:, None, None]
            for coil in kspace:  # coil by coil: a transformed copy of a whole volume would double the memory
                coil[:] = fftc(coil * sign, 0)
        return kspace, averaged.counts > 0

    def _placed(self, problem: int) -> Iterator[Line]:
        """The lines of a problem with their places on the grid."""
        line, n_kx = self._lines, self._grid[2]
        chosen = np.flatnonzero(line.problem == problem)
        counters = np.stack([line.kz[chosen], line.ky[chosen], line.average[chosen]])
        _, which, n_equal = np.unique(counters, axis=1, return_inverse=True, return_counts=True)
        shared = dict(zip(chosen.tolist(), n_equal[which.reshape(-1)] > 1, strict=True))
        for i, samples in self._imaging_lines(problem):
            n, center = samples.shape[-1], line.center[i] - line.discard_pre[i]
            if line.reverse[i]:
                samples, center = samples[:, ::-1], n - 1 - center
            # a full line has one place only, whatever its head says about the centre (often 0: not filled in)
            start = int(np.clip(n_kx // 2 - center, 0, n_kx - n))
            yield Line(int(line.kz[i]), int(line.ky[i]), start, int(line.average[i]), samples, bool(shared[i]))

    def _read_volume(self, index: int) -> np.ndarray:
        if not self._is_3d:
            return super()._read_volume(index)
        if not 0 <= index < len(self._problems):
            raise IndexError(f"volume {index} of {self.path}, which has {len(self._problems)}")
        return self._assemble(index)[0]

    def _hybrid(self, problem):
        """(coil, kz, ky, x), the readout transformed and cropped to the field of view."""
        kspace = self._assemble(problem)[0]
        start = kspace.shape[-1] // 2 - self._recon_x // 2
        out = np.empty((*kspace.shape[:-1], self._recon_x), np.complex64)
        for coil, image in zip(kspace, out, strict=True):
            image[:] = ifftc(coil, -1)[..., start : start + self._recon_x]
        return out

    def _read(self, index: int) -> Slice:
        if not self._cartesian:
            return self._read_trajectory(index)
        if self._is_3d:
            problem, position = divmod(index, self._recon_x)
            key = volume_key(self.path, problem, self._slice_in_image_domain)
            volume = latest_volume(key, lambda: self._hybrid(problem))
            kspace, mask = volume[..., position], self._measured(problem).T
        else:
            problem, position = index, 0
            kspace, measured = self._assemble(index)
            kspace, mask = kspace[:, 0], measured[0].T
            # lines that all have the whole readout
            mask = mask[:1] if (mask == mask[:1]).all() else mask
        return Slice(
            kspace=np.ascontiguousarray(kspace.swapaxes(-1, -2)),
            mask=None if mask.all() else np.array(mask),
            calibration=self._calibration_of(problem, position),
        )

    def _measured(self, problem):
        """Which (kz, ky) have a line; slices in the image domain make a sample of k-space only all together."""
        measured = np.zeros(self._grid[:2], bool)
        chosen = self._lines.problem == problem
        measured[self._lines.kz[chosen], self._lines.ky[chosen]] = True
        return np.broadcast_to(measured.all(0), measured.shape) if self._slice_in_image_domain else measured

    def _read_trajectory(self, index: int) -> Slice:
        """Samples (coil, sample) and trajectory (sample, ndim) in radians per pixel, columns (z, y, x)."""
        lines = self._lines
        chosen = np.flatnonzero(lines.problem == index)
        kspace = [samples for _, samples in self._imaging_lines(index)]
        trajectory = []
        for i, data in zip(chosen, self._read_lines(lines.position[chosen], "traj"), strict=True):
            if data.size == 0 or data.size % lines.samples[i]:
                self._wrong(
                    f"the trajectory of line {lines.position[i]} disagrees with its head",
                    f"a multiple of {lines.samples[i]} numbers",
                    f"{data.size} numbers",
                )
            points = np.asarray(data, np.float32).reshape(lines.samples[i], -1)
            trajectory.append(points[lines.discard_pre[i] : lines.samples[i] - lines.discard_post[i]])
        if len({points.shape[-1] for points in trajectory}) != 1:
            self._wrong("the trajectory's dimensions change between lines", "one number", "several")
        scale = trajectory_scale(np.concatenate(trajectory), self.header.encoded_matrix, self._field_of_view)
        if scale is None:
            self._wrong("the unit of its trajectory is unknown", "values up to n / 2, or a field of view", "neither")
        radians = 2 * np.pi * np.clip(np.concatenate(trajectory) * scale, -0.5, 0.5)
        return Slice(kspace=np.concatenate(kspace, -1), trajectory=radians[:, ::-1].astype(np.float32))
