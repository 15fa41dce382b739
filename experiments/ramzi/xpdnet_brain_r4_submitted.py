r"""XPDNet, fastMRI brain, R = 4: the network of the challenge's submission, with the small refiner of maps.

    jaxrecon train experiments/ramzi/xpdnet_brain_r4_submitted.py --data fastmri/brains/multicoil_train \
      --validation fastmri/brains/multicoil_val --out runs/xpdnet_brain_r4_submitted
    jaxrecon train experiments/ramzi/xpdnet_brain_r4_submitted.py --small --data simulated --out runs/small

155,536,508 parameters; mean rank 1.94 of the radiologists, second of three finalists. Fine-tuned on each contrast afterwards: ../README.md.

Deviations: an epoch has as many updates as there are volumes, as there, but all slices in turn, not one of each volume at random;
the rate is constant in one training, there four restarts of 25 epochs.
"""

from ramzi_settings import xpdnet_brain

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: fewer and smaller steps on simulated heads."""
    return xpdnet_brain(4, small=small, refiner="small")
