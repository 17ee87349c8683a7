"""The real client against a Hub on the loopback interface; nothing of it is mocked."""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest

import keras_fer
from keras_fer import models, zoo
from keras_fer._compat import saved_shapes
from keras_fer.hub import Release, checks, client, release
from keras_fer.hub.build import build_release
from keras_fer.zoo import loading
from tests.hub_server import HubServer

WEIGHTS = release.WEIGHTS
CARD = "---\nlibrary_name: keras\n---\n\n# Test\n"


class Worker:
    """A process that has imported the client; see `hub_worker.py`."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("hub_worker.py")],
            cwd=pathlib.Path(__file__).parents[2],
            env={"PYTHONPATH": ".", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, what, *arguments, **options):
        print(
            json.dumps([what, arguments, options]), file=self.process.stdin, flush=True
        )

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def __call__(self, what, *arguments, **options):
        """The result; fails the test where there is none."""
        self.start(what, *arguments, **options)
        answer = self.answer()
        assert "error" not in answer, answer
        return answer["result"]

    def fails(self, what, *arguments, **options):
        """The error's message, once its kind is checked, and the seconds it took."""
        kind = options.pop("kind", "ValueError")
        self.start(what, *arguments, **options)
        answer = self.answer()
        assert kind in answer.get("kinds", ()), answer
        return answer["error"], answer["seconds"]

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="module")
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(server):
    """The server, without faults or past requests."""
    server.clear_faults()
    server.clear_requests()
    return server


@contextlib.contextmanager
def working(server, home, **variables):
    """A worker with a home of its own."""
    environment = server.environment(home) | {
        "KERAS_FER_HUB_PATIENCE": "3",
        "KERAS_BACKEND": keras.backend.backend(),
        **variables,
    }
    worker = Worker(environment)
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def shared_worker(server, tmp_path_factory):
    """It lets Keras run what a file says, so that what must not run would."""
    with working(server, tmp_path_factory.mktemp("home")) as worker:
        worker("trust")
        yield worker


@pytest.fixture
def worker(shared_worker):
    """A worker with an empty cache."""
    shared_worker("forget")
    return shared_worker


@pytest.fixture(scope="module")
def trained():
    return zoo.load("patt_lite")


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    """The files of a repository."""
    folder = tmp_path_factory.mktemp("release")
    release.write(trained, folder, {}, CARD)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def sha256(files):
    return hashlib.sha256(files[WEIGHTS]).hexdigest()


@pytest.fixture(scope="module")
def repo(server, files):
    server.add_repo("user/repo", files)
    return "user/repo"


@pytest.fixture(scope="module")
def images_file(images, tmp_path_factory):
    """Path of a file with images."""
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, images)
    return str(path)


def sent(hub, path=WEIGHTS):
    """Bytes of a file that the server has sent."""
    return sum(size for *_, name, _, size in hub.requests if name.endswith(path))


def said(files, /, **changes):
    """A repository whose `keras_fer.json` says something else."""
    manifest = json.loads(files["keras_fer.json"]) | changes
    return files | {"keras_fer.json": json.dumps(manifest).encode()}


def sealed(files):
    """A repository whose `keras_fer.json` tells the hashes of its files."""
    manifest = json.loads(files["keras_fer.json"])
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256(files[name]).hexdigest()
    return files | {"keras_fer.json": json.dumps(manifest).encode()}


def small():
    """A model that is built in a moment."""
    return models.PAttLite(labels=["a", "b"], input_size=48)


