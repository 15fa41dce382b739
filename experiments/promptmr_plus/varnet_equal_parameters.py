r"""E2E-VarNet with as many parameters as PromptMR+ (full: 93.6 M to 92.9 M), fastMRI knee, R = 4.

    jaxrecon train experiments/promptmr_plus/varnet_equal_parameters.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/varnet
    jaxrecon train experiments/promptmr_plus/varnet_equal_parameters.py --small --data simulated --out runs/small

No published value: this comparison is ours, at equal updates, data, optimizer and loss.

Deviations: R is one of the two that the published training mixes at random (4 and 8; Experiment has one); masks of the
validation are seeded by file name in this library's way; images narrower than 384 are padded with zeros, not by reflection, and
columns that were never acquired count as measured zeros in images of another width than the file's.
"""

from promptmr_plus_settings import varnet_equal_parameters

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return varnet_equal_parameters(small=small)
