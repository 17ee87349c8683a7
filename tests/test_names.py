"""One name per concept: no file but CHANGELOG.md uses a name that was given up."""

import fnmatch
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# Patterns of whole words, in any case, and what to write instead. An underscore or a
# digit ends a word: `trunk_weights` and `Trunk2` are uses of `trunk`.
NAMES = {
    r"pictures?": "image",
    r"pictureerror": "ImageError",
    r"trunks?": "backbone",
    r"slots?": "insertion points",
    r"batch[ _-]mates?": "samples of the batch",
    r"(iram|llam)_light": 'iram and llam with backbone="mobilenet_v1"',
    r"keepers?": "BestCheckpoint, ResumeState",
    r"movetogether": "JointAugmentation",
    r"put_back": "paste_heatmap",
    r"(zoo[./]subject|class subject)": "EvaluationTarget",
    r"derived\.py": "tfds_builders/corruptions/",
    r"derivations?": "corruption",
    r"made harder": "masked, occluded, corrupted",
    r"carv(e|ed|es|ing)": "held out",
    r"where (the|a) model looks": "saliency map",
    r"our reading": "our interpretation",
    r"at rest": "frozen",
    r"the hub does not know you": "authentication failed",
    r"(is|was|be|or) out of order": "Hub server error",
    r"two revisions": "conflicting revisions",
    r"must not be used for": "out-of-scope use",
    r"(grey|greys|greyscale)": "gray, grayscale",
    r"colour(s|ed|ing|ful)?": "color",
    r"licences?": "license",
    r"normalis(e|es|ed|ing|ation|er)s?": "normalize, normalization",
    r"anew": "again",
    r"received:\s": "a sentence: x must be …, got …",
    r"begun": "started",
    r"thrice": "three times",
}

# Files (as in `git ls-files`), pattern, and why the word is right there.
ALLOWED = [
    ("CHANGELOG.md", "*", "names the old names, to say what became of them"),
    ("tests/test_names.py", "*", "this list"),
    ("zoo/results/*/run.json", r"pictures?", "quotes a recipe's source as it was run"),
]


def files():
    """Names and contents of the text files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git working copy")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        # A file that was deleted but not committed is listed too.
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield name, content.decode("utf-8", "replace")


def allowed(name, pattern):
    return any(
        fnmatch.fnmatch(name, each) and only in ("*", pattern)
        for each, only, _ in ALLOWED
    )


def uses(pattern, text):
    """Numbers, from 0, and lines that use a name."""
    word = re.compile(rf"(?<![a-z]){pattern}(?![a-z])", re.IGNORECASE)
    return [
        (number, line.strip()[:80])
        for number, line in enumerate(text.splitlines())
        if word.search(line)
    ]


@pytest.fixture(scope="module")
def texts():
    return dict(files())


@pytest.mark.parametrize("pattern", NAMES)
def test_old_names_are_gone(texts, pattern):
    found = [
        f"{name}:{number}: {line}"
        for name, text in texts.items()
        if not allowed(name, pattern)
        # A file's name counts as its line 0.
        for number, line in uses(pattern, f"{name}\n{text}")
    ]
    assert not found, f"write {NAMES[pattern]} instead:\n" + "\n".join(found)


def test_names_are_found_in_all_their_spellings():
    for line in (
        "trunk",
        "a Trunk.",
        "trunk_weights=",
        "_trunk",
        "trunks.py",
        "trunk2",
    ):
        assert uses(r"trunks?", line), line
    assert not uses(r"trunks?", "truncated trunkless")
    assert uses(r"normalis(e|es|ed|ing|ation|er)s?", "Normalisation")


def test_every_allowance_is_needed(texts):
    for name, only, reason in ALLOWED:
        patterns = NAMES if only == "*" else [only]
        matching = [text for each, text in texts.items() if fnmatch.fnmatch(each, name)]
        assert any(uses(each, text) for each in patterns for text in matching)
        assert reason