class TestWrite:
    @pytest.mark.medium
    def test_is_the_same_each_time(self, trained, files, tmp_path):
        # Another process would number layers otherwise; so does a second model.
        release.write(zoo.load("patt_lite"), tmp_path, {}, CARD)
        again = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert again == files

    def test_has_the_weights_of_the_package(self, sha256):
        """So one hash in a preset pins both."""
        assert sha256 == zoo.info("patt_lite").sha256

    def test_says_what_it_holds(self, trained, files):
        manifest = json.loads(files["keras_fer.json"])
        assert set(files) == set(release.FILES)
        assert manifest["labels"] == list(trained.labels)
        assert manifest["temperature"] == zoo.info("patt_lite").temperature
        assert manifest["parameters"] == trained.count_params()
        assert manifest["keras_fer"] == keras_fer.__version__
        assert manifest["architecture"] == "PAttLite"
        preset = zoo.info("patt_lite").arguments
        assert manifest["arguments"] == {**manifest["arguments"], **preset}
        assert "96x96" in manifest["input"]
        for name, digest in manifest["files"].items():
            assert hashlib.sha256(files[name]).hexdigest() == digest
        assert set(manifest["files"]) == set(files) - {"keras_fer.json"}

    def test_leaves_training_out(self, files, tmp_path):
        assert not json.loads(files["config.json"]).get("compile_config")
        (tmp_path / "weights.h5").write_bytes(files[WEIGHTS])
        with h5py.File(tmp_path / "weights.h5") as file:
            assert set(file) == {"layers", "vars"}

    @pytest.mark.medium
    @pytest.mark.parametrize(
        "build",
        [
            pytest.param(
                lambda: models.ScanCCI(
                    7, backbone="mobilenet_v1", shared=True, backbone_weights=None
                ),
                marks=pytest.mark.slow,
                id="ScanCCI",
            ),
            pytest.param(
                lambda: models.AttentionNetwork(
                    3, input_size=48, backbone="mobilenet_v1", backbone_weights=None
                ),
                id="AttentionNetwork",
            ),
        ],
    )
    def test_keeps_values_that_half_precision_does_not_hold(
        self, build, tmp_path, images
    ):
        model = build()
        manifest = release.write(model, tmp_path, {}, CARD)
        built = build_release(Release("a/b", "c", tmp_path, manifest))
        np.testing.assert_array_equal(
            built.predict(images[:4], verbose=0),
            model.predict(images[:4], verbose=0),
        )
        by_keras = keras.saving.load_model(tmp_path)
        np.testing.assert_array_equal(
            by_keras.predict(images[:4], verbose=0),
            model.predict(images[:4], verbose=0),
        )

    def test_refuses_other_models(self, tmp_path):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        with pytest.raises(ValueError, match="must be a built `Exp.*, got Sequential"):
            release.write(model, tmp_path, {}, CARD)

    @pytest.mark.medium
    def test_refuses_what_no_function_builds(self, trained):
        model = small()
        x = model.get_layer("pool").output
        x = keras.layers.Dense(5, name="mine")(x)
        by_hand = type(model)(model.input, models.classifier.classify(x, ["a", "b"]))
        changed = type(trained).from_config(trained.get_config())
        changed.set_weights(trained.get_weights())
        changed.get_layer("bottleneck").activation = keras.activations.tanh
        config = changed.get_config()
        config["built_by"] = ["PAttLite", {"input_size": 48, "attention": "none"}]
        other = type(changed).from_config(config)
        assert changed.architecture == other.architecture == "PAttLite"
        for refused, reason in (
            (by_hand, "was not built by a function of keras_fer.models"),
            (changed, "is not what PAttLite builds with"),
            (other, "is not what PAttLite builds with"),
        ):
            with pytest.raises(ValueError, match=f"{reason}.*model.save.*upload_file"):
                zoo.push(refused, "user/repo", token="hf_x")

    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_refuses_weights_that_are_not_finite(self, tmp_path, value):
        model = small()
        model.get_layer("bottleneck").bias.assign(np.full(32, value))
        with pytest.raises(ValueError, match="has NaN or infinity in layers/dense"):
            release.write(model, tmp_path, {}, CARD)

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"labels": ["a", "b"]}, "facts may have name, .* got labels"),
            ({"paper": 5}, "paper is no printable text"),
            ({"data": "x\x1b[2J"}, "data is no printable text"),
            ({"score": {"accuracy": "high"}}, "score must be names of numbers"),
        ],
    )
    def test_refuses_facts_that_could_not_be_read(self, tmp_path, facts, message):
        with pytest.raises(ValueError, match=message):
            release.write(small(), tmp_path, facts, CARD)


@pytest.mark.medium
class TestRoundTrip:
    @pytest.fixture(scope="class")
    def pushed(self, server, images_file, tmp_path_factory):
        """A model pushed after a training step, by a process that is gone."""
        home = tmp_path_factory.mktemp("pushing")
        with working(server, home) as worker:
            refusals = [
                worker.fails(
                    "push", images_file, "user/pushed", kind="PermissionError"
                ),
                worker.fails(
                    "push",
                    images_file,
                    "user/pushed",
                    token=server.READ_TOKEN,
                    kind="PermissionError",
                ),
            ]
            assert "user/pushed" not in server.repos
            write = {"token": server.WRITE_TOKEN, "steps": 1}
            twice = [
                worker("push", images_file, "user/pushed", **write) for _ in range(2)
            ]
            return twice[0] | {
                "urls": [each["url"] for each in twice],
                "refusals": [message for message, _ in refusals],
            }

    def test_needs_the_right_to_write(self, pushed):
        without, reading = pushed["refusals"]
        assert "There is no token: " in without and "hf auth login" in without
        assert "The Hub refuses access (403) to" in reading
        assert "the right to write" in reading and "hf_read" not in reading

    def test_is_one_commit_with_a_tag(self, server, pushed):
        repo = server.repos["user/pushed"]
        assert [commit.title for commit in repo.commits[1:]] == ["v0.1.0"]
        assert repo.tags == {"v0.1.0": repo.head}
        url = f"{server.endpoint}/user/pushed/commit/{repo.head}"
        assert pushed["urls"] == [url, url]
        assert set(repo.commits[-1].files) == {*release.FILES, ".gitattributes"}

    @pytest.mark.parametrize("name", ["hf://user/pushed", "hf://user/pushed@v0.1.0"])
    def test_comes_back_in_a_new_process(self, pushed, worker, images_file, name):
        loaded = worker("load", images_file, name)
        assert loaded["labels"] == ["a", "b", "c"]
        np.testing.assert_array_equal(loaded["predictions"], pushed["predictions"])

    def test_comes_back_through_keras(self, pushed, worker, images_file):
        loaded = worker("load_with_keras", images_file, "hf://user/pushed")
        np.testing.assert_array_equal(loaded["predictions"], pushed["predictions"])

    @pytest.mark.slow
    def test_comes_back_on_the_other_backend(
        self, server, pushed, images_file, tmp_path
    ):
        backend = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
        with working(server, tmp_path / "home", KERAS_BACKEND=backend) as other:
            loaded = [
                other("load", images_file, "hf://user/pushed"),
                other("load_with_keras", images_file, "hf://user/pushed"),
            ]
            assert backend in other("modules")
        for each in loaded:
            np.testing.assert_allclose(
                each["predictions"], pushed["predictions"], atol=1e-5
            )

    @pytest.mark.slow
    def test_starts_on_the_other_backend_too(
        self, server, worker, images_file, tmp_path
    ):
        backend = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
        variables = {"KERAS_BACKEND": backend, "HF_TOKEN": server.WRITE_TOKEN}
        with working(server, tmp_path / "home", **variables) as other:
            pushed = other("push", images_file, "user/other", steps=1)
            other("forget")
        with working(server, tmp_path / "home", KERAS_BACKEND=backend) as other:
            same = other("load", images_file, "hf://user/other")
        np.testing.assert_array_equal(same["predictions"], pushed["predictions"])
        loaded = worker("load", images_file, "hf://user/other")
        np.testing.assert_allclose(
            loaded["predictions"], pushed["predictions"], atol=1e-5
        )


