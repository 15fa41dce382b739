"""A network of your own in a file of your own: all that the commands need. The tutorial own_model.py looks into it.

    jaxrecon train experiments/tutorials/momentum.py --data simulated --out runs/momentum
    jaxrecon memory experiments/tutorials/momentum.py --shape 96 80 --n-coils 4
    jaxrecon recon scan.h5 --checkpoint runs/momentum --experiment experiments/tutorials/momentum.py --out recon.h5

The network is gradient descent with momentum and a small learned correction, none of which the library knows:

    x_{i+1} = x_i + b_i (x_i - x_{i-1}) - t_i A^H (A x_i - y) + W_i relu(K_i x_i),   x_0 = x_{-1} = A^H y
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrecon.complex_ops import from_channels, to_channels
from jaxrecon.experiment import DataConfig, Every, Experiment, SimulatedHeads
from jaxrecon.models import Unrolled, Wants, unrolled
from jaxrecon.nn import conv
from jaxrecon.training.optimizers import Adam


@dataclasses.dataclass(frozen=True)
class Momentum:
    """The network's sizes; each is an option of the commands, --model.n-steps and --model.features.

    Attributes:
      n_steps: steps, each with weights b, t, K, W of its own.
      features: channels of the correction.
    """

    n_steps: int = 6
    features: int = 16

    def build(self) -> Unrolled:
        """Start, step and finish. Batches, early exit and every strategy of training follow from them."""

        def start(_, problem):
            zero_filled = problem.op.adjoint(problem.kspace)  # A^H y: (coil, y, x) -> (y, x)
            return (zero_filled, zero_filled), (problem.op, zero_filled)  # the carry x_i, x_{i-1}; what all steps see

        def init_step(key, carry, context):
            into, back = jax.random.split(key)
            return {
                "K": jax.random.normal(into, (3, 3, 2, self.features)) / 18**0.5,
                "W": jax.random.normal(back, (3, 3, self.features, 2)) / 100,
                "b": jnp.float32(0.3),
                "t": jnp.float32(1.0),
            }

        def step(theta, carry, context, i):
            (image, last), (op, zero_filled) = carry, context
            momentum = theta["b"] * (image - last)
            gradient = theta["t"] * (op.normal(image) - zero_filled)
            correction = from_channels(conv(jax.nn.relu(conv(to_channels(image), theta["K"])), theta["W"]))
            return image + momentum - gradient + correction, image

        return unrolled(
            n_steps=self.n_steps,
            shared=False,
            start=start,
            init_step=init_step,
            step=step,
            finish=lambda carry, context: carry[0],
            # maps are estimated for it, its image is complex; its steps do not look at their number
            wants=Wants(maps="given", image="complex", uses_index=False),
        )


def experiment(small: bool = False) -> Experiment:
    """What the commands train: the network on small simulated heads; with `small` for a look."""
    return Experiment(
        Momentum(),
        optimizer=Adam(3e-3),
        loss="mse",
        data=DataConfig(mask="random", acceleration=3.0, n_masks=8),
        n_updates=20 if small else 300,
        every=Every(evaluate=20 if small else 100, checkpoint=20 if small else 100, log=10),
        simulated=SimulatedHeads(heads=12, validation_heads=2, slices=2, shape=(96, 80), coils=4),
    )
