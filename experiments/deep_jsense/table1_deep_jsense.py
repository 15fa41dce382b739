r"""Deep J-Sense, Table 1 at R = 4: the proposed network, N = n1 = n2 = 6, map kernels 15 x 9, 447,490 parameters.

    jaxrecon train experiments/deep_jsense/table1_deep_jsense.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/table1_deep_jsense
    jaxrecon train experiments/deep_jsense/table1_deep_jsense.py --small --data simulated --out runs/small_deep_jsense

The paper: five central slices of each fastMRI knee volume (4865 for training, 995 for validation), 30 epochs, about 20 h on
two V100; average SSIM 0.831, median 0.858, standard deviation 0.112; NMSE 0.0389, 0.0062, 0.669 (three slices with much
zero padding make the mean).

Deviations: the learning rate is that of the public code (the paper names none); all columns of k-space are kept, those that the
header says were never acquired as not measured, and R and the calibration lines are of all of them (the paper takes such
columns out first: `jaxrecon.data.dead_columns`); the scale is the largest sample of all that are measured, not of the
calibration region.
"""

from deep_jsense_settings import table1

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return table1("deep_jsense", small=small)
