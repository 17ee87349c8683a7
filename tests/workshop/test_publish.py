import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_fer
from keras_fer.cli.predict import sample_portrait
from keras_fer.hub import release
from keras_fer.zoo.presets import PRESETS
from tests.hub_server import HubServer
from zoo import publish
from zoo.shelf import ROOT, Shelf

# The client reads where the Hub is when it is imported, so it has a process of its own;
# one for all tests, as TensorFlow takes seconds to start.
WORKER = """
import contextlib, dataclasses, io, json, os, pathlib, sys
from zoo import publish

for line in sys.stdin:
    job = json.loads(line)
    os.environ["HF_TOKEN"] = job["token"]
    folder = pathlib.Path(job["presets"])
    publish.SHELF = dataclasses.replace(publish.SHELF, presets=folder)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = publish.main(job["arguments"])
        except SystemExit as stop:
            status = stop.code
    print(json.dumps([status, out.getvalue(), errors.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def site(server):
    """The Hub, as on its first day."""
    server.repos.clear()
    server.blobs.clear()
    server.clear_faults()
    server.clear_requests()
    return server


@pytest.fixture(scope="module")
def worker(server, tmp_path_factory):
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=server.environment(tmp_path_factory.mktemp("home")),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture
def copy(tmp_path):
    """A shelf with a copy of the presets' files, to be changed."""
    folder = shutil.copytree(Shelf().presets, tmp_path / "presets")
    return Shelf(presets=pathlib.Path(folder))


@pytest.fixture
def run(worker, copy):
    """Exit status, standard output and standard error of a command line."""

    def run(*arguments, token=HubServer.WRITE_TOKEN):
        job = {
            "arguments": [str(argument) for argument in arguments],
            "token": token,
            "presets": str(copy.presets),
        }
        print(json.dumps(job), file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())

    return run


def commit_path(commit):
    return f"me/some-repo/commit/{commit.sha}"


def content(server, repo_id, revision="main"):
    files = server.repos[repo_id].at(revision).files
    return {path: server.blobs[file.etag] for path, file in files.items()}


@pytest.mark.slow
def test_a_dry_run_of_all_writes_what_loads(site, run, tmp_path, images):
    status, out, errors = run("--all", "--repo-id", "me/", "--dry-run", tmp_path)
    assert (status, errors) == (0, "")
    # It asked the Hub about the cards, and left nothing there.
    asked = [path for method, path, *_ in site.requests if method == "POST"]
    assert asked == ["/api/validate-yaml"] * len(PRESETS) and not site.repos
    for name in PRESETS:
        repo_id, folder = f"me/{name.replace('.', '-')}", tmp_path / name
        assert f"{name}: written to {folder}" in out
        assert f"{repo_id}: nothing there yet" in out
        assert {path.name for path in folder.iterdir()} == set(release.FILES)
        manifest = json.loads((folder / "keras_fer.json").read_text())
        assert manifest["results"] == Shelf().evaluations(name)[None]
        assert manifest["score"] == keras_fer.zoo.info(name).score
        assert manifest["files"] == {
            file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
            for file in release.FILES
            if file != "keras_fer.json"
        }
        assert f'"hf://{repo_id}"' in (folder / "README.md").read_text()
        loaded, expected = keras.saving.load_model(folder), keras_fer.zoo.load(name)
        assert loaded.labels == expected.labels
        np.testing.assert_array_equal(
            *(model.predict(images, verbose=0) for model in (loaded, expected))
        )


@pytest.mark.medium
def test_a_push_is_one_commit_that_is_read_back_and_pinned(site, run, copy, tmp_path):
    arguments = ("patt_lite", "--repo-id", "me/some-repo", "--pin")
    status, out, errors = run(*arguments)
    assert (status, errors) == (0, "")
    repo = site.repos["me/some-repo"]
    before, commit = repo.commits  # the Hub makes the first one
    assert [path for path in before.files if path in release.FILES] == []
    assert set(release.FILES) <= set(commit.files) and commit.sha in repo.tags.values()
    assert out == f"patt_lite.ferplus: {site.endpoint}/{commit_path(commit)}\n"
    read = [(method, path) for method, path, *_ in site.requests]
    for file in release.FILES:
        assert ("GET", f"/me/some-repo/resolve/{commit.sha}/{file}") in read
    preset = keras_fer.zoo.info("patt_lite")
    weights = content(site, "me/some-repo")["model.weights.h5"]
    assert hashlib.sha256(weights).hexdigest() == preset.sha256
    now = copy.read(preset.name)
    assert (now["repo"], now["revision"]) == ("me/some-repo", commit.sha)

    # Once more: no new commit, the same pin.
    assert run(*arguments) == [0, out, ""]
    assert len(repo.commits) == 2 and copy.read(preset.name) == now

    # What is there is compared, file by file.
    dry = ("patt_lite", "--repo-id", "me/some-repo", "--dry-run", tmp_path / "dry")
    status, out, _ = run(*dry)
    assert status == 0 and commit.sha in out
    assert [line for line in out.splitlines() if line.endswith(": the same")] == [
        f"  {name}: the same" for name in sorted(release.FILES)
    ]
    files = content(site, "me/some-repo")
    files["README.md"] = files["README.md"].replace(b"## Labels", b"## Names")
    files["config.json"] = files["config.json"].replace(b"bottleneck", b"neck")
    files["model.weights.h5"] += b"!"
    files["old.bin"] = b"old"
    site.add_repo("me/some-repo", files)
    status, out, _ = run(*dry)
    assert status == 0
    assert "\n-## Names\n+## Labels\n" in out
    assert re.search(r'\n- +"name": "neck",?\n\+ +"name": "bottleneck",?\n', out)
    damaged = hashlib.sha256(files["model.weights.h5"]).hexdigest()
    assert f"  model.weights.h5: {damaged} -> {preset.sha256}\n" in out
    assert "  old.bin: not ours" in out and "keras_fer.json: the same" in out


