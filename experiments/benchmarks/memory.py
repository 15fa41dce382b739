"""Memory of one training step at the papers' sizes under every strategy, as the compiler plans it: nothing is run.

    python experiments/benchmarks/memory.py --out experiments/benchmarks/results/memory.json
    python experiments/benchmarks/memory.py --scale 8 --tables pgd_2d       # small images, to try it

Temporary bytes of the whole jitted step: loss, gradient, Adam, donated state. Two baselines: `end to end, Python loop`,
as most would write it, and `end to end` by lax.scan; all rows use the same convolution and the same unrolled CG, no
baseline rematerialises. A ratio says how many times larger the baseline is; bars hold at full size. Workspace of FFT
and convolution libraries is in none of the numbers. Took 45 minutes on a shared core.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# what the machine code looks like does not change the plan of the buffers, but takes most of the compile time
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax
import jax.numpy as jnp

from jaxrecon.models import Unrolled
from jaxrecon.models.modl import MODL_2D_GLEAM, MODL_3D_GLEAM, modl
from jaxrecon.models.pgd import PGD_2D_FASTMRI_GLEAM, PGD_3D_CINE, PGD_3D_CINE_GLEAM, PGDConfig, pgd
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.strategies import Strategy, checkpointed, deep_supervision, end_to_end, gleam, invertible
from jaxrecon.training import losses, memory_report, optimizers

LOOP, SCAN = "end to end, Python loop", "end to end"
MEGABYTE = 2**20


@dataclasses.dataclass(frozen=True)
class Row:
    """A model under a strategy, and the ratios to the two baselines that it must reach (None: no bar)."""

    model: Unrolled
    strategy: Strategy
    least_to_loop: float | None = None
    least_to_scan: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that share the data: a batch of images (y, x) or (frame, y, x) seen by some coils."""

    title: str
    batch: int
    image: tuple[int, ...]
    rows: Mapping[str, Row]
    coils: int = 8

    def data(self, scale: int) -> tuple[Problem, Target]:
        """Shapes of a batch of problems and targets; `scale` divides the image size."""
        *frames, height, width = self.image
        size = (height // scale, width // scale)

        def build():
            kspace = jnp.zeros((self.batch, *frames, self.coils, *size), jnp.complex64)
            maps = jnp.zeros((self.batch, self.coils, *size), jnp.complex64)
            mask = jnp.zeros((self.batch, *frames, *(1 for _ in frames), *size))
            image = jnp.zeros((self.batch, *frames, *size), jnp.complex64)
            return Problem(kspace, CartesianSense(maps, mask)), Target(image)

        return jax.eval_shape(build)


def tables() -> dict[str, Table]:
    """GLEAM's four settings, and its deep networks in the memory of shallow ones."""
    modl_2d, pgd_2d = modl(MODL_2D_GLEAM), pgd(PGDConfig())
    modl_3d, pgd_3d = modl(MODL_3D_GLEAM), pgd(PGD_3D_CINE)
    one = lambda build, config: build(dataclasses.replace(config, n_steps=1))
    flat, cine = (320, 256), (20, 200, 200)

    def standard(model, alone, *, bars, n_modules):
        """All strategies; bars: (GLEAM to loop, GLEAM to scan, checkpointed to loop, MEL to loop)."""
        gleam_to_loop, gleam_to_scan, checkpointed_to_loop, mel_to_loop = bars
        weights = [1 / model.n_steps] * model.n_steps
        rows = {
            LOOP: Row(model, end_to_end(loop=True)),
            SCAN: Row(model, end_to_end()),
            "checkpointed": Row(model, checkpointed(), checkpointed_to_loop),
        }
        if model.inverse is not None:
            rows[f"invertible, N_cp = {model.n_steps - 1}"] = Row(model, invertible())
            rows["invertible, N_cp = 0"] = Row(model, invertible(0), mel_to_loop)
        for m in n_modules:
            bar = (gleam_to_loop, gleam_to_scan) if m == model.n_steps else (None, None)
            rows[f"gleam, M = {m}"] = Row(model, gleam(m), *bar)
        return rows | {
            "deep supervision": Row(model, deep_supervision(weights)),
            "deep supervision, checkpointed": Row(model, deep_supervision(weights, underneath=checkpointed())),
            "one step alone, N = 1": Row(alone, end_to_end()),
        }

    def deeper(shallow, deep):
        """A deep network in three modules beside a shallow one end to end; equal memory is a ratio of 1."""
        return {
            LOOP: Row(shallow, end_to_end(loop=True)),
            SCAN: Row(shallow, end_to_end()),
            f"N = {deep.n_steps}, gleam, M = 3": Row(deep, gleam(3), 0.97),
            f"N = {deep.n_steps}, end to end": Row(deep, end_to_end()),
        }

    def lower(plain, bfloat16, **more):
        """What might lower GLEAM further."""
        rematerialised = dataclasses.replace(plain, step=jax.checkpoint(plain.step))
        return {
            LOOP: Row(plain, end_to_end(loop=True)),
            "gleam, M = 8": Row(plain, gleam(8)),
            **{f"gleam, M = 8, {name}": Row(model, gleam(8)) for name, model in more.items()},
            "gleam, M = 8, bfloat16 network": Row(bfloat16, gleam(8)),
            "gleam, M = 8, steps rematerialised": Row(rematerialised, gleam(8)),
            "gleam, M = 2": Row(plain, gleam(2)),
            "gleam, M = 2, steps rematerialised": Row(rematerialised, gleam(2)),
        }

    low = lambda build, config, **options: build(dataclasses.replace(config, **options))
    return {
        "modl_2d": Table(
            "MoDL 2D, 70 features, 10 CG, N = 8",
            4,
            flat,
            standard(modl_2d, one(modl, MODL_2D_GLEAM), bars=(6.8, 5.0, 6.0, 6.0), n_modules=(8, 4, 2)),
        ),
        "pgd_2d": Table(
            "PGD 2D, 100 features, N = 8",
            4,
            flat,
            standard(pgd_2d, one(pgd, PGDConfig()), bars=(5.6, 4.0, 4.5, None), n_modules=(8, 4, 2)),
        ),
        "modl_3d": Table(
            "MoDL 2D + time, 50 features, 10 CG, N = 4",
            1,
            cine,
            standard(modl_3d, one(modl, MODL_3D_GLEAM), bars=(3.2, None, None, None), n_modules=(4, 2)),
        ),
        "pgd_3d": Table(
            "PGD 2D + time, 50 features, N = 4",
            1,
            cine,
            standard(pgd_3d, one(pgd, PGD_3D_CINE), bars=(2.8, None, None, None), n_modules=(4, 2)),
        ),
        "pgd_2d_deep": Table(
            "PGD 2D, 100 features, N = 24 in the memory of N = 8",
            2,
            flat,
            deeper(pgd_2d, pgd(PGD_2D_FASTMRI_GLEAM)),
        ),
        "pgd_3d_deep": Table(
            "PGD 2D + time, 50 features, N = 12 in the memory of N = 4",
            1,
            cine,
            deeper(pgd_3d, pgd(PGD_3D_CINE_GLEAM)),
        ),
        "modl_2d_lower": Table(
            "MoDL 2D, 70 features, 10 CG, N = 8: GLEAM lower still",
            4,
            flat,
            lower(
                modl_2d,
                low(modl, MODL_2D_GLEAM, bfloat16=True),
                **{"implicit CG": low(modl, MODL_2D_GLEAM, implicit=True)},
            ),
        ),
        "pgd_2d_lower": Table(
            "PGD 2D, 100 features, N = 8: GLEAM lower still",
            4,
            flat,
            lower(pgd_2d, low(pgd, PGDConfig(), bfloat16=True)),
        ),
    }


def measure(table: Table, scale: int, say: Callable[[str], None]) -> list[dict]:
    """Compile all rows of a table, one after the other."""
    problem, target = table.data(scale)
    rows: list[dict] = []
    say(f"\n{table.title}; batch {table.batch}, {' x '.join(map(str, problem.kspace.shape[1:]))} k-space")
    say(f"{'':36}{'MiB':>8}{'loop is x':>11}{'scan is x':>11}{'arguments':>11}{'compiled in':>13}")
    for name, row in table.rows.items():
        start = time.perf_counter()
        tx = optimizers.GleamAdam().build()
        (report,) = memory_report(row.model, losses.complex_l1, tx, problem, target, strategies={name: row.strategy})
        if report.memory is None:
            raise SystemExit(f"{table.title}, {name}: {report.reason}")
        temporary = report.memory.temporary
        bases = {r["strategy"]: r["temporary_bytes"] for r in rows} | {name: temporary}
        ratios = {
            "loop_ratio": bases[LOOP] / temporary,
            "scan_ratio": bases[SCAN] / temporary if SCAN in bases else None,
        }
        bars = {"loop_ratio": row.least_to_loop, "scan_ratio": row.least_to_scan}
        missed = [k for k, bar in bars.items() if scale == 1 and bar is not None and ratios[k] < bar]
        rows.append(
            {
                "strategy": name,
                "n_steps": row.model.n_steps,
                "temporary_bytes": temporary,
                "argument_bytes": report.memory.arguments,
                "output_bytes": report.memory.outputs,
                **ratios,
                "bars": {k: bar for k, bar in bars.items() if bar is not None},
                "missed": missed,
                "compile_seconds": time.perf_counter() - start,
            }
        )
        cells = [_with_bar(ratios[k], bars[k] if scale == 1 else None, k in missed) for k in ratios]
        say(
            f"{name:36}{temporary / MEGABYTE:8.0f}{cells[0]:>11}{cells[1]:>11}"
            f"{report.memory.arguments / MEGABYTE:11.0f}{rows[-1]['compile_seconds']:11.1f} s"
        )
    return rows


def _with_bar(ratio, bar, missed):
    if ratio is None:
        return ""
    return f"{ratio:.2f}" + ("" if bar is None else f" {'<' if missed else '>'}{bar:g}")


def main() -> None:
    everything = tables()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--scale", type=int, default=1, help="divide the image size by this")
    parser.add_argument(
        "--tables", nargs="+", choices=everything, default=list(everything), help="the others stay in --out as they are"
    )
    options = parser.parse_args()
    report = {
        "backend": jax.default_backend(),
        "machine": {"device": str(jax.devices()[0]), "processor": platform.processor() or platform.machine()},
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "scale": options.scale,
        "tables": json.loads(options.out.read_text())["tables"] if options.out and options.out.exists() else {},
    }
    for name in options.tables:
        table = everything[name]
        report["tables"][name] = {
            "title": table.title,
            "batch": table.batch,
            "image": [*table.image[:-2], *(n // options.scale for n in table.image[-2:])],
            "coils": table.coils,
            "rows": measure(table, options.scale, lambda line: print(line, flush=True)),
        }
    rows = [(name, row) for name, table in report["tables"].items() for row in table["rows"]]
    missed = [f"{name}, {row['strategy']}: {ratio}" for name, row in rows for ratio in row["missed"]]
    print("\n" + ("missed: " + "; ".join(missed) if missed else "all bars are met"))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
