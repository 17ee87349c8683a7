"""The code in docs/guides runs."""

import pathlib
import re

import numpy as np
import pytest

GUIDES = sorted((pathlib.Path(__file__).parents[1] / "docs/guides").glob("*.md"))


@pytest.mark.medium
@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_python_of_a_guide_runs(path, images, capsys):
    given = {"images": images[:8], "classes": np.arange(8) % 2}
    for code in re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
        exec(code, given)
    # Comments say what is printed.
    comments = re.findall(r"^print\(.*\)  # (.*)$", path.read_text("utf-8"), re.M)
    assert comments and {*comments} <= {*capsys.readouterr().out.splitlines()}
    shapes = {name: each.shape for name, each in given["maps"].items()}
    assert shapes["conv_pw_5_relu"] == (8, 12, 12, 256)
