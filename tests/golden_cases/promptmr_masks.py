import numpy as np

from jaxrecon.data.windows import neighbours
from jaxrecon.sampling import adjacent_frames, cmrxrecon2024_pool, compatible


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
    config = case.config
    pool, shape, n_frames = config["cmr24"], (config["H"], config["W"]), config["num_t"]
    rates, n_acs, out = pool["accelerations"], pool["num_low"], {}
    bank = {r: case.file[f"cmr24/radial_bank/acc{r}_{shape[1]}x{shape[0]}"].swapaxes(-1, -2) != 0 for r in rates}
    drawn = cmrxrecon2024_pool(name, shape, n_frames, acceleration=rates, n_acs=n_acs, radial=bank)
    for index in pool["slice_indices"]:
        frames = adjacent_frames(index // config["num_slc"], n_frames, config["num_adj_slices"])
        mask = (drawn.mask if drawn.kind == "uniform" else drawn.mask[frames])[..., None]
        out |= {f"cmr24/{name}/{index}/{k}": v for k, v in (("mask", mask), ("num_low", n_acs), ("type", drawn.kind))}
    return out


def _fixed_low(name, config):
    fixed = config["fixedlow"]
    lines = compatible.cmrxrecon_lines(name, config["W"], acceleration=fixed["accelerations"], n_acs=[fixed["num_low"]])
    key = f"fixedlow_equispaced/{name}"
    return {f"{key}/mask": _columns(lines), f"{key}/num_low": fixed["num_low"]}


def _columns(lines):
    return lines[None, None, :, None]


HANDLERS = {("promptmr", "masks"): masks}
