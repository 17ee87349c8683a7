import csv
import io
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import keras_fer
from keras_fer import analyze, bulk
from keras_fer.cli.predict import sample_portrait

ROOT = pathlib.Path(__file__).parents[1]
FORMATS = (".jsonl", ".csv", ".parquet")


def draw(folder, number, seed=0):
    """Crops of smooth noise as files; two of them cannot be read."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for index in range(number):
        path = folder / f"{index:05}.png"
        if index % 70 == 3:
            path.write_text("not an image")
            continue
        coarse = rng.integers(0, 256, (6, 6), np.uint8)
        Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """150 files: more than two chunks, less than three."""
    return draw(tmp_path_factory.mktemp("crops") / "crops", 150)


@pytest.fixture(scope="module")
def unbroken(crops):
    """Suffix to the file of a run that nobody disturbed."""
    files = {}
    for suffix in FORMATS:
        files[suffix] = crops.parent / f"unbroken{suffix}"
        bulk.predict(crops, files[suffix], detector=None)
    return files


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def state(folder):
    """Everything in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(path, expected):
    """Whether two results files hold the same."""
    if path.suffix == ".parquet":
        tables = [pa.parquet.read_table(each) for each in (path, expected)]
        return tables[0].equals(tables[1], check_metadata=True)
    return path.read_bytes() == expected.read_bytes()