@pytest.mark.medium
class TestPush:
    @pytest.fixture(autouse=True)
    def token(self, hub):
        self.hub = hub
        self.token = hub.WRITE_TOKEN

    def push(self, worker, images_file, name, **options):
        return worker("push", images_file, name, token=self.token, **options)["url"]

    @pytest.mark.medium
    def test_interruptions_leave_nothing_half_done(self, worker, images_file):
        name = "user/interrupted"
        # The client tries again for half a minute where storage answers with a 500.
        for path, status in (("/lfs/*", 400), ("*/commit/main", 500), ("*/tag/*", 500)):
            self.hub.fault("error", path=path, status=status)
            error, _ = worker.fails(
                "push", images_file, name, token=self.token, kind="OSError"
            )
            assert f"Hub server error ({status})" in error
            repo = self.hub.repos[name]
            # Nothing of it, or all of it.
            assert set(repo.commits[-1].files) in (
                {".gitattributes"},
                {*release.FILES, ".gitattributes"},
            )
            assert not repo.tags
            self.hub.clear_faults()
        self.push(worker, images_file, name)
        assert len(repo.commits) == 2 and repo.tags == {"v0.1.0": repo.head}

    @pytest.mark.medium
    def test_a_lost_connection_is_told(self, worker, images_file):
        self.hub.fault("drop", path="/api/repos/create", method="POST", after=None)
        error, _ = worker.fails(
            "push", images_file, "user/lost", token=self.token, kind="ConnectionError"
        )
        assert "The Hub cannot be reached for 'user/lost'" in error
        assert "user/lost" not in self.hub.repos

    @pytest.mark.medium
    def test_tags_stay_where_they_are(self, worker, images_file):
        name = "user/tagged"
        first = self.push(worker, images_file, name)
        error, _ = worker.fails("push", images_file, name, token=self.token, bias=1.0)
        assert "The tag 'v0.1.0' is taken" in error
        repo = self.hub.repos[name]
        assert len(repo.commits) == 2
        second = self.push(worker, images_file, name, bias=1.0, tag="v2")
        assert second != first and set(repo.tags) == {"v0.1.0", "v2"}
        assert repo.tags["v2"] == repo.head != repo.tags["v0.1.0"]
        # The first content again, under its own tag.
        assert self.push(worker, images_file, name) != first
        assert len(repo.commits) == 4

    def test_other_files_stay(self, hub, worker, images_file):
        others = {
            name: b"mine"
            for name in ("train.py", "data/faces.csv", "old.pkl", "LICENSE", "a.png")
        }
        hub.add_repo("user/mixed", others)
        self.push(worker, images_file, "user/mixed")
        repo = hub.repos["user/mixed"]
        assert len(repo.commits) == 2
        kept = {name: hub.blobs[f.etag] for name, f in repo.commits[-1].files.items()}
        assert others.items() <= kept.items()
        assert set(kept) == {*release.FILES, *others}
        worker("fetch", "user/mixed")

    def test_what_does_not_come_back_is_an_error(self, hub, worker, images_file):
        hub.fault("flip", path=WEIGHTS)
        error, _ = worker.fails("push", images_file, "user/flipped", token=self.token)
        assert "is damaged" in error
        assert not hub.repos["user/flipped"].tags

    def test_private_repositories_and_own_cards(self, hub, worker, images_file):
        card = "---\nlibrary_name: keras\n---\n\n# Mine\n"
        self.push(worker, images_file, "user/mine", private=True, card=card)
        repo = hub.repos["user/mine"]
        assert repo.private
        assert hub.blobs[repo.commits[-1].files["README.md"].etag] == card.encode()
        bad = "---\n: [\n---\n"
        worker.fails("push", images_file, "user/bad", card=bad, token=self.token)
        assert len(hub.repos["user/bad"].commits) == 1


