"""Writing a benchmark's result: spread, environment, schema."""

import json
import os
import pathlib
import statistics

import jsonschema

from zoo.environment import environment

RESULTS = pathlib.Path(__file__).with_name("results")
SCHEMA = json.loads(pathlib.Path(__file__).with_name("results.schema.json").read_text())


def spread(values, digits):
    """Median, minimum and maximum of the rounds."""
    parts = (statistics.median(values), min(values), max(values))
    return dict(
        zip(("median", "min", "max"), (round(p, digits) for p in parts), strict=True)
    )


def check(result):
    """Checks a result.

    Args:
        result: As in `benchmarks/results/NAME.json`.

    Raises:
        jsonschema.ValidationError: It does not follow `results.schema.json`.
    """
    jsonschema.validate(result, SCHEMA)


def write(path, benchmark, result):
    """Writes a result with the load and the environment of this machine.

    Args:
        path: A JSON file.
        benchmark: Name of the module that measured it.
        result: Its own keys; see `results.schema.json`.
    """
    result = {
        "benchmark": benchmark,
        **result,
        "load_average": round(os.getloadavg()[0], 1),
        "environment": environment(),
    }
    check(result)
    path.write_text(json.dumps(result, indent=1) + "\n")
