import numpy as np

from jaxrecon.data.windows import neighbours
from jaxrecon.sampling import adjacent_frames, compatible


def masks(case):
    config = case.config
    width = config["W"]
    out = {}
    for name in config["names"]:
        pairs = {"acceleration": config["accelerations"], "center_fraction": config["center_fractions"]}
        for kind, function in (
            ("random", compatible.random_lines),
            ("equispaced_fraction", compatible.equispaced_fraction_lines),
        ):
            fraction, _ = compatible.draw_pair(name, config["center_fractions"], config["accelerations"])
            out[f"{kind}/{name}/mask"] = _columns(function(name, width, **pairs))
            out[f"{kind}/{name}/num_low"] = round(width * fraction)
        out |= _fixed_low(name, config)
        out |= _pool(case, name)
    for key in case.outputs:
        kind, _, numbers = key.partition("/a")
        if kind in ("adj_circular", "adj_clamped"):
            n, total = (int(part.lstrip("tz")) for part in numbers.split("_"))
            rows = range(total)
            if kind == "adj_circular":
                out[key] = np.stack([adjacent_frames(i, total, n) for i in rows])
            else:
                out[key] = np.stack([neighbours(i, total, n) for i in rows])
    return out


def _pool(case, name):
    """The masks of CMRxRecon 2024: a type is drawn first, then an ACS, then an acceleration."""
    config = case.config
    pool, width, n_slices = config["cmr24"], config["W"], config["num_slc"]
    out = {}
    for index in pool["slice_indices"]:
        frames = adjacent_frames(index // n_slices, config["num_t"], config["num_adj_slices"])
        rng = compatible.random_state(name)
        kind = str(rng.choice(["uniform", "kt_uniform", "kt_random", "kt_radial"]))
        rates, n_acs = pool["accelerations"], pool["num_low"]
        if kind == "uniform":
            mask = _columns(compatible.cmrxrecon_lines(rng, width, acceleration=(4, 8, 10), n_acs=[n_acs]))
        elif kind == "kt_radial":
            bank = case.file[f"cmr24/radial_bank/acc{rng.choice(rates)}_{width}x{config['H']}"]
            mask = bank.swapaxes(-1, -2)[frames].astype(np.float32)[..., None]
        else:
            function = compatible.kt_uniform_lines if kind == "kt_uniform" else compatible.kt_random_lines
            lines = function(rng, width, config["num_t"], acceleration=rates, n_acs=[n_acs])
            mask = lines[frames][:, None, :, None]
        out |= {f"cmr24/{name}/{index}/{k}": v for k, v in (("mask", mask), ("num_low", n_acs), ("type", kind))}
    return out


def _fixed_low(name, config):
    fixed = config["fixedlow"]
    lines = compatible.cmrxrecon_lines(name, config["W"], acceleration=fixed["accelerations"], n_acs=[fixed["num_low"]])
    key = f"fixedlow_equispaced/{name}"
    return {f"{key}/mask": _columns(lines), f"{key}/num_low": fixed["num_low"]}


def _columns(lines):
    return lines[None, None, :, None]


HANDLERS = {("promptmr", "masks"): masks}