def test_rows_are_those_of_analyze_in_the_order_of_the_files(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    portrait = Image.open(sample_portrait())
    both = Image.new("RGB", (800, 600), "white")
    both.paste(portrait.resize((384, 450)), (0, 0))
    both.paste(portrait.resize((256, 300)), (500, 0))
    both.save(photos / "a.png")
    Image.new("RGB", (120, 90), "white").save(photos / "b.png")
    (photos / "c.jpg").write_text("not an image")
    portrait.rotate(20).save(photos / "d.png")
    out = tmp_path / "results.jsonl"
    results = bulk.predict([photos, "gone.png"], out)
    assert results == bulk.Results(out, images=5, faces=3, failed=2)
    records = lines(out)
    names = ["a.png", "b.png", "c.jpg", "d.png", "gone.png"]
    assert [pathlib.Path(record["path"]).name for record in records] == names
    assert [len(record["faces"]) for record in records] == [2, 0, 0, 1, 0]
    for record in records:
        if record["error"]:
            with pytest.raises(ValueError) as caught:
                keras_fer.analyze(record["path"])
            assert record["error"] == str(caught.value)
            continue
        expected = keras_fer.analyze(record["path"])
        for face, other in zip(record["faces"], expected, strict=True):
            assert face["box"] == list(other.box)
            assert face["label"] == other.label
            assert face["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)


def test_json_lines_are_those_of_the_command(unbroken, crops):
    command = [sys.executable, "-m", "keras_fer.cli", "predict", "--json", crops]
    done = subprocess.run([*command, "--detector", "none"], capture_output=True)
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    records = lines(unbroken[".jsonl"])
    assert len(records) == len(expected) == 150
    for record, other in zip(records, expected, strict=True):
        assert (record["path"], record["error"]) == (other["path"], other["error"])
        for face, same_face in zip(record["faces"], other["faces"], strict=True):
            probabilities = same_face["probabilities"]
            assert face["box"] == same_face["box"] == [0, 0, 48, 48]
            assert face["probabilities"] == pytest.approx(probabilities, abs=1e-5)


def test_tables_hold_what_the_json_lines_hold(unbroken):
    table = pa.parquet.read_table(unbroken[".parquet"])
    with open(unbroken[".csv"], newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == table.column_names
        rows = list(reader)
    records = lines(unbroken[".jsonl"])
    for record, row, cells in zip(records, table.to_pylist(), rows, strict=True):
        assert row["path"] == cells["path"] == record["path"]
        assert row["error"] == record["error"] == (cells["error"] or None)
        if record["error"]:
            assert row["face"] is None and cells["face"] == cells["label"] == ""
            continue
        (face,) = record["faces"]
        assert row["face"] == 0 and cells["face"] == "0"
        for key, value in zip(("x", "y", "width", "height"), face["box"], strict=True):
            assert row[key] == value == int(cells[key])
        assert row["label"] == cells["label"] == face["label"]
        assert float(cells["confidence"]) == row["confidence"] == face["confidence"]
        for label, value in face["probabilities"].items():
            name = f"probability_{label}"
            assert float(cells[name]) == row[name] == value


def test_results_are_a_data_frame(unbroken, crops):
    """The same numbers from every format."""
    frames = {}
    for suffix, path in unbroken.items():
        frames[suffix] = bulk.predict(crops, path, detector=None).to_dataframe()
    records = frames.pop(".jsonl")
    assert list(records.columns) == ["path", "faces", "error"]
    csv, parquet = frames[".csv"], frames[".parquet"]
    assert list(csv.columns) == list(parquet.columns) and len(csv) == len(parquet)
    for column in ("face", "x", "width", "confidence", "probability_neutral"):
        np.testing.assert_allclose(
            csv[column].astype(float), parquet[column].astype(float), atol=1e-6
        )
    assert list(csv["label"].dropna()) == list(parquet["label"].dropna())


def test_two_faces_are_two_rows(tmp_path):
    image = tmp_path / "a.png"
    Image.new("RGB", (60, 40), "gray").save(image)

    def halves(image):
        return [(0, 0, 20, 40), (20, 0, 40, 40)]

    bulk.predict(image, tmp_path / "r.parquet", detector=halves)
    rows = pa.parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert [(row["face"], row["x"], row["width"]) for row in rows] == [
        (0, 20, 40),
        (1, 0, 20),
    ]


def test_an_image_that_a_detector_refuses_is_a_row(crops, tmp_path):
    """The faces of the others are those that they have without it."""
    files = sorted(crops.iterdir())[4:10]

    def picky(image):
        if image.mean() > means[2]:
            raise ValueError("too bright")
        return [(0, 0, 48, 48)]

    means = sorted(np.asarray(Image.open(file)).mean() for file in files)
    bulk.predict(files, tmp_path / "r.jsonl", detector=picky)
    bulk.predict(files, tmp_path / "all.jsonl", detector=None)
    records = lines(tmp_path / "r.jsonl")
    assert [record["error"] for record in records].count("too bright") == 3
    for record, other in zip(records, lines(tmp_path / "all.jsonl"), strict=True):
        for face, same_face in zip(record["faces"], other["faces"], strict=False):
            assert face["probabilities"] == pytest.approx(same_face["probabilities"])
        assert len(record["faces"]) == (record["error"] is None)


def test_a_file_name_that_is_not_text(tmp_path):
    image = tmp_path / "é.png"
    Image.new("RGB", (48, 48), "gray").save(image)
    try:
        os.rename(image, os.fsencode(tmp_path) + b"/\xff.png")
    except OSError:
        pytest.skip("the file system has encoded names only")
    out = tmp_path / "out"
    out.mkdir()
    for suffix in FORMATS:
        results = bulk.predict(tmp_path, out / f"r{suffix}", detector=None)
        assert (results.images, results.failed) == (1, 0)
    assert lines(out / "r.jsonl")[0]["path"] == f"{tmp_path}/\udcff.png"
    (row,) = pa.parquet.read_table(out / "r.parquet").to_pylist()
    assert row["path"] == rf"{tmp_path}/\udcff.png"


def test_no_images(tmp_path):
    for suffix in FORMATS:
        out = tmp_path / f"r{suffix}"
        assert bulk.predict([], out) == bulk.Results(out, 0, 0, 0)
    assert (tmp_path / "r.jsonl").read_bytes() == b""
    assert (tmp_path / "r.csv").read_text().count("\n") == 1
    assert pa.parquet.read_table(tmp_path / "r.parquet").num_rows == 0


def test_little_memory_changes_nothing(crops, unbroken, tmp_path, monkeypatch):
    """Neither the order nor the rows, and no thread waits for another forever."""
    monkeypatch.setattr(bulk, "_BYTES", 1)
    monkeypatch.setattr(bulk, "_AHEAD", 5)
    out = tmp_path / "r.jsonl"
    bulk.predict(crops, out, detector=None, threads=8)
    assert same(out, unbroken[".jsonl"])


def test_decoded_images_wait_until_memory_is_free(crops, monkeypatch):
    """Of 48x48 RGB, 6,912 bytes each, three are held and each thread adds one."""
    from keras_fer import faces

    read = []
    real = faces.read_image
    monkeypatch.setattr(faces, "read_image", lambda f: (read.append(f), real(f))[1])
    monkeypatch.setattr(bulk, "_BYTES", 3 * 6912)
    files = [str(path) for path in sorted(crops.iterdir())]
    images = bulk._read_ahead(files, 2)
    next(images)
    time.sleep(0.5)
    # The first, and at most three in memory, two under way, one of no size.
    assert len(read) <= 1 + 3 + 2 + 1
    images.close()
    assert len(read) <= 10


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_finished_run_is_not_repeated(crops, unbroken, suffix):
    path = unbroken[suffix]
    before = path.stat()
    names = set(os.listdir(path.parent))
    results = bulk.predict(crops, path, detector=None)
    assert results == bulk.Results(path, images=150, faces=147, failed=3)
    assert path.stat() == before
    assert set(os.listdir(path.parent)) == names
    assert {name for name in names if name.startswith("unbroken")} == {
        f"unbroken{each}{end}" for each in FORMATS for end in ("", ".run.json")
    }


@pytest.mark.parametrize(
    ("kept", "damage"),
    [
        (0, b""),
        (63, b"\0" * 300),
        (64, b'{"path": 3}\n'),
        (100, b""),
        (128, b"[]\n"),
        (150, b"more\n"),
    ],
)
def test_resumed_from_any_journal(crops, unbroken, tmp_path, kept, damage):
    """Also from one whose end was torn, or lost in a power failure."""
    out = tmp_path / "r.jsonl"
    whole = unbroken[".jsonl"].read_bytes()
    end = len(b"".join(whole.splitlines(keepends=True)[:kept]))
    torn = whole[: end + 40] if damage == b"" else whole[:end] + damage
    facts = json.loads(unbroken[".jsonl"].with_suffix(".jsonl.run.json").read_text())
    (tmp_path / "r.jsonl.rows.jsonl").write_bytes(torn)
    facts["results"] = None
    (tmp_path / "r.jsonl.run.json").write_text(json.dumps(facts))
    results = bulk.predict(crops, out, detector=None)
    assert results == bulk.Results(out, images=150, faces=147, failed=3)
    assert out.read_bytes() == whole
    assert sorted(state(tmp_path)) == ["r.jsonl", "r.jsonl.run.json"]


def command(crops, out, *arguments, **options):
    words = [sys.executable, "-m", "keras_fer.cli", "predict", crops, "--out", out]
    words += ["--detector", "none", *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **options)


def run_and_kill(crops, out, moment):
    """Starts the command and kills it; false if it has ended before.

    Args:
        moment: Seconds from its start, or what must be true.
    """
    process = command(crops, out)
    start = time.monotonic()
    while process.poll() is None:
        if moment() if callable(moment) else time.monotonic() - start > moment:
            process.kill()
            break
        time.sleep(0.001)
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0, 1)
    return process.returncode < 0


@pytest.mark.medium
@pytest.mark.parametrize("suffix", FORMATS)
def test_killed_three_times_and_resumed(tmp_path, suffix):
    crops = draw(tmp_path / "crops", 600)
    expected = tmp_path / f"unbroken{suffix}"
    bulk.predict(crops, expected, detector=None)
    out = tmp_path / f"r{suffix}"
    journal = tmp_path / f"r{suffix}.rows.jsonl"

    def written(number):
        return lambda: journal.exists() and journal.read_bytes().count(b"\n") >= number

    kept = []
    for number in (1, 128, 320):
        assert run_and_kill(crops, out, written(number))
        assert not out.exists()
        kept.append(journal.read_bytes().count(b"\n"))
    assert kept[0] < kept[1] < kept[2] < 600
    done, _ = command(crops, out).communicate()
    assert done == f"{out}: 600 images, 591 faces\n"
    assert same(out, expected)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_killed_at_twenty_random_moments(tmp_path, suffix):
    """From the import of Python to the conversion of the journal."""
    crops = draw(tmp_path / "crops", 2000)
    expected, out = tmp_path / f"unbroken{suffix}", tmp_path / f"r{suffix}"
    bulk.predict(crops, expected, detector=None)
    journal = tmp_path / f"r{suffix}.rows.jsonl"
    start = time.monotonic()
    assert not run_and_kill(crops, tmp_path / f"timed{suffix}", 1e9)
    whole = time.monotonic() - start
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        moment = rng.uniform(0.05, 0.5) * whole
        if not run_and_kill(crops, out, moment):
            assert same(out, expected)  # It was complete: from the start again.
            out.unlink()
            continue
        kills += 1
        rows = journal.read_bytes().count(b"\n") if journal.exists() else 0
        print(f"killed after {moment:.2f} s of {whole:.2f}, {rows} rows")
    command(crops, out).communicate()
    assert same(out, expected)
    assert {path.name for path in tmp_path.glob("r.*")} == {
        out.name,
        f"{out.name}.run.json",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "patt_lite.fer2013"}, "another model: 'patt_lite.ferplus', not"),
        ({"detector": "haar"}, "another detector: 'none', not 'haar'"),
        ({"align": False}, "another align: True, not False"),
        ({"balanced": True}, "another model sha256: "),
        ({"min_size": 30}, "another min size: None, not 30"),
        ({"paths": 1}, "another number of images: 150, not 1"),
        ({"paths": 150}, "another list of images: "),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_results_of_another_run_are_refused(
    crops, unbroken, tmp_path, options, message, finished
):
    out = tmp_path / "r.csv"
    files = [str(path) for path in sorted(crops.iterdir())]
    facts = json.loads(unbroken[".csv"].with_suffix(".csv.run.json").read_text())
    if finished:
        shutil.copy(unbroken[".csv"], out)
    else:
        facts["results"] = None
        rows = unbroken[".jsonl"].read_bytes().splitlines(keepends=True)[:128]
        (tmp_path / "r.csv.rows.jsonl").write_bytes(b"".join(rows))
    (tmp_path / "r.csv.run.json").write_text(json.dumps(facts))
    before = state(tmp_path)
    if "paths" in options:
        options = {**options, "paths": files[::-1][: options["paths"]]}
    with pytest.raises(FileExistsError) as caught:
        bulk.predict(**{"paths": files, "out": out, "detector": None, **options})
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "mine", "exists, without 'r.csv.run.json'"),
        ("r.csv.rows.jsonl", "mine", "exists, without 'r.csv.run.json'"),
        ("r.csv.run.json", "mine", "is not a file that this wrote"),
        ("r.csv.run.json", "[]", "is not a file that this wrote"),
        ("r.csv.run.json", '{"settings": {}}', "is not a file that this wrote"),
    ],
)
def test_files_of_somebody_else_are_refused(crops, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(FileExistsError, match="Name another file") as caught:
        bulk.predict(crops, tmp_path / "r.csv", detector=None)
    assert message in str(caught.value)
    assert state(tmp_path) == {name: content.encode()}


def test_a_file_that_took_the_name_meanwhile_stays(crops, unbroken, tmp_path):
    facts = json.loads(unbroken[".csv"].with_suffix(".csv.run.json").read_text())
    facts["results"] = None
    (tmp_path / "r.csv.run.json").write_text(json.dumps(facts))
    (tmp_path / "r.csv").write_text("mine")
    before = state(tmp_path)
    with pytest.raises(FileExistsError, match="not of the run that is to be finished"):
        bulk.predict(crops, tmp_path / "r.csv", detector=None)
    assert state(tmp_path) == before


def test_two_runs_at_once(crops, tmp_path):
    import fcntl

    with open(tmp_path / "r.csv.rows.jsonl", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="Another process is writing"):
            bulk.predict(crops, tmp_path / "r.csv", detector=None)
    bulk.predict(crops, tmp_path / "r.csv", detector=None)


@pytest.mark.parametrize(
    ("suffix", "size", "name"),
    [
        (".jsonl", 40_000, "r.jsonl.rows.jsonl"),
        (".csv", 40_000, "r.csv.rows.jsonl"),
    ],
)
def test_a_full_disk_is_named_and_can_be_emptied(
    crops, unbroken, tmp_path, suffix, size, name
):
    """Files cannot grow beyond a size, as on a full disk."""
    out = tmp_path / f"r{suffix}"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            bulk.predict(crops, out, detector=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / name)
    assert not out.exists()
    bulk.predict(crops, out, detector=None)
    assert same(out, unbroken[suffix])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_disk_that_is_full_at_the_end(crops, unbroken, tmp_path, suffix):
    """What is finished is not computed again."""
    out = tmp_path / f"r{suffix}"
    journal = tmp_path / f"r{suffix}.rows.jsonl"
    facts = json.loads(unbroken[suffix].with_suffix(f"{suffix}.run.json").read_text())
    facts["results"] = None
    (tmp_path / f"r{suffix}.run.json").write_text(json.dumps(facts))
    shutil.copy(unbroken[".jsonl"], journal)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            bulk.predict(crops, out, detector=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == f"{out}.tmp"
    assert same(journal, unbroken[".jsonl"])
    assert sorted(state(tmp_path)) == [journal.name, f"r{suffix}.run.json"]
    bulk.predict(crops, out, detector=None)
    assert same(out, unbroken[suffix])


def test_a_folder_that_is_not_there(crops, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bulk.predict(crops, tmp_path / "nowhere" / "r.csv", detector=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "r.txt"}, r"must end in .parquet, .csv, .jsonl, got 'r.txt'"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"model": "patt"}, "name must be one of"),
        ({"detector": "magic"}, "detector must be one of"),
        ({"min_size": -1}, "min_size must be positive"),
        ({"min_confidence": 0.5}, "needs a detector with scores"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        bulk.predict(**{"paths": "a.png", "out": "r.csv", "detector": None, **options})
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"needs Ray.*keras-fer\[ray\]"):
        bulk.ray_dataset("a.png")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"r.parquet' needs PyArrow.*keras-fer\[bulk"):
        bulk.predict("a.png", tmp_path / "r.parquet")
    assert not list(tmp_path.iterdir())


