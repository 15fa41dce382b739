r"""UPDNet, fastMRI knee, R = 4: 25 steps of U-Nets with channel attention.

    jaxrecon train experiments/ramzi/updnet_knee_r4.py --data fastmri/knees/multicoil_train \
      --validation fastmri/knees/multicoil_val --out runs/updnet_knee_r4
    jaxrecon train experiments/ramzi/updnet_knee_r4.py --small --data simulated --out runs/small

12,126,858 parameters. Fine-tuned on each contrast afterwards: ../README.md.

Deviations: epochs of this stage are not documented, they are those of the brains; an epoch has as many updates as there are
volumes, as there, but all slices in turn, not one of each volume at random.
"""

from ramzi_settings import updnet_knee

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: fewer and smaller steps on simulated heads."""
    return updnet_knee(4, small=small)
