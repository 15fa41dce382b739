r"""XPDNet, fastMRI brain, R = 4: the released network, of 25 steps with the big refiner of maps.

    jaxrecon train experiments/ramzi/xpdnet_brain_r4.py --data fastmri/brains/multicoil_train \
      --validation fastmri/brains/multicoil_val --out runs/xpdnet_brain_r4
    jaxrecon train experiments/ramzi/xpdnet_brain_r4.py --small --data simulated --out runs/small

155,649,840 parameters. The radiologists' ranks (1.94 at R = 4) are of the submission,
with the small refiner. Fine-tuned on each contrast afterwards: ../README.md.

Deviations: an epoch has as many updates as there are volumes, as there, but all slices in turn, not one of each volume at random;
the rate is constant in one training, there four restarts of 25 epochs.
"""

from ramzi_settings import xpdnet_brain

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: fewer and smaller steps on simulated heads."""
    return xpdnet_brain(4, small=small)