class TestLoad:
    def test_by_address(self, hub, repo, worker, images_file, trained, images):
        loaded = worker("load", images_file, f"hf://{repo}")
        np.testing.assert_allclose(
            loaded["predictions"], trained.predict(images, verbose=0), atol=1e-6
        )
        assert sent(hub, "README.md") == 0  # the card is not needed

    @pytest.mark.medium
    def test_as_weights_of_a_preset(
        self, hub, repo, worker, images_file, trained, images
    ):
        loaded = worker(
            "load", images_file, "patt_lite", f"hf://{repo}", revision="main"
        )
        np.testing.assert_allclose(
            loaded["predictions"], trained.predict(images, verbose=0), atol=1e-6
        )

    @pytest.mark.medium
    def test_with_a_new_head(self, hub, repo, worker, images_file):
        assert worker("load", images_file, f"hf://{repo}", num_classes=8)[
            "labels"
        ] == list(keras_fer.LABELS)
        loaded = worker("load", images_file, f"hf://{repo}", labels=["x", "y"])
        assert loaded["labels"] == ["x", "y"]

    def test_info_tells_the_commit(self, hub, repo, worker, sha256):
        said = worker("info", f"hf://{repo}")
        assert said["revision"] == hub.repos[repo].head
        assert said["repo"] == repo and said["sha256"] == sha256
        assert said["labels"] == list(keras_fer.LABELS)
        assert said["architecture"] == "PAttLite"
        assert sent(hub, WEIGHTS) == 0

    def test_a_commit_in_the_cache_needs_no_request(self, hub, repo, worker, sha256):
        commit = hub.repos[repo].head
        worker("fetch", repo, commit)
        hub.clear_requests()
        assert worker("fetch", repo, commit)["sha256"] == sha256
        assert hub.requests == []

    def test_another_hash_than_the_pinned_one_is_refused(self, hub, repo, worker):
        for _ in range(2):  # downloaded and from the cache
            error, _ = worker.fails("fetch", repo, None, None, "0" * 64)
            assert "are not the expected ones: their sha256 is" in error
        worker("fetch", repo)

    @pytest.mark.medium
    def test_a_preset_comes_from_its_repository(
        self, hub, repo, worker, images_file, trained, images
    ):
        loaded = worker("load_unbundled", images_file, repo, hub.repos[repo].head)
        np.testing.assert_allclose(
            loaded["predictions"], trained.predict(images, verbose=0), atol=1e-6
        )


# Fault, and whether loading may fail under it.
FAULTS = {
    "drop": (("drop", {"path": WEIGHTS, "after": 10_000, "times": 2}), False),
    "500 twice": (("error", {"times": 2}), False),
    "429": (("limit", {"times": 2}), False),
    "429 for an hour": (("limit", {"retry_after": 3600}), True),
    "wrong ETag, weights": (("etag", {"path": WEIGHTS, "value": "1" * 64}), False),
    "ETag that is a path": (("etag", {"value": "../../../../outside"}), True),
    "one flip": (("flip", {"path": WEIGHTS, "times": 1}), False),
    "flips": (("flip", {"path": WEIGHTS}), True),
    "flips in facts": (("flip", {"path": "keras_fer.json"}), True),
    "drip": (("drip", {"path": WEIGHTS, "rate": 1000}), True),
    "redirect to a CDN": (("redirect", {"to": "cdn"}), False),
}
# The same again, of another request, or until the client gives up.
SLOW_FAULTS = {
    "drop at once": (("drop", {"after": None, "times": 1}), True),
    "drop in JSON": (
        ("drop", {"path": "keras_fer.json", "after": 9, "times": 1}),
        False,
    ),
    "500 twice, weights": (("error", {"path": WEIGHTS, "times": 2}), True),
    "503, weights": (
        ("error", {"path": WEIGHTS, "status": 503, "method": "GET", "times": 1}),
        True,
    ),
    "429, weights": (("limit", {"path": WEIGHTS, "times": 2}), False),
    "429 for an hour, weights": (
        ("limit", {"path": WEIGHTS, "retry_after": 3600}),
        True,
    ),
    "wrong ETag": (("etag", {}), True),
    "drip of lists": (("drip", {"path": "/api/models/*", "rate": 10}), True),
    "redirect": (("redirect", {}), False),
    "always drop": (("drop", {"path": WEIGHTS, "after": 10_000}), True),
    "always hang up": (("drop", {"after": None}), True),
    "always 500": (("error", {}), True),
    "always 500, weights": (("error", {"path": WEIGHTS}), True),
    "always 429": (("limit", {}), True),
}


