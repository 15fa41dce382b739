r"""PromptMR+, ablation on fastMRI knee, R = 4: no adaptive input, no history, maps coil by coil.

    jaxrecon train experiments/promptmr_plus/ablation_baseline.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/ablation
    jaxrecon train experiments/promptmr_plus/ablation_baseline.py --small --data simulated --out runs/small

The numbers of the paper's ablation are not public in text.

Deviations: R is one of the two that the published training mixes at random (4 and 8; Experiment has one); masks of the
validation are seeded by file name in this library's way; images narrower than 384 are padded with zeros, not by reflection, and
columns that were never acquired count as measured zeros in images of another width than the file's.
"""

from promptmr_plus_settings import ablation

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return ablation("baseline", small=small)