def test_neither_keras_nor_tensorflow_is_imported(crops, tmp_path):
    code = """
import sys
from keras_fer import bulk
bulk.predict(sys.argv[1], sys.argv[2])
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
"""
    one = sorted(crops.iterdir())[0]
    subprocess.run([sys.executable, "-c", code, one, tmp_path / "r.csv"], check=True)


@pytest.mark.medium
def test_a_keras_model_is_known_by_its_arrays(crops, unbroken, tmp_path):
    model = keras_fer.zoo.load("patt_lite")
    out = tmp_path / "r.jsonl"
    bulk.predict(crops, out, model, detector=None)
    pairs = zip(lines(out), lines(unbroken[".jsonl"]), strict=True)
    for face, other in ((a["faces"][0], b["faces"][0]) for a, b in pairs if a["faces"]):
        # The ONNX file is stored in half precision.
        assert face["probabilities"] == pytest.approx(other["probabilities"], abs=0.02)
    bulk.predict(crops, out, model, detector=None)
    logits = model.get_layer("logits")
    logits.set_weights([weight * 0.9 for weight in logits.get_weights()])
    with pytest.raises(FileExistsError, match="another model sha256"):
        bulk.predict(crops, out, model, detector=None)
    logits.set_weights([weight * np.nan for weight in logits.get_weights()])
    with pytest.raises(ValueError, match="returned NaN"):
        bulk.predict(crops, tmp_path / "nan.jsonl", model, detector=None)
    assert not (tmp_path / "nan.jsonl").exists()