class TestFaults:
    @pytest.mark.parametrize(
        "name",
        [
            *FAULTS,
            *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW_FAULTS),
        ],
    )
    def test_right_or_clear_and_the_next_time_right(
        self, hub, repo, worker, sha256, tmp_path, name
    ):
        (kind, options), may_fail = (FAULTS | SLOW_FAULTS)[name]
        hub.fault(kind, **options)
        worker.start("fetch", repo)
        answer = worker.answer()
        print(name, "|", answer)
        assert answer["seconds"] < (60 if name in SLOW_FAULTS else 20)
        if "error" in answer:
            assert may_fail, answer
            assert {"OSError", "ValueError"} & set(answer["kinds"])
            assert "Hub" in answer["error"] or repo in answer["error"]
        else:
            assert answer["result"]["sha256"] == sha256
        hub.clear_faults()
        assert worker("fetch", repo)["sha256"] == sha256
        assert not any("outside" in str(p) for p in tmp_path.parent.rglob("*outside*"))

    @pytest.mark.parametrize("name", ["flips", "flips in facts"])
    def test_flipped_bytes_are_named(self, hub, repo, worker, name):
        (kind, options), _ = FAULTS[name]
        hub.fault(kind, **options)
        error, _ = worker.fails("fetch", repo)
        assert f"{options['path']} of {repo}" in error and "is damaged" in error

    def test_a_cache_that_rots_heals(self, hub, repo, worker, sha256):
        folder = pathlib.Path(worker("fetch", repo)["folder"])
        for name in ("model.weights.h5", "keras_fer.json"):
            path = (folder / name).resolve()
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
            assert worker("fetch", repo)["sha256"] == sha256

    def test_large_files_are_resumed(self, hub, files, worker):
        large = np.random.default_rng(0).bytes(25_000_000)
        hub.add_repo("user/large", sealed(files | {WEIGHTS: large}))
        hub.fault("drop", path=WEIGHTS, after=15_000_000, times=1)
        found = worker("fetch", "user/large")
        assert found["sha256"] == hashlib.sha256(large).hexdigest()
        assert 206 in [status for *_, status, _ in hub.requests]
        assert sent(hub) < 31_000_000

    def test_links_out_of_the_cache_are_cut(self, hub, repo, worker, sha256, tmp_path):
        folder = pathlib.Path(worker("fetch", repo)["folder"])
        outside = tmp_path / "mine.h5"
        outside.write_bytes(b"mine")
        (folder / WEIGHTS).unlink()
        (folder / WEIGHTS).symlink_to(outside)
        assert worker("fetch", repo)["sha256"] == sha256
        assert outside.read_bytes() == b"mine"

    def test_a_folder_outside_the_cache_is_left_alone(
        self, hub, repo, worker, tmp_path
    ):
        folder = pathlib.Path(worker("fetch", repo)["folder"])
        outside = tmp_path / "outside"
        folder.rename(outside)
        (outside / WEIGHTS).unlink()
        (outside / WEIGHTS).write_bytes(b"mine")
        folder.symlink_to(outside)
        error, _ = worker.fails("fetch", repo)
        assert "links to a folder outside the cache" in error
        assert (outside / WEIGHTS).read_bytes() == b"mine"

    def test_a_killed_process_leaves_no_lock(self, hub, repo, sha256, tmp_path):
        hub.fault("drip", path=WEIGHTS, rate=100_000)
        with working(hub, tmp_path / "home") as killed:
            killed.start("fetch", repo)
            while not sent(hub):
                time.sleep(0.05)
            killed.process.kill()
        hub.clear_faults()
        with working(hub, tmp_path / "home") as worker:
            assert worker("fetch", repo)["sha256"] == sha256

    def test_a_full_disk_is_named(self):
        with pytest.raises(OSError, match="disk is full.*user/repo.*HF_HUB_CACHE"):
            with client.explained("user/repo", None, None):
                raise OSError(errno.ENOSPC, "No space left on device")

    def test_a_hub_that_lies_about_sizes(self, hub, files, worker):
        """Small in the list, endless in the answer."""
        hub.add_repo("user/lies", files, listed={WEIGHTS: 1000})
        error, _ = worker.fails("fetch", "user/lies")
        assert "It has 2,440,760 bytes instead of 1,000." in error


class TestOffline:
    def test_warm_and_cold(self, server, repo, sha256, images_file, tmp_path):
        commit = server.repos[repo].head
        with working(server, tmp_path / "home", HF_HUB_OFFLINE="1") as offline:
            for name, revision in ((f"hf://{repo}", None), (f"hf://{repo}@v9", "v9")):
                error, _ = offline.fails(
                    "load", images_file, name, kind="FileNotFoundError"
                )
                assert f"not all of {WEIGHTS}, keras_fer.json undamaged" in error
                assert f"hf download {repo}" in error and "HF_HUB_OFFLINE" in error
                assert revision is None or f"--revision {revision}" in error
            with working(server, tmp_path / "home") as online:
                online("fetch", repo)
            server.clear_requests()
            for revision in (None, "main", commit):
                assert offline("fetch", repo, revision)["sha256"] == sha256
            assert offline("info", f"hf://{repo}")["revision"] == commit
            assert server.requests == []

    @pytest.mark.parametrize("how", ["in place", "a file for the link"])
    def test_swapped_labels_are_noticed(self, server, repo, tmp_path, how):
        """`keras_fer.json` is held to the Hub's hash, in the cache too."""
        labels = list(keras_fer.LABELS)
        with (
            working(server, tmp_path / "home") as online,
            working(server, tmp_path / "home", HF_HUB_OFFLINE="1") as offline,
        ):
            path = pathlib.Path(online("fetch", repo)["folder"]) / "keras_fer.json"
            assert offline("info", f"hf://{repo}")["labels"] == labels
            text = path.read_text()
            text = text.replace("neutral", "x").replace("sadness", "neutral")
            if how != "in place":
                path.unlink()
            path.write_text(text.replace('"x"', '"sadness"'))
            assert json.loads(path.read_text())["labels"] != labels
            error, _ = offline.fails("info", f"hf://{repo}", kind="FileNotFoundError")
            assert "undamaged" in error and "HF_HUB_OFFLINE" in error
            assert online("info", f"hf://{repo}")["labels"] == labels
            assert offline("info", f"hf://{repo}")["labels"] == labels

    def test_without_links_the_list_is_asked_again(
        self, server, repo, sha256, tmp_path
    ):
        commit = server.repos[repo].head
        without = {"HF_HUB_DISABLE_SYMLINKS": "1"}
        with (
            working(server, tmp_path / "home", **without) as online,
            working(server, tmp_path / "home", HF_HUB_OFFLINE="1", **without) as off,
        ):
            for _ in range(2):
                server.clear_requests()
                online("fetch", repo, commit)
            assert [path for _, path, *_ in server.requests] == [
                f"/api/models/{repo}/tree/{commit}"
            ]
            assert off("fetch", repo, commit)["sha256"] == sha256

    def test_without_a_hub(self, files, sha256, tmp_path):
        with HubServer() as server:
            server.add_repo("user/repo", files)
            with working(server, tmp_path / "home") as worker:
                worker("fetch", "user/repo")
                server.close()
                assert worker("fetch", "user/repo")["sha256"] == sha256
                error, seconds = worker.fails(
                    "fetch", "user/else", kind="FileNotFoundError"
                )
                assert "hf download user/else" in error and "no connection" in error
                assert seconds < 20


