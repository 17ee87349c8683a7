"""Fuzzes the readers of files from outside.

    python -m tests.fuzz --cases 100000 --seed 1 [--target images]

Prints a line per target. A file that breaks a promise is saved in tests/fuzz/findings/,
where a test reads it from then on. Exit status: 1 if there was one, else 0.
"""

import argparse
import faulthandler
import sys
import time

from tests.fuzz.search import save, search
from tests.fuzz.targets import TARGETS


def main(arguments=None):
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", type=int, default=10_000, help="per target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, help="all of them without it")
    options = parser.parse_args(arguments)
    # A crash or a hang in C code leaves a traceback.
    faulthandler.enable(sys.__stderr__)
    status = 0
    for name in [options.target] if options.target else TARGETS:
        start = time.perf_counter()
        found = search(name, options.cases, options.seed)
        seconds = time.perf_counter() - start
        result = "no finding"
        if found:
            content, error = found
            reason = " ".join(str(error).split())[:200]
            result = f"{reason}; saved as {save(name, content)}"
            status = 1
        print(f"{name}: up to {options.cases} cases, {seconds:.0f} s: {result}")
    return status


if __name__ == "__main__":
    sys.exit(main())
