"""No module takes a private name of another one."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("keras_fer", "tfds_builders", "zoo", "benchmarks", "tests")
FILES = sorted(file for name in PACKAGES[:4] for file in (ROOT / name).rglob("*.py"))


def private(name):
    return name.startswith("_") and not name.startswith("__")


def taken(tree):
    """Private names that a module imports, or reads from a module it imports."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    modules.add(alias.asname or alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level or (node.module or "").split(".")[0] in PACKAGES:
                for alias in node.names:
                    # A private module, such as _compat, belongs to its package.
                    if private(alias.name) and alias.name not in MODULES:
                        yield f"{node.module}.{alias.name}"
                    modules.add(alias.asname or alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            if ast.unparse(node.value) in modules and node.attr not in MODULES:
                yield ast.unparse(node)


MODULES = {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_private_names(file):
    assert list(taken(ast.parse(file.read_text("utf-8")))) == []