@pytest.mark.slow
def test_eight_processes_at_once(
    hub, repo, files, images_file, tmp_path, trained, images
):
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(working(hub, tmp_path / "home")) for _ in range(8)
        ]
        for worker in workers:
            worker("modules")  # it is up
        for worker in workers:
            worker.start("load", images_file, f"hf://{repo}")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(Worker.answer, workers)]
    expected = trained.predict(images, verbose=0)
    for answer in answers:
        np.testing.assert_allclose(answer["result"]["predictions"], expected, atol=1e-6)
    size = len(files[WEIGHTS])
    print(f"weights: {sent(hub):,} bytes sent, {size:,} in the file")
    print(f"all: {sum(size for *_, size in hub.requests):,} bytes sent")
    assert sent(hub) == size


def trap(model, path):
    """A configuration that makes a file when Keras builds a model from it.

    Its Lambda says that it is a layer of this package. Without a module Keras goes by
    `class_name`, whatever `registered_name` says.
    """
    code = f"lambda x: (__import__('pathlib').Path({str(path)!r}).touch(), x)[1]"
    layer = keras.layers.Lambda(eval(code), (2,), name="evil")
    model = type(model)(model.input, layer(model.output))
    config = keras.saving.serialize_keras_object(model)
    disguised = config["config"]["layers"][-1]
    assert disguised.pop("module") == "keras.layers"
    disguised["registered_name"] = "keras_fer>ImageNormalization"
    disguised["config"]["function"]["registered_name"] = "keras_fer>ImageNormalization"
    return json.dumps(config).encode()


# What is changed in `keras_fer.json`, and a word of the refusal.
HOSTILE_FACTS = {
    "a class of Keras": ({"architecture": "Lambda"}, "architecture must be one of"),
    "a module": ({"architecture": "backbones"}, "architecture must be one of"),
    "an attribute": ({"architecture": "__dict__"}, "architecture must be one of"),
    "no name": ({"architecture": ["PAttLite"]}, "not a name"),
    "a file": ({"arguments": {"backbone_weights": "/etc/passwd"}}, "backbone_weights"),
    "a name": ({"arguments": {"name": "x"}}, "is built from input_size, "),
    "classes": ({"arguments": {"num_classes": 10**9}}, "is built from input_size, "),
    "unknown": ({"arguments": {"units": 10**9}}, "is built from input_size, "),
    "huge images": ({"arguments": {"input_size": 10**9}}, "from 48 to 224, got 1000"),
    "a flag": ({"arguments": {"input_size": True}}, "must be of type int, got True"),
    "a string": ({"arguments": {"dropout": "0.2"}}, "must be of type float"),
    "an object": (
        {"arguments": {"attention": {"class_name": "Lambda"}}},
        "names of plain values",
    ),
    "a choice": ({"arguments": {"attention": "evil"}}, "attention must be one of"),
    "a million labels": ({"labels": [f"c{i}" for i in range(10**6)]}, "than 1,048,576"),
    "1,001 labels": ({"labels": [f"c{i}" for i in range(1001)]}, "labels must be 2 to"),
    "one label": ({"labels": ["a"]}, "labels must be 2 to 1,000"),
    "the same label": ({"labels": ["a", "a"]}, "labels must be 2 to 1,000"),
    "a long label": ({"labels": ["a", "b" * 101]}, "labels must be 2 to 1,000"),
    "a label that clears": ({"labels": ["a", "\x1b[2J"]}, "labels must be 2 to 1,000"),
    "a number": ({"labels": ["a", 1]}, "labels must be 2 to 1,000"),
    "no labels": ({"labels": "ab"}, "labels must be 2 to 1,000"),
    "true": ({"temperature": True}, "temperature must be a number from 0.01 to 100"),
    "too hot": ({"temperature": 1e9}, "temperature must be a number from 0.01 to 100"),
    "cold": ({"temperature": 0}, "temperature must be a number from 0.01 to 100"),
    "text": ({"temperature": "1"}, "temperature must be a number from 0.01 to 100"),
    "NaN": ({"temperature": float("nan")}, "it has the number NaN"),
    "infinity": ({"score": {"accuracy": float("inf")}}, "it has the number Infinity"),
    "a score": ({"score": {"accuracy": "100 %"}}, "score must be names of numbers"),
    "a paper": ({"paper": ["x"]}, "paper is no printable text"),
    "a control": ({"license": "MIT\x1b]0;x\x07"}, "license is no printable text"),
    "a novel": ({"data": "x" * 2001}, "data is no printable text"),
    "parameters": ({"parameters": "many"}, "parameters must be a whole number"),
    "the future": ({"format": 2}, "upgrade keras-fer"),
    "no hashes": ({"files": {}}, "files has no sha256 of"),
    "a list": ({"results": []}, "results is no object"),
}