@pytest.mark.medium
def test_progress_on_a_terminal_only(crops, tmp_path):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = command(crops, tmp_path / "r.csv", stderr=theirs)
    process.communicate()
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "150/150" in shown and "image/s" in shown
    process = command(crops, tmp_path / "s.csv", stderr=subprocess.PIPE)
    _, errors = process.communicate()
    out = tmp_path / "s.csv"
    assert errors == f"keras-fer: 3 of 150 images failed; see 'error' in {out}\n"


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes, of which the second is the fixture's value."""
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    memory = 150 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "object_store_memory": memory,
            "_system_config": quick,
            "include_dashboard": False,
        },
    )
    ray.init(
        cluster.address,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        log_to_driver=False,
    )
    node = cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    yield cluster, node
    ray.shutdown()
    cluster.shutdown()


def actors_of(node):
    """Process ids of the actors of Ray Data on a node."""
    (raylet,) = node.all_processes["raylet"]
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            name = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == raylet.process.pid and b"MapWorker" in name:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_ray_rows_are_those_of_one_machine(cluster, crops, unbroken, tmp_path):
    import ray.data

    expected = pa.parquet.read_table(unbroken[".parquet"])
    bulk.ray_dataset(crops, detector=None).write_parquet(str(tmp_path / "from_paths"))
    found = pa.parquet.read_table(tmp_path / "from_paths")
    assert found.sort_by("path").equals(expected)

    binary = ray.data.read_binary_files(str(crops), include_paths=True)
    rows = bulk.ray_dataset(binary, detector=None).to_pandas()
    rows = rows.sort_values("path").reset_index(drop=True)
    table = expected.to_pandas()
    assert [path.rpartition("/")[2] for path in rows["path"]] == [
        path.rpartition("/")[2] for path in table["path"]
    ]
    assert (rows["label"].dropna() == table["label"].dropna()).all()
    for name in expected.column_names:
        if name.startswith("probability_"):
            np.testing.assert_allclose(rows[name], table[name], atol=1e-5)

    # As in datasets of the Hub.
    files = sorted(crops.iterdir())[:5]
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    pa.parquet.write_table(pa.table({"image": images}), tmp_path / "hub.parquet")
    again = bulk.ray_dataset(tmp_path / "hub.parquet", detector=None).take_all()
    assert [row["path"] for row in again] == [file.name for file in files]
    assert [row["label"] for row in again] == table["label"][:3].tolist() + [
        None,
        table["label"][4],
    ]
    assert again[3]["error"].startswith("The image is not an image in a format")


