"""The parts of the package stand on each other in one direction."""

import ast
import pathlib

import pytest

import keras_fer

ROOT = pathlib.Path(keras_fer.__file__).parent
FLOORS = (
    {"console", "files", "labels"},
    {"layers"},
    {"models"},
    {"saliency", "training"},
    {"hub", "runtime", "zoo"},  # presets are exported, and run outside Keras
    {"audit", "datasets", "faces"},
    {"bulk", "labeled", "video"},
    {"evaluation"},
    {"finetuning"},
    {"cli"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT] + [
    ROOT / f"{name}.py" for name in ("bulk", "datasets", "labeled", *sorted(FLOORS[0]))
]


def imported(path):
    """Parts of the package that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            package, _, rest = module.partition(".")
            name = rest.partition(".")[0]
            if package == "keras_fer" and name in FLOOR:
                yield name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_from_a_floor_above(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert part in FLOOR, f"put {part} on a floor"
    above = {name for name in imported(path) if FLOOR[name] > FLOOR[part]}
    assert not above
