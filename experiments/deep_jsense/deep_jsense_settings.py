"""The settings of the Deep J-Sense paper: Table 1, Fig. 3 and 4, and the supplement's choice of steps.

Published: fastMRI knees, five central slices of each volume, R = 4 by an exact number of random lines around a calibration
region (ACS), drawn anew for each slice, SSIM loss with the slice's maximum as its range, 30 epochs of 4865 slices one by one,
N = n1 = n2 = 6, and for MoDL the same image network, steps and iterations. The learning rate is that of the public code (the
paper names none).

`small` keeps masks, loss, target (root of the sum of squares of full k-space; the simulation's own image has no noise, and one
that keeps the noise of its data would lose SSIM wherever there is nothing else), scale and rule of the evaluation, and how the
methods' numbers of parameters relate: MoDL has the same image network as Deep J-Sense, E2E-VarNet 4.0 times its parameters
(the paper's: 3.9 times). Simulated heads take the place of knees, N = 3 that of 6, kernels of 9 x 7 those of 15 x 9; the clipping
of the public code (gradient's norm; the paper's, each element, lets single steps wreck a short training), 1000 steps for all.
The learning rate is 5e-4, E2E-VarNet's 3e-3: the best of those tried on validation heads of seed 0; the others' was not
searched in this way.
"""

import dataclasses

from jaxrecon.experiment import CATALOG, Every, Experiment, SimulatedHeads
from jaxrecon.experiment.catalog import small as smaller
from jaxrecon.models import (
    VARNET_DEEP_JSENSE,
    DeepJSenseConfig,
    ModelConfig,
    MoDLDeepJSenseConfig,
    VarNetConfig,
)
from jaxrecon.strategies import EndToEnd
from jaxrecon.training.optimizers import DeepJSenseAdam

N_SLICES, EPOCHS = 4865, 30
CENTRAL = (13, 18)
"""Slices of a knee that the paper takes."""
METHODS: dict[str, ModelConfig] = {
    "deep_jsense": DeepJSenseConfig(),
    "varnet": VARNET_DEEP_JSENSE,
    "modl": MoDLDeepJSenseConfig(),
}
SMALL_LAM = 0.1
"""In place of 0.01: at this learning rate nothing would keep weights of the prior that small from turning negative."""
SMALL: dict[str, ModelConfig] = {
    "deep_jsense": DeepJSenseConfig(n_steps=3, kernel=(9, 7), features=16, lam=SMALL_LAM),
    "varnet": VarNetConfig(n_steps=3, features=8, pools=2, sens_features=8, sens_pools=2),
    "modl": MoDLDeepJSenseConfig(n_steps=3, features=16, lam=SMALL_LAM),
}
SMALL_DATA = SimulatedHeads(heads=16, validation_heads=2, slices=2, shape=(96, 80), coils=4)
SMALL_UPDATES = 1000
SMALL_LEARNING_RATE = {"deep_jsense": 5e-4, "varnet": 3e-3, "modl": 5e-4}
ACS = (1, 6, 12, 26, 56)
"""Fig. 4: lines of the calibration region."""
SMALL_ACS = {1: 1, 6: 2, 12: 4, 26: 6, 56: 12}
"""How many of 80 columns stand for them (6: what Table 1 has)."""
ESPIRIT_FROM = 4
"""Fewest lines from which ESPIRiT estimates maps."""
STEPS = {3: 12, 4: 9, 6: 6, 9: 4}
"""The supplement: N -> n1 = n2."""
SMALL_STEPS = {2: 9, 3: 6, 6: 3}
"""The same with half of the product."""
ACCELERATIONS = (2, 3, 4, 5, 6)
"""Fig. 3: trained at 4."""


def table1(method: str, *, small: bool) -> Experiment:
    """Matched conditions: trained and tested at R = 4, calibration region 0.08 of the columns."""
    preset = CATALOG["deep-jsense"].preset
    full = dataclasses.replace(
        preset,
        model=METHODS[method],
        n_updates=N_SLICES * EPOCHS,
        every=Every(evaluate=N_SLICES, checkpoint=N_SLICES),
        data=dataclasses.replace(
            preset.data,
            mask="fixed-count",
            acceleration=4.0,
            n_masks=None,
            slices=CENTRAL,
            data_range="slice",
            espirit_crop=0.0,
        ),
        variant="deep-jsense",
    )
    if not small:
        return full
    smaller_one = smaller(full, SMALL[method])
    return dataclasses.replace(
        smaller_one,
        n_updates=SMALL_UPDATES,
        optimizer=DeepJSenseAdam(SMALL_LEARNING_RATE[method], clip="norm"),
        data=dataclasses.replace(smaller_one.data, slices=None, target="rss"),
        every=Every(evaluate=SMALL_UPDATES, checkpoint=SMALL_UPDATES // 3, log=10),
        strategy=EndToEnd(),
        simulated=SMALL_DATA,
    )


def fig4(method: str, lines: int, *, small: bool) -> Experiment:
    """Trained and tested with a calibration region of so many lines (small: those of SMALL_ACS)."""
    experiment = table1(method, small=small)
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, acs=widths(small=small)[lines]))


def widths(*, small: bool) -> dict[int, int]:
    """Lines of Fig. 4 -> columns of the calibration region."""
    return SMALL_ACS if small else {lines: lines for lines in ACS}


def supplement(n_steps: int, *, small: bool) -> Experiment:
    """Deep J-Sense with N steps, and iterations so that their product stays (about) the same."""
    experiment = table1("deep_jsense", small=small)
    n = (SMALL_STEPS if small else STEPS)[n_steps]
    model = dataclasses.replace(experiment.model, n_steps=n_steps, map_iters=n, image_iters=n)  # type: ignore[type-var]
    return dataclasses.replace(experiment, model=model)


def rows(*, small: bool) -> dict[str, Experiment]:
    """Name of the row -> its experiment; the rows of two figures that are equal stand here once, as Table 1's."""
    named = {f"table1_{method}": table1(method, small=small) for method in METHODS}
    for lines, few in widths(small=small).items():
        for method in METHODS:
            found = method != "modl" or (small and few >= ESPIRIT_FROM)  # in the paper MoDL has no part in it
            if found and fig4_row(method, lines, small=small) not in named:
                named[fig4_row(method, lines, small=small)] = fig4(method, lines, small=small)
    for n_steps in SMALL_STEPS if small else STEPS:
        if supplement_row(n_steps, small=small) not in named:
            named[supplement_row(n_steps, small=small)] = supplement(n_steps, small=small)
    return named


def fig4_row(method: str, lines: int, *, small: bool) -> str:
    """The row of a point of Fig. 4; in the small runs the point of 26 lines is the row of Table 1."""
    return f"table1_{method}" if small and lines == 26 else f"fig4_{method}_acs{lines}"


def supplement_row(n_steps: int, *, small: bool) -> str:
    """The row of a choice of N: Table 1 has one of them."""
    return "table1_deep_jsense" if n_steps == (3 if small else 6) else f"supplement_deep_jsense_n{n_steps}"
