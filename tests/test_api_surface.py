import json

import pytest

from tests.api_surface import COMMAND, FILE, changes, surface


@pytest.fixture(scope="module")
def now():
    return surface()


def test_the_public_api_is_the_recorded_one(now):
    """A removal or changed signature breaks users: say so in CHANGELOG.md."""
    differences = changes(json.loads(FILE.read_text("utf-8")), now)
    assert not any(differences.values()), f"Run `{COMMAND}`: {differences}"


def test_the_surface_has_what_the_readme_uses(now):
    assert now["keras_fer.analyze"] == now["keras_fer.faces.analyze"]
    assert now["keras_fer.analyze"].startswith("(image: ")
    assert "channels: 'str' = 'half'" in now["keras_fer.training.PrivilegedAttribution"]
    assert now["keras_fer.training.PrivilegedAttribution.heatmap_size"] == "property"
    assert "keras_fer.training.PrivilegedAttribution._attribute" not in now
    assert now["keras_fer.LABELS"] == "tuple"


def test_removals_changes_and_additions_are_told_apart():
    before = {"a": "(x)", "b": "(x)", "c": "tuple"}
    assert changes(before, before) == {"removed": [], "changed": [], "added": []}
    assert changes(before, {"b": "(x, y)", "c": "tuple", "d": "(z)"}) == {
        "removed": ["a"],
        "changed": ["b: (x) is now (x, y)"],
        "added": ["d"],
    }