@pytest.mark.medium
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("*/commit/main", "POST"),
        # The client tries again for half a minute.
        pytest.param("lfs/*", "PUT", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_push_is_finished_by_the_next(site, run, copy, path, method):
    arguments = ("patt_lite", "--repo-id", "me/some-repo", "--pin")
    site.fault("error", path, method=method, status=500)
    status, out, errors = run(*arguments)
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("zoo.publish: ")
    # Nothing half is there, and nothing is pinned.
    assert not set(release.FILES) & set(content(site, "me/some-repo"))
    assert copy.read("patt_lite.ferplus") == Shelf().read("patt_lite.ferplus")
    site.clear_faults()
    # All is there when reading it back fails; the next run finds it.
    site.fault("flip", "model.weights.h5", at=1000)
    status, out, errors = run(*arguments)
    assert (status, out, errors.count("\n")) == (1, "", 1)
    commits = len(site.repos["me/some-repo"].commits)
    site.clear_faults()
    status, out, errors = run(*arguments)
    assert (status, errors) == (0, "")
    repo = site.repos["me/some-repo"]
    assert len(repo.commits) == commits and repo.head in repo.tags.values()
    assert copy.read("patt_lite.ferplus")["revision"] == repo.head


@pytest.mark.medium
def test_what_goes_wrong_is_one_line(site, run, tmp_path):
    arguments = ("patt_lite", "--repo-id", "me/some-repo")
    cases = [
        ({"token": ""}, "token"),
        ({"token": HubServer.READ_TOKEN}, "right to write"),
    ]
    for options, message in cases:
        status, out, errors = run(*arguments, **options)
        assert (status, out, errors.count("\n")) == (1, "", 1) and message in errors
        assert not site.repos
    site.fault("error", "/api/validate-yaml", status=400)
    status, out, errors = run(*arguments)
    assert (status, out, errors.count("\n")) == (1, "", 1) and not site.repos
    assert "The Hub refuses the card of patt_lite.ferplus" in errors
    site.clear_faults()
    site.fault("error", "/api/validate-yaml", status=503)
    status, out, errors = run(*arguments, "--dry-run", tmp_path / "dry")
    assert (status, errors.count("\n")) == (1, 1)
    assert "does not answer as expected" in errors and site.endpoint in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repo-id", "me/x"], "Pass either a preset"),
        (["patt_lite", "--all", "--repo-id", "me/"], "Pass either a preset"),
        (["hf://me/x", "--repo-id", "me/x"], "Pass either a preset"),
        (["patt_lite"], "--repo-id"),
        (["patt_lite", "--repo-id", "x"], "must be USER/REPO"),
        (["patt_lite", "--repo-id", "me/a b"], "--repo-id me/a b"),
        (["--all", "--repo-id", "me/x"], "With --all, --repo-id must be USER/"),
        (["pattlite", "--repo-id", "me/x"], "Did you mean patt_lite"),
        (["patt_lite", "--repo-id", "me/x", "--pin", "--dry-run", "d"], "not allowed"),
    ],
)
def test_bad_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        publish.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_preset_that_was_not_measured_is_not_published(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "SHELF", Shelf(results=tmp_path))
    assert publish.main(["patt_lite", "--repo-id", "me/some-repo"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("zoo.publish: A result of patt_lite.ferplus is missing")
    assert error.count("\n") == 1


@pytest.mark.medium
def test_other_weights_than_were_measured_are_not_published(tmp_path):
    prepared = publish.prepare("patt_lite", "me/some-repo")
    publish.write(prepared, tmp_path / "as_bundled")
    variable = prepared["model"].trainable_variables[-1]
    variable.assign(variable + 1e-3)
    with pytest.raises(
        ValueError, match="not that of patt_lite.ferplus: its sha256 is"
    ):
        publish.write(prepared, tmp_path / "changed")


@pytest.mark.slow
def test_the_code_of_the_card_runs(site, run, tmp_path, images):
    status, out, _ = run("patt_lite", "--repo-id", "me/some-repo")
    assert status == 0
    card = content(site, "me/some-repo")["README.md"].decode()
    np.save(tmp_path / "images.npy", images)
    first, second = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    photo = sample_portrait()
    shutil.copy(photo, tmp_path / "photo.jpg")
    script = f"import numpy as np\nimages = np.load('images.npy')\n{first}{second}"
    script += "print((model.predict(images) == probabilities).all())"
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=site.environment(tmp_path / "home"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "True"
