"""Damaged files by the dozen: what is opened and read of each, how long it takes, and how much memory.

python mutations.py SEED NUMBER FILE ...     prints one line of JSON; what is tried stands on standard error before it is.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

EXTREMES = [0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def mutated(content, rng):
    """What was done to the bytes, and the bytes."""
    out = np.frombuffer(content, np.uint8).copy()
    # headers are small and stand first: half of the places lie there
    reach = min(len(out), 4096) if rng.random() < 0.5 else len(out)
    place = int(rng.integers(reach))
    n = int(2 ** rng.uniform(0, 11))
    kind = str(rng.choice(["bits", "bytes", "zeros", "ones", "noise", "number", "copy", "cut", "grown"]))
    if kind == "bits":
        for where in rng.integers(reach, size=int(rng.integers(1, 9))):
            out[where] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        out[rng.integers(reach, size=int(rng.integers(1, 5)))] = rng.integers(256)
    elif kind in ("zeros", "ones"):
        out[place : place + n] = 255 * (kind == "ones")
    elif kind == "noise":
        out[place : place + n] = rng.integers(256, size=len(out[place : place + n]))
    elif kind == "number":
        place -= place % 4
        number = np.array([rng.choice(np.array(EXTREMES, np.uint64))], "<u8").view(np.uint8)[: rng.choice([2, 4, 8])]
        out[place : place + len(number)] = number[: len(out[place : place + len(number)])]
    elif kind == "copy":
        source = out[(start := int(rng.integers(len(out)))) : start + n].copy()
        out[place : place + len(source)] = source[: len(out[place : place + len(source)])]
    elif kind == "cut":
        out = out[: rng.integers(len(out))]
    else:
        out = np.concatenate([out, rng.integers(256, size=n).astype(np.uint8)])
    return f"{kind} at {place}, {n}", out.tobytes()


def tried(path):
    """How a file is taken: read, refused by one line, or what else was raised."""
    from jaxrecon import data
    from jaxrecon.checks import DataError, MissingPackage

    start = time.perf_counter()
    try:
        if path.stem.endswith("mask"):
            data.read_mask(path)
        else:
            with data.open(path) as scan:
                scan[len(scan) // 2]
        outcome = "read"
    except DataError:
        outcome = "refused"
    except MissingPackage:
        raise
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    return outcome, time.perf_counter() - start


def run(seed, number, files, folder):
    """Outcomes of `number` damaged files, in turn of each file; a BART pair is damaged in either part."""
    rng = np.random.default_rng(seed)
    outcomes, slowest = {"read": 0, "refused": 0}, (0.0, "")
    for i in range(number):
        file = files[i % len(files)]
        pair = [file, file.with_suffix(".hdr")] if file.suffix == ".cfl" else [file]
        damaged = pair[int(rng.integers(len(pair)))]
        for part in pair:
            (folder / part.name).write_bytes(part.read_bytes())
        what, content = mutated(damaged.read_bytes(), rng)
        (folder / damaged.name).write_bytes(content)
        name = f"{i}: {damaged.name}, {what}"
        print(name, file=sys.stderr, flush=True)
        outcome, seconds = tried(folder / file.name)
        slowest = max(slowest, (seconds, name))
        outcomes[outcome if outcome in outcomes else f"{name}: {outcome}"] = outcomes.get(outcome, 0) + 1
    return outcomes, slowest


if __name__ == "__main__":
    import tempfile

    warnings.simplefilter("ignore")
    seed, number, *names = sys.argv[1:]
    files = [Path(name) for name in names]
    for file in files:  # warm: libraries are loaded
        assert tried(file)[0] == "read", file
    with tempfile.TemporaryDirectory() as made:
        outcomes, slowest = run(int(seed), int(number), files, Path(made))
    report = {"outcomes": outcomes, "slowest": slowest}
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process that started this one had
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        report["peak_bytes"] = 1024 * int(peak.split()[1])
    print(json.dumps(report))
