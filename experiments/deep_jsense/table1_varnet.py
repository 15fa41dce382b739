r"""Deep J-Sense, Table 1 at R = 4: the baseline E2E-VarNet, 6 cascades, three poolings, 12 / 8 channels; 1,744,404 parameters.

    jaxrecon train experiments/deep_jsense/table1_varnet.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/table1_varnet
    jaxrecon train experiments/deep_jsense/table1_varnet.py --small --data simulated --out runs/small_varnet

The paper: average SSIM 0.824, median 0.851, standard deviation 0.107; NMSE 0.0111, 0.0068, 0.0299; about 14 h of training.
Deviations: as in table1_deep_jsense.py.
"""

from deep_jsense_settings import table1

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return table1("varnet", small=small)
