import jax
import numpy as np
from golden_case import Unknown

from jaxrecon.sampling import adjacent_frames, compatible, detect_acs_lines

FASTMRI = {
    "RandomMaskFunc": compatible.random_lines,
    "EquiSpacedMaskFunc": compatible.equispaced_lines,
    "EquispacedMaskFractionFunc": compatible.equispaced_fraction_lines,
    "MagicMaskFunc": compatible.magic_lines,
    "MagicMaskFractionFunc": compatible.magic_fraction_lines,
}


def fastmri_1d(case):
    """Column masks; where a case has no seed its offset leaves nothing to chance, and the constructor's seed serves."""
    out = {}
    for name, c in case.config["cases"].items():
        function = FASTMRI.get(c["mask_type"])
        if function is None:
            out[name] = Unknown(c["mask_type"])
            continue
        seed = case.config["constructor_seed"] if c["seed"] is None else c["seed"]
        offset = {} if c["offset"] is None else {"offset": c["offset"]}
        options = {"acceleration": c["accelerations"], "center_fraction": c["center_fractions"], **offset}
        out[name] = function(seed, c["cols"], **options)
        if c["file_name"] is not None:
            assert np.array_equal(out[name], function(c["file_name"], c["cols"], **options))
    return out


def cmrxrecon(case):
    """Names: pattern_R{acceleration}..., the k-t ones gathered over the adjacent frames of the configured frame."""
    config, kt = case.config, case.config["kt"]
    n, n_frames, seed = config["cols"], config["nt"], config["seed"]
    frames = adjacent_frames(kt["frame"], n_frames, kt["num_adjacent"])
    out = {}
    for name in case.outputs:
        pattern, acceleration = name.split("_R")
        acceleration = int(acceleration.split("_")[0])
        if pattern == "cmr23":
            out[name] = compatible.cmrxrecon_lines(seed, n, acceleration=acceleration, n_acs=config["cmr23"]["num_low"])
            continue
        function = {"kt_uniform": compatible.kt_uniform_lines, "kt_random": compatible.kt_random_lines}.get(pattern)
        if function is None:
            out[name] = Unknown(pattern)
            continue
        out[name] = function(seed, n, n_frames, acceleration=acceleration, n_acs=kt["num_low"])[frames]
    return out


def poisson(case):
    """SigPy's Poisson discs, packed to bits."""
    options = {k: case.config[k] for k in ("max_attempts", "tol")}
    out = {}
    for name, c in case.config["cases"].items():
        mask = compatible.poisson_disc(
            c["seed"],
            tuple(c["shape"]),
            acceleration=c["accel"],
            calib_size=tuple(c["calib"]),
            crop_corner=c["crop_corner"],
            **options,
        )
        out[name] = np.packbits(mask.astype(np.uint8))
    return out


def _kt_vd(c, partial_kx):
    if partial_kx:
        return Unknown("partial_kx")
    mask = compatible.kt_variable_density(
        c["seed"], c["ny"], c["nt"], acceleration=c["accel"], n_cal=c["n_cal"], vd_degree=c["vd_degree"]
    )
    return mask.T


def kt_vd(case):
    """(ny, nt), several cases in a file."""
    return {name: _kt_vd(c, case.config["partial_kx"]) for name, c in case.config["cases"].items()}


def vdkt_mask(case):
    """(ny, nt), one case."""
    return {"mask": _kt_vd(case.config, case.config["partial_kx"])}


def acs_detection(case):
    """Rows of masks of several widths, each cut where the fill value begins."""
    rows = [row[row != case.config["fill_value"]] for row in case["masks"]]
    detect = jax.jit(detect_acs_lines)
    start, n = np.array([detect(row) for row in rows]).T
    return {"pad": start, "num_low": n}


HANDLERS = {
    ("masks", "fastmri_1d"): fastmri_1d,
    ("masks", "cmrxrecon"): cmrxrecon,
    ("masks", "poisson"): poisson,
    ("masks", "kt_vd"): kt_vd,
    ("gleam", "vdkt_mask"): vdkt_mask,
    ("varnet", "acs_detection"): acs_detection,
}