class TestHostile:
    @pytest.fixture(scope="class")
    def honest(self, repo, shared_worker, images_file):
        """What an honest load costs in a process that has loaded before."""
        for _ in range(2):
            shared_worker("forget")
            shared_worker.start("load", images_file, f"hf://{repo}")
            answer = shared_worker.answer()
        return answer

    def refused(self, honest, worker, what, *arguments, **options):
        """The message of a refusal that costs little more than an honest load."""
        worker.start(what, *arguments, **options)
        answer = worker.answer()
        assert "ValueError" in answer.get("kinds", ()), answer
        error = answer["error"]
        assert len(error) < 2000 and error.isprintable(), error[:3000]
        # Of processor time, so that other work on the machine does not count.
        assert answer["processor"] < honest["processor"] + 2
        assert answer["megabytes"] < honest["megabytes"] + 200
        return error

    @pytest.mark.medium
    def test_code_and_other_files_are_never_touched(
        self, hub, files, worker, trained, images, images_file, tmp_path
    ):
        """The trap is armed, but nobody goes there."""
        path = tmp_path / "sprung"
        hostile = {
            "config.json": trap(trained, path),
            "weights.pkl": b"cos\nsystem\n(S'touch evil'\ntR.",
            "modeling.py": b"raise SystemExit",
            "folder/evil.npy": b"evil",
            "../../x": b"evil",
            "../../x.md": b"evil",
            "/etc/x.md": b"evil",
            "a\\..\\x.md": b"evil",
            "C:/x.md": b"evil",
        }
        huge = {"image.png": 50 * 10**9, "train.csv": 10**15}
        hub.add_repo("user/evil", sealed(files | hostile), listed=huge)
        loaded = worker("load", images_file, "hf://user/evil")
        np.testing.assert_allclose(
            loaded["predictions"], trained.predict(images, verbose=0), atol=1e-6
        )
        assert not path.exists()
        asked = {name for _, name, *_ in hub.requests if "/resolve/" in name}
        assert {name.rpartition("/")[2] for name in asked} == {*release.NEEDED}
        hub.add_repo("user/armed", files | {"config.json": hostile["config.json"]})
        worker.start("load_with_keras", images_file, "hf://user/armed")
        answer = worker.answer()
        assert path.exists(), answer

    @pytest.mark.parametrize("path", release.NEEDED)
    def test_huge_files_are_refused(self, hub, files, worker, path):
        hub.add_repo("user/huge", files, listed={path: 50 * 10**9})
        error, _ = worker.fails("fetch", "user/huge")
        assert path in error and "50,000,000,000 bytes, more than" in error
        assert not any("/resolve/" in name for _, name, *_ in hub.requests)

    @pytest.mark.parametrize("name", HOSTILE_FACTS)
    def test_facts_are_refused(self, hub, files, honest, worker, images_file, name):
        changes, word = HOSTILE_FACTS[name]
        hub.add_repo("user/odd", said(files, **changes))
        error = self.refused(honest, worker, "load", images_file, "hf://user/odd")
        assert word in error and "user/odd" in error

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            (b"[" * 10**5, "nested more than 20 deep"),
            (b'{"x": ' * 10**5, "nested more than 20 deep"),
            (b'{"format": 1, "format": 1}', "the same name twice"),
            (b'{"format": 1e999}', "it has the number 1e999"),
            (b'{"format": ' + b"9" * 10**5 + b"}", "malformed"),
            (b'"' + b"\\" * 10**6, "malformed"),
            (b" " * (2**20 + 1), "1,048,576 bytes"),
            (b"\xff\xfe{\x00", "malformed"),
            (b"[]", "it is no object"),
        ],
    )
    def test_other_json_is_refused(self, tmp_path, text, word):
        path = tmp_path / "keras_fer.json"
        path.write_bytes(text)
        start = time.process_time()
        with pytest.raises(ValueError, match=word) as caught:
            release.read_manifest(path, "user/repo")
        assert time.process_time() - start < 2
        assert len(str(caught.value)) < 2000 and str(caught.value).isprintable()

    def test_brackets_in_texts_are_no_depth(self, files, tmp_path):
        path = tmp_path / "keras_fer.json"
        text = '\\"[{' * 20
        path.write_bytes(said(files, paper=text)["keras_fer.json"])
        assert release.read_manifest(path, "user/repo")["paper"] == text

    def test_other_contradictions_are_refused(self, hub, files, worker):
        hashes = json.loads(files["keras_fer.json"])["files"]
        hub.add_repo("user/odd", said(files, files={**hashes, WEIGHTS: "0" * 64}))
        error, _ = worker.fails("fetch", "user/odd")
        assert "contradicts itself" in error
        incomplete = {k: v for k, v in files.items() if k != "keras_fer.json"}
        hub.add_repo("user/keras", incomplete)
        error, _ = worker.fails("fetch", "user/keras")
        assert "no keras_fer.json" in error

    @pytest.mark.parametrize("kind", ["no", "more", "other", "NaN", "infinity"])
    def test_weights_of_another_model_are_refused(
        self, hub, files, honest, worker, images_file, kind, tmp_path
    ):
        path = tmp_path / "weights.h5"
        path.write_bytes(files[WEIGHTS])
        bias = "layers/dense_1/vars/1"
        with h5py.File(path, "r+") as file:
            if kind == "no":
                del file[bias]
            elif kind == "more":
                file["layers/dense/vars/2"] = np.zeros(5_000_000, "f4")
            elif kind == "other":
                del file[bias]
                file[bias] = np.zeros(10_000_000, "f4")
            else:
                file[bias][0] = float(kind)
        hub.add_repo("user/other", sealed(files | {WEIGHTS: path.read_bytes()}))
        error = self.refused(honest, worker, "load", images_file, "hf://user/other")
        words = {
            "no": "lacks 1 arrays of the model, such as layers/dense_1/vars/1",
            "more": "layers/dense/vars/2 of shape (5000000,), where the model has none",
            "other": "of shape (10000000,), where the model has the shape (8,)",
        }
        assert "user/other" in error
        assert words.get(kind, f"has NaN or infinity in {bias}") in error

    @pytest.mark.parametrize("kind", ["a kernel", "classes", "chunks", "a link"])
    def test_own_files_are_checked_before_anything_is_allocated(
        self, honest, worker, images_file, kind, tmp_path
    ):
        """Files that take no room on the disk declare gigabytes."""
        path = tmp_path / "mine.weights.h5"
        path.write_bytes(loading.bundled(zoo.info("patt_lite")).read_bytes())
        name, shape = {
            "classes": ("layers/dense_1/vars/1", (2 * 10**9,)),
        }.get(kind, ("layers/dense/vars/0", (500_000, 1000)))
        with h5py.File(path, "r+") as file:
            del file[name]
            if kind == "a link":
                os.mkfifo(tmp_path / "pipe")
                file[name] = h5py.ExternalLink(str(tmp_path / "pipe"), "x")
            else:
                chunks = (500_000, 1000) if kind == "chunks" else None
                new = file.create_dataset(name, shape, "f4", chunks=chunks)
                if not chunks:
                    new[(-1,) * len(shape)] = 1  # At the end: the rest is a hole.
        assert path.stat().st_blocks * 512 < 2**24
        error = self.refused(
            honest, worker, "load", images_file, "patt_lite", str(path)
        )
        words = {
            "a kernel": "of shape (500000, 1000), where the model has the shape",
            "classes": "whose layer 'logits' has 2,000,000,000",
            "chunks": "is no plain array of numbers",
            "a link": "has a link, layers/dense/vars/0",
        }
        assert words[kind] in error

    @pytest.mark.parametrize("kind", ["link", "soft link", "external", "virtual"])
    def test_weights_that_point_elsewhere_are_refused(self, tmp_path, kind):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["x"] = np.arange(4)
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            file["y"] = np.arange(4)
            if kind == "link":
                file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
            elif kind == "soft link":
                file["x"] = h5py.SoftLink("/y")
            elif kind == "external":
                file.create_dataset("x", (4,), "u1", external=[("/etc/hostname", 0, 4)])
            else:
                layout = h5py.VirtualLayout((4,), "i8")
                layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (4,))
                file.create_virtual_dataset("x", layout)
        # Keras reads these two groups.
        with h5py.File(tmp_path / "weights.h5", "r+") as file:
            file.move("x", "vars/x")
        with pytest.raises(ValueError, match="vars/x"):
            checks.check_weights(tmp_path / "weights.h5")

    def test_weights_that_declare_more_than_they_hold_are_refused(self, tmp_path):
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            file.create_dataset("vars/0", (1 << 40,), "f4")
        with pytest.raises(ValueError, match="larger than the file"):
            checks.check_weights(tmp_path / "weights.h5")

    def test_brain_floats_are_read(self, tmp_path):
        """Which HDF5 does not know."""
        path = tmp_path / "model.weights.h5"
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")]
        )
        for value in (1, np.nan):
            model.layers[0].kernel.assign(np.full((3, 2), value))
            model.save_weights(path)
            if value == 1:
                checks.check_weights(path, saved_shapes(model))
        with pytest.raises(ValueError, match="NaN or infinity"):
            checks.check_weights(path, saved_shapes(model))