@pytest.mark.slow
def test_ray_repeats_what_a_killed_node_has_lost(cluster, tmp_path):
    crops = draw(tmp_path / "crops", 3000)
    bulk.predict(crops, tmp_path / "r.parquet", detector=None)
    expected = pa.parquet.read_table(tmp_path / "r.parquet")
    nodes, node = cluster
    dataset = bulk.ray_dataset(crops, detector=None, actors=2)
    tables = []
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        tables.append(table)
        if len(tables) == 6:
            assert actors_of(node), "the node has no actor that could be lost"
            nodes.remove_node(node, allow_graceful=False)
    assert pa.concat_tables(tables).equals(expected)
    import ray

    assert sum(each["Alive"] for each in ray.nodes()) == 1


@pytest.mark.parametrize("suffix", bulk.FORMATS)
def test_notebooks_show_the_first_images(tmp_path, suffix):
    portrait = sample_portrait()
    for number in range(3):
        shutil.copy(portrait, tmp_path / f"{number}.jpg")
    (tmp_path / "1.jpg").write_bytes(b"broken")
    results = bulk.predict(tmp_path, tmp_path / f"r{suffix}", detector="haar")
    image = Image.open(io.BytesIO(results._repr_png_()))
    # Two that can be read, each in a square of 320 pixels.
    assert image.size == (640, 320) and results.failed == 1
    halves = np.asarray(image).reshape(320, 2, 320, 3)
    np.testing.assert_array_equal(halves[:, 0], halves[:, 1])
    (face,) = analyze(portrait, detector="haar")
    scale = 320 / 600
    left = (320 - round(512 * scale)) // 2 + round(face.box[0] * scale)
    middle = round((face.box[1] + face.box[3] / 2) * scale)
    np.testing.assert_array_equal(halves[middle, 0, left], (0, 120, 60))
    for number in range(3):
        (tmp_path / f"{number}.jpg").unlink()
    assert results._repr_png_() is None
