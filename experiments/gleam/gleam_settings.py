"""The settings of GLEAM's Tables I to V; each file table*.py beside this one names one row of them.

The paper states iterations, batch, mask, steps, modules, features, CG iterations, mu and loss. Its code alone states the
learning rate and L2 penalty (`GleamAdam()`: 1e-4 each), the scale (95th percentile of the zero-filled
magnitude), the seed 1000 and the width of the center of 1D masks (4 % of the columns).

`small` keeps network, strategy, N, M, mask, R (of cine 5 in place of 10), mu, loss, scale and rule of the evaluation;
simulated heads (or beating hearts) take the place of the data, with fewer features and iterations, 6 CG, batches of
one, a learning rate of 1e-3 and narrower fully sampled centers: minutes on two cores. All rows of a table have the same
data and as many iterations. Tables III to V: what depth brings is less than the noise that a constant rate leaves after a
short training; there, for all rows, Adam's rate falls from 2e-3 to zero, and the average of the weights is scored.
"""

import dataclasses

from jaxrecon.experiment import DataConfig, Every, Experiment, SimulatedHeads
from jaxrecon.experiment.catalog import small as smaller
from jaxrecon.models import MODL_2D_GLEAM, MODL_3D_GLEAM, PGD_3D_CINE, MoDLConfig, PGDConfig
from jaxrecon.strategies import EndToEnd, Gleam, StrategyConfig
from jaxrecon.training.optimizers import AdamCosine, GleamAdam

SMALL_FLAT = SimulatedHeads(heads=16, validation_heads=2, slices=2, shape=(64, 48), coils=4)
SMALL_EQUAL_MEMORY = dataclasses.replace(SMALL_FLAT, shape=(40, 64), heads=48)
SMALL_CINE = SimulatedHeads(heads=16, validation_heads=2, frames=6, shape=(32, 40), coils=4)
SMALL_ACS = {"random": 6, "kt-variable-density": 5}
SMALL_CG = 6
SMALL_EQUAL_MEMORY_UPDATES = 2000
SMALL_CINE_UPDATES = 1000


def pgd_mridata(acceleration: float, strategy: StrategyConfig, *, small: bool) -> Experiment:
    """Table I: PGD, N = 8, 100 features; batch 4, 50,000 iterations; Poisson disc, center 20 x 20."""
    full = _mridata(PGDConfig(n_steps=8, features=100), acceleration, strategy)
    return _small(full, SMALL_FLAT, 400, features=8) if small else full


def modl_mridata(acceleration: float, strategy: StrategyConfig, *, small: bool) -> Experiment:
    """Table II: MoDL, N = 8, 70 features, 10 CG, mu 4.0 at R = 4 and 0.05 at R = 16; else as Table I.

    Small: 6 CG.
    """
    mu = {4.0: 4.0, 16.0: 0.05}[acceleration]
    full = _mridata(dataclasses.replace(MODL_2D_GLEAM, lam=mu), acceleration, strategy)
    return _small(full, SMALL_FLAT, 200, features=8, cg_iters=SMALL_CG) if small else full


def pgd_brain(*, deep: bool, small: bool) -> Experiment:
    """Table III: PGD, 100 features, N = 8 end to end, or N = 24 in M = 3 modules; batch 2, 80,000 iterations; 1D, R = 8."""
    full = Experiment(
        PGDConfig(n_steps=24 if deep else 8, features=100),
        strategy=Gleam(3) if deep else EndToEnd(),
        optimizer=GleamAdam(),
        n_updates=80_000,
        batch_size=2,
        data=DataConfig(
            mask="random", acceleration=8.0, acs=round(0.04 * 384), scale="top_magnitude", espirit_crop=0.95
        ),
        variant="gleam",
        seed=1000,
    )
    if not small:
        return full
    return _settled(_small(full, SMALL_EQUAL_MEMORY, SMALL_EQUAL_MEMORY_UPDATES, features=8))


def pgd_cine(*, deep: bool, small: bool) -> Experiment:
    """Table IV: PGD 2D + time, 50 features, N = 4 end to end, or N = 12 in M = 3 modules; batch 1, 25,000 iterations."""
    full = _cine(dataclasses.replace(PGD_3D_CINE, n_steps=12 if deep else 4), Gleam(3) if deep else EndToEnd())
    return _small_cine(full) if small else full


def modl_cine(strategy: StrategyConfig, *, small: bool) -> Experiment:
    """Table V: MoDL 2D + time, N = 4, 50 features, 10 CG, mu 0.05; batch 1, 25,000 iterations.

    Small: 6 CG.
    """
    full = _cine(MODL_3D_GLEAM, strategy)
    return _small_cine(full, cg_iters=SMALL_CG) if small else full


def _mridata(model: PGDConfig | MoDLConfig, acceleration: float, strategy: StrategyConfig) -> Experiment:
    return Experiment(
        model,
        strategy=strategy,
        optimizer=GleamAdam(),
        n_updates=50_000,
        batch_size=4,
        data=DataConfig(mask="poisson", acceleration=acceleration, acs=20, scale="top_magnitude", espirit_crop=0.95),
        variant="gleam",
        seed=1000,
    )


def _cine(model: PGDConfig | MoDLConfig, strategy: StrategyConfig) -> Experiment:
    return Experiment(
        model,
        strategy=strategy,
        optimizer=GleamAdam(),
        n_updates=25_000,
        batch_size=1,
        # no frame has a fully sampled center; maps come from the average over time
        data=DataConfig(mask="kt-variable-density", acceleration=10.0, acs=1, scale="top_magnitude", espirit_crop=0.95),
        variant="gleam",
        seed=1000,
        # 144 to 216 x 180 to 242 in the paper
        simulated=SimulatedHeads(heads=17, validation_heads=2, frames=20, shape=(180, 210), coils=8),
    )


def _small_cine(full: Experiment, **network: int) -> Experiment:
    # R = 10 would leave 4 of 40 columns to a frame
    full = dataclasses.replace(full, data=dataclasses.replace(full.data, acceleration=5.0))
    return _settled(_small(full, SMALL_CINE, SMALL_CINE_UPDATES, features=8, **network))


def _settled(small: Experiment) -> Experiment:
    return dataclasses.replace(small, optimizer=AdamCosine(2e-3), ema_decay=0.98)


def _small(full: Experiment, data: SimulatedHeads, n_updates: int, **network: int) -> Experiment:
    return dataclasses.replace(
        smaller(full, dataclasses.replace(full.model, **network)),
        optimizer=GleamAdam(1e-3),
        n_updates=n_updates,
        every=Every(evaluate=n_updates // 2, checkpoint=n_updates // 2, log=10),
        data=dataclasses.replace(full.data, n_masks=4, acs=SMALL_ACS.get(full.data.mask or "")),
        seed=0,
        simulated=data,
    )
