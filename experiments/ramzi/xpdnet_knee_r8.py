r"""XPDNet, fastMRI knee, R = 8: the network of the brains.

    jaxrecon train experiments/ramzi/xpdnet_knee_r8.py --data fastmri/knees/multicoil_train \
      --validation fastmri/knees/multicoil_val --out runs/xpdnet_knee_r8
    jaxrecon train experiments/ramzi/xpdnet_knee_r8.py --small --data simulated --out runs/small

No result is documented; 155,649,840 parameters. Fine-tuned on each contrast afterwards: ../README.md.

Deviations: epochs of this stage are not documented, they are those of the brains; an epoch has as many updates as there are
volumes, as there, but all slices in turn, not one of each volume at random.
"""

from ramzi_settings import xpdnet_knee

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: fewer and smaller steps on simulated heads."""
    return xpdnet_knee(8, small=small)
