r"""Deep J-Sense, Table 1 at R = 4: MoDL with the same image network, steps and iterations, maps by ESPIRiT; 223,745 parameters.

    jaxrecon train experiments/deep_jsense/table1_modl.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/table1_modl
    jaxrecon train experiments/deep_jsense/table1_modl.py --small --data simulated --out runs/small_modl

The paper: average SSIM 0.815, median 0.843, standard deviation 0.115; NMSE 0.0162, 0.0086, 0.0724; about 14 h of training.

Deviations: maps come from the file or are estimated by this library's ESPIRiT (the paper: BART's, with soft weights), one set, not
cropped, from the calibration lines; else as in table1_deep_jsense.py.
"""

from deep_jsense_settings import table1

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return table1("modl", small=small)
