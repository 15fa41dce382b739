"""What the experiments' report.py share: reading the results of run.py, and values over seeds.

A report.py stands in the folder of its experiment and puts this file's folder on sys.path.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from jaxrecon.experiment.old_forms import renewed

Run = dict[str, Any]
Results = dict[str, list[Run]]


def results_folder(doc: str | None, default: Path) -> Path:
    """The folder that --results names."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=default)
    folder: Path = parser.parse_args().results
    return folder


def read(folder: Path) -> Results:
    """Row -> its runs, one for each seed.

    Raises:
      SystemExit: there are none, or small and published settings are mixed.
    """
    results: Results = {}
    for path in sorted(folder.glob("*_seed*.json")):
        run = json.loads(path.read_text())
        run["config"] = renewed(run["config"])
        results.setdefault(run["row"], []).append(run)
    if not results:
        raise SystemExit(f"{folder} holds no result of run.py")
    if len({run["small"] for runs in results.values() for run in runs}) > 1:
        raise SystemExit(f"{folder} holds runs with --small and without: keep them in two folders")
    return results


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds."""
    std = f" +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{std}" if values else "not run"
