"""`jaxrecon memory`: the table of strategies, the limit, what cannot be."""

import pytest

from jaxrecon.cli import main
from jaxrecon.cli.memory import parse_bytes
from jaxrecon.experiment.memory import check_fits
from jaxrecon.training.memory import Memory, Row

SMALL = [
    "--model.n-steps",
    "4",
    "--model.features",
    "8",
    "--shape",
    "40",
    "32",
    "--n-coils",
    "2",
    "--optimizer",
    "adam",
]

PGD = ["--model", "pgd", *SMALL, "--model.blocks", "1"]


def memory(*words):
    return main(["memory", *words])


def total(text, name):
    """The last number of a strategy's line."""
    line = next(line for line in text.splitlines() if line.startswith(name + " "))
    return float(line.split()[-1])


def test_table_and_limit(capsys):
    gleam = ["--strategy", "gleam", "--strategy.n-modules", "2"]
    assert memory(*PGD, *gleam, "--limit", "1KiB") == 2
    text, error = capsys.readouterr()
    assert total(text, "gleam, 4 modules") < total(text, "gleam, 2 modules") < total(text, "end_to_end, Python loop")
    assert "cannot be: invertible needs" in text and "1 of 40 x 32, 2 coils" in text
    assert error.count("\n") == 1 and "gleam, 2 modules needs" in error and "no strategy fits" in error


def test_shared_weights_have_a_strategy_of_their_own(capsys):
    gleam = [*PGD, "--strategy", "gleam_shared"]
    assert memory(*gleam, "--model.shared", "--strategy.n-modules", "2") == 0
    text = capsys.readouterr().out
    assert total(text, "gleam_shared, 4 modules") < total(text, "gleam_shared, 2 modules") < total(text, "end_to_end")
    assert "gleam, 4 modules" in text and "separate weights" in text
    assert memory(*gleam) == 2
    text, error = capsys.readouterr()
    assert error.count("\n") == 1 and "gleam_shared needs a model with shared weights" in error
    assert memory(*gleam, "--model.shared", "--strategy.n-modules", "3") == 2
    assert "3 modules do not divide" in capsys.readouterr().err


def test_frames(capsys):
    cine = ["--model", "pgd-cine", "--model.features", "4", "--model.blocks", "1", "--model.n-steps", "1"]
    assert memory(*cine, *SMALL[4:], "--frames", "5") == 0
    assert "1 of 5 frames of 40 x 32, 2 coils" in capsys.readouterr().out


def test_batch_norm_with_its_moving_averages(capsys):
    small = ["--model", "modl", "--model.n-steps", "2", *SMALL[2:], "--model.layers", "2", "--batch-size", "2"]
    assert memory(*small) == 0
    text = capsys.readouterr().out
    rows = text.split("total MiB\n")[1].splitlines()
    trained = [row.split("  ")[0] for row in rows if "cannot be" not in row]
    assert trained == ["end_to_end, Python loop", "end_to_end", "checkpointed"]
    refused = [row for row in rows if "cannot be" in row]
    assert any(row.startswith("gleam, ") for row in refused)
    assert all("batch norm" in row or "inverse" in row for row in refused)
    assert memory(*small, "--strategy", "gleam_shared") == 2
    assert "batch norm" in capsys.readouterr().err
    assert memory(*small, "--model.no-shared", "--strategy", "gleam") == 2
    assert "batch norm" in capsys.readouterr().err


def test_what_fits():
    rows = [Row("whole", Memory(5 * 2**20, 0, 0)), Row("not", None, "because"), Row("parts", Memory(2**20, 0, 0))]
    check_fits(rows, "whole", None)
    check_fits(rows, "whole", 5 * 2**20)
    with pytest.raises(ValueError, match=r"whole needs 5 MiB, .* limit of 4 MiB; these fit: parts \(1 MiB\)"):
        check_fits(rows, "whole", 4 * 2**20)
    with pytest.raises(ValueError, match="not cannot train this network: because"):
        check_fits(rows, "not", None)


def test_refused(capsys):
    assert memory("--model", "pgd", *SMALL, "--limit", "much") == 2
    assert "12GiB" in capsys.readouterr().err
    assert memory("--model", "pgd", *SMALL, "--n-coils", "0") == 2
    assert "n_coils must be 1 or more" in capsys.readouterr().err
    assert memory("--model", "pgd", *SMALL, "--mask", "sparkling") == 2
    assert "'sparkling'" in capsys.readouterr().err
    assert memory("--shape", "40", "32") == 2
    assert "--model" in capsys.readouterr().err


def test_parse_bytes():
    assert parse_bytes("12GiB") == 12 * 2**30 and parse_bytes("1.5 MB") == 1_500_000 and parse_bytes("64") == 64
    for text in ("", "GiB", "12 apples", "-3GiB"):
        with pytest.raises(ValueError, match="expected bytes"):
            parse_bytes(text)
