"""Deep J-Sense, Table 1 at R = 4: MoDL with the same image network, steps and iterations, maps by ESPIRiT; 223,745 parameters.

    jaxrecon train experiments/deep_jsense/table1_modl.py --data fastmri/multicoil_train --out runs/table1_modl
    jaxrecon train experiments/deep_jsense/table1_modl.py --small --data simulated --out runs/small_modl

The paper: average SSIM 0.815, median 0.843, standard deviation 0.115; NMSE 0.0162, 0.0086, 0.0724; about 14 h of training.

Deviations: maps come from the file or are estimated by this library's ESPIRiT (the paper: BART's, one set, soft weights, from
the calibration lines); learning rate and columns as in table1_deep_jsense.py.
"""

import dataclasses

from jaxrecon.models import MODL_DEEP_JSENSE
from jaxrecon.training import Experiment
from jaxrecon.training.presets import PRESETS, SMALL

N_SLICES, EPOCHS = 4865, 30


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    name = "deep-jsense"
    base = SMALL[name] if small else dataclasses.replace(PRESETS[name], n_updates=N_SLICES * EPOCHS)
    model = dataclasses.replace(MODL_DEEP_JSENSE, n_steps=base.model.n_steps, features=base.model.features)
    return dataclasses.replace(
        base,
        model=model,
        target="rss",
        mask="fixed-count",
        acceleration=4.0,
        variant=base.variant if small else "deep-jsense",
    )
