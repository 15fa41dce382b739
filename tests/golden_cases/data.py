"""Readers: the native files beside the golden file, brought back to the axis order in which it states them."""

import fnmatch

import jax
import numpy as np

from jaxrecon import complex_ops, data, fourier

_combined = jax.jit(complex_ops.rss)
_ifftc = jax.jit(fourier.ifftc, static_argnums=1)
_rss = jax.jit(lambda kspace: complex_ops.rss(fourier.ifftc(kspace)))


def formats(case):
    """One output after the other, from the file that `native_files` names for it."""
    native = {name: _native(case, name) for name in case.outputs}
    out = {}
    for name in case.outputs:
        reader, quantity = name.split("_", 1)
        with data.open(native[name]) if reader != "cfl" and "mask" not in name else _Nothing() as scan:
            out[name] = READERS[reader](case, scan, quantity, native)
    return out


def _native(case, name):
    patterns = [p for p in case.meta["native_files"] if fnmatch.fnmatchcase(name, p)]
    return case.root("here") / case.meta["native_files"][max(patterns, key=len)]


class _Nothing:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


def _fastmri(case, scan, quantity, native):
    if quantity == "test_mask":
        with data.open(native["fastmri_test_mask"]) as scan:
            return np.asarray(scan[0].mask)[0].astype(np.float32)
    header = scan.header
    if quantity == "rss":
        images = [_rss(case.cast(s.kspace)) for s in scan]
        np.testing.assert_allclose(np.stack([s.target for s in scan]), case.file["fastmri_rss"], rtol=1e-6)
        return np.stack([data.crop_to_recon_size(x, header) for x in images])
    return {
        "padding_left": lambda: np.array(header.padding[0]),
        "padding_right": lambda: np.array(header.padding[1]),
        "encoding_size": lambda: np.array(header.encoded_matrix),
        "recon_size": lambda: np.array(header.recon_matrix),
        "kspace_shape": lambda: np.array(header.file_shape),
    }[quantity]()


def _calgary(case, scan, quantity, native):
    if quantity == "sampled_kz":
        return np.array(scan.header.padding[1])
    if quantity == "kspace":
        return np.stack([scan.stored(i) for i in range(len(scan))])
    if quantity == "rss":
        images = [np.fft.ifft2(case.cast(scan.stored(i)), norm="ortho") for i in range(len(scan))]
        return np.stack([_combined(x) for x in images])
    kspace = [case.cast(s.kspace) for s in scan]
    return np.stack(kspace if quantity == "kspace_centred" else [_rss(k) for k in kspace])


def _cmrx(case, scan, quantity, native):
    if quantity == "mask_ky":
        with data.open(native["cmrx_kspace"], mask=native["cmrx_mask_ky"]) as scan:
            return np.asarray(scan[0].mask)[0].astype(np.uint8)
    kspace = [case.cast(s.kspace).swapaxes(-1, -2) for s in scan]  # (coil, kx, ky) -> (coil, ky, kx)
    if quantity == "rss":
        kspace = [_rss(k) for k in kspace]
    return np.stack(kspace).reshape(scan.header.n_frames, -1, *kspace[0].shape)


def _ismrmrd(case, scan, quantity, native):
    if quantity == "noise":
        return scan.noise
    if quantity == "first_order":
        return scan.line_order[: len(case.file["ismrmrd_first_order"])]
    volume = case.cast(scan.volume())
    if quantity == "kspace":
        return volume
    # the slices are transformed along the readout and cropped: the rest is a transform of their (ky, kz)
    slices = np.stack([_ifftc(case.cast(s.kspace)) for s in scan], -1)  # (coil, y, z, x)
    direct = _ifftc(data.remove_oversampling(volume, scan.header.recon_matrix[0], -1), (-3, -2, -1))
    np.testing.assert_allclose(slices.swapaxes(1, 2), direct, atol=2e-6 * np.abs(direct).max())
    return slices.swapaxes(1, 2)


def _nifti(case, scan, quantity, native):
    return scan.header.affine if quantity == "affine" else scan.volume().T  # (z, y, x) -> (x, y, z)


def _cfl(case, scan, quantity, native):
    array = np.array(data.read_cfl(native["cfl_array_c_order"]))
    return array.reshape(array.shape[-4:])


READERS = {
    "fastmri": _fastmri, "calgary": _calgary, "cmrx": _cmrx, "ismrmrd": _ismrmrd, "nifti": _nifti, "cfl": _cfl,
}  # fmt: skip


def mridata_style(case):
    """The slice direction in the image domain with alternating sign, as on mridata.org."""
    with data.open(_native(case, "kspace")) as scan:
        kspace = case.cast(scan.volume())
        slices = np.stack([_ifftc(case.cast(s.kspace)) for s in scan], -1)  # (coil, y, z, x)
    return {"kspace": kspace, "image": slices.swapaxes(1, 2)}


def acq_brain_sim(case):
    """An awkward ISMRMRD file; its slices are (coil, kx, ky), the golden arrays (ky, kx)."""
    with data.open(case.external_path("acquisitions")) as scan:
        kspace = case.cast(scan[0].kspace)[0].T
    every, image_every = case.config["kspace_decimation"], case.config["image_decimation"]
    image = np.abs(_ifftc(kspace))
    return {
        "kspace_decim": kspace[::every, ::every],
        "kspace_norm": np.linalg.norm(kspace.astype(np.complex128)),
        "peak_index": np.array(np.unravel_index(np.abs(kspace).argmax(), kspace.shape)),
        "image_mag_decim": image[::image_every, ::image_every],
    }


HANDLERS = {
    ("data", "formats"): formats,
    ("data", "mridata_style"): mridata_style,
    ("data", "acq_brain_sim"): acq_brain_sim,
}
