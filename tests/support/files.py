"""Tiny valid files of each format, written by hand, for the tests of the readers."""

import h5py
import numpy as np

FIELDS = [
    ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
    ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2"),
    ("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", (16,)), ("discard_pre", "<u2"),
    ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2"),
    ("sample_time_us", "<f4"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,)), ("phase_dir", "<f4", (3,)),
    ("slice_dir", "<f4", (3,)), ("patient_table_position", "<f4", (3,)),
    ("idx", [*[(n, "<u2") for n in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast",
                                    "phase", "repetition", "set", "segment")], ("user", "<u2", (8,))]),
    ("user_int", "<i4", (8,)), ("user_float", "<f4", (8,)),
]  # fmt: skip
HEAD = np.dtype(FIELDS)


def complex_array(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def flag(*numbers):
    return sum(1 << (n - 1) for n in numbers)


def header_xml(
    encoded=None, recon=None, limits=None, *, trajectory="cartesian", fov=None, recon_fov=None, extra="", namespace=True
):
    """An ISMRMRD header; limits: name -> (maximum, center); recon_fov: fov, where it is not given."""

    def space(name, matrix, mm):
        if matrix is None:
            return ""
        size = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", matrix, strict=True))
        view = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", mm or (0, 0, 0), strict=True))
        return f"<{name}><matrixSize>{size}</matrixSize><fieldOfView_mm>{view}</fieldOfView_mm></{name}>"

    ranges = "".join(
        f"<{name}><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center></{name}>"
        for name, (maximum, center) in (limits or {}).items()
    )
    xmlns = ' xmlns="http://www.ismrm.org/ISMRMRD"' if namespace else ""
    return (
        f"<?xml version='1.0'?><ismrmrdHeader{xmlns}><encoding>{space('encodedSpace', encoded, fov)}"
        f"{space('reconSpace', recon, recon_fov or fov)}<encodingLimits>{ranges}</encodingLimits>"
        f"<trajectory>{trajectory}</trajectory>{extra}</encoding></ismrmrdHeader>"
    )


def lines_of_columns(kspace, first=0, columns=None, **fixed):
    """Lines of k-space (coil, readout, ky): column j at kspace_encode_step_1 = j - first."""
    columns = range(kspace.shape[-1]) if columns is None else columns
    return [{"data": kspace[..., j], "kspace_encode_step_1": int(j) - first, **fixed} for j in columns]


def write_ismrmrd(path, lines, xml):
    """Lines: dicts with `data` (coil, sample), and by name fields of the head, of idx, and `traj` (sample, ndim)."""
    dtype = np.dtype([("head", HEAD), ("traj", h5py.vlen_dtype("<f4")), ("data", h5py.vlen_dtype("<f4"))])
    table = np.zeros(len(lines), dtype)
    for row, line in zip(table, lines, strict=True):
        data = np.ascontiguousarray(line["data"], np.complex64)
        head = row["head"]
        head["active_channels"], head["number_of_samples"] = data.shape
        head["center_sample"] = data.shape[1] // 2
        traj = np.asarray(line.get("traj", np.zeros((0, 0))), np.float32)
        head["trajectory_dimensions"] = traj.shape[1]
        for name, value in line.items():
            if name in HEAD.names:
                head[name] = value
            elif name in HEAD["idx"].names:
                head["idx"][name] = value
        row["data"], row["traj"] = data.view(np.float32).ravel(), traj.ravel()
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("data", data=table, maxshape=(None,), chunks=(1,))
        group.create_dataset("xml", data=np.array([xml], object), dtype=h5py.string_dtype())
    return path


def write_fastmri(path, kspace, *, xml=None, **extra):
    """Extra arrays become datasets, other values attributes."""
    with h5py.File(path, "w") as file:
        if kspace is not None:
            file["kspace"] = kspace
        if xml is not None:
            file["ismrmrd_header"] = xml
        for name, value in extra.items():
            if isinstance(value, np.ndarray):
                file[name] = value
            else:
                file.attrs[name] = value
    return path


def write_matlab(path, **variables):
    """MATLAB version 7.3: HDF5 after a block of 512 bytes; complex arrays as pairs of fields."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, array in variables.items():
            if array.dtype.kind == "c":
                pairs = np.empty(array.shape, [("real", "<f4"), ("imag", "<f4")])
                pairs["real"], pairs["imag"] = array.real, array.imag
                array = pairs
            file[name] = array
            file[name].attrs["MATLAB_class"] = np.bytes_("single")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def write_bart(base, array):
    """Array in C order, the dimensions reversed."""
    base.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape[::-1])) + "\n# Creator\nus\n")
    array.astype("<c8").tofile(base.with_suffix(".cfl"))
    return base.with_suffix(".cfl")