class TestBadInput:
    def test_results_of_another_kind(self, trained):
        with pytest.raises(
            ValueError,
            match="results must be what .* lacks 'all'",
        ):
            zoo.push(trained, "user/repo", token="hf_x", results={"accuracy": 90})

    @pytest.mark.parametrize(
        "name",
        [
            "hf://",
            "hf://repo",
            "hf://user/re po",
            "hf://user/repo/file.h5",
            "hf://datasets/user/repo",
            "hf://../repo",
        ],
    )
    def test_malformed_addresses(self, name):
        with pytest.raises(ValueError, match="An address must be .*, got "):
            zoo.load(name)

    @pytest.mark.parametrize("repo_id", ["repo", "a/b/c", "user/..", "", None])
    def test_malformed_ids(self, trained, repo_id):
        with pytest.raises(ValueError, match="repo_id must be "):
            zoo.push(trained, repo_id)

    def test_arguments_that_contradict_each_other(self):
        with pytest.raises(ValueError, match="weights must be left out with"):
            zoo.load("hf://user/repo", weights=None)
        with pytest.raises(ValueError, match="Conflicting revisions"):
            zoo.load("hf://user/repo@v1", revision="v2")
        with pytest.raises(ValueError, match="revision must be left out for what"):
            zoo.load("patt_lite", revision="v2")

    def test_each_refusal_has_its_own_message(
        self, hub, repo, files, worker, images_file
    ):
        hub.add_repo("user/gated", files, gated=True)
        hub.add_repo("user/private", files, private=True)
        read = {"token": hub.READ_TOKEN}
        cases = [
            ("FileNotFoundError", "does not exist or is private", "user/none", {}),
            ("FileNotFoundError", "with no token", "user/private", {}),
            (
                "PermissionError",
                "Authentication failed",
                "user/private",
                {"token": "hf_x"},
            ),
            ("PermissionError", "is gated", "user/gated", {}),
            ("PermissionError", "is gated", "user/gated", read),
            (
                "ValueError",
                "revision must be a branch",
                repo,
                {"revision": "v7"},
            ),
        ]
        for kind, words, name, options in cases:
            error, _ = worker.fails(
                "load", images_file, f"hf://{name}", kind=kind, **options
            )
            assert words in error and name in error, error
            assert "hf_x" not in error and hub.READ_TOKEN not in error
        worker("fetch", "user/private", None, hub.READ_TOKEN)
