import ast
import dataclasses
import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from keras_fer import zoo
from keras_fer.zoo.presets import PRESETS
from zoo import card, tables

NAMES = [name for name, preset in PRESETS.items() if preset.sha256]


def stored(name, way=None):
    """A result, as it lies there."""
    way = f".{way}" if way else ""
    path = tables.RESULTS / f"{name}.public_test{way}.json"
    return json.loads(path.read_text())


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def rows(text, title):
    """Cells of the tables under a title, as they are rendered."""
    (section,) = re.findall(rf"^## {title}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    html = MarkdownIt().enable("table").render(section)
    return [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def text(name):
    preset = PRESETS[name]
    return card.card(preset, card.read(preset), "somebody/some-repo")


@pytest.fixture
def folder(tmp_path):
    """A copy of the results, to be changed."""
    for path in tables.RESULTS.glob("*.public_test*.json"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_metadata_is_what_the_hub_knows(name, text):
    data = ModelCard(text).data
    assert data.to_dict()["model-index"][0]["name"] == name
    assert (data.library_name, data.license) == ("keras", "apache-2.0")
    assert data.pipeline_tag == "image-classification"
    assert data.datasets[0] == name.split(".")[1]
    assert data.metrics == ["accuracy", "f1", "recall"]
    assert "facial-expression-recognition" in data.tags


def test_the_model_index_is_the_results(name, text):
    found = {}
    for each in ModelCard(text).data.eval_results:
        result = stored(name)
        assert each.task_type == "image-classification"
        assert each.dataset_type == result["dataset"]
        assert each.dataset_split == "public_test"
        assert each.dataset_revision == result["data_sha256"]
        assert each.source_url.startswith("https://huggingface.co/somebody/some-repo/")
        found[each.dataset_config, each.metric_type] = each.metric_value
    expected = {}
    for config in (None, "without_duplicates", "masked", "occluded", "corrupted"):
        part = "without_duplicates" if config == "without_duplicates" else "all"
        values = stored(name, None if part == config else config)[part]
        for metric, key in (("accuracy", "accuracy"), ("f1", "macro_f1")):
            expected[config, metric] = round(values[key], 2)
        expected[config, "recall"] = round(values["uar"], 2)
    assert found == expected


def test_the_tables_are_the_results(name, text):
    def interval(values, metric):
        low, high = values["intervals"][metric]
        return f"{values[metric]:.1f} ({low:.1f} to {high:.1f})"

    result = stored(name)
    everything, fresh = result["all"], result["without_duplicates"]
    metrics = ("accuracy", "macro_f1", "uar")
    scores, size = rows(text, "Scores"), len(result["labels"])
    assert f"{everything['n']:,}" in scores[0][1] and f"{fresh['n']:,}" in scores[0][2]
    assert [row[1:] for row in scores[1:4]] == [
        [interval(everything, metric), interval(fresh, metric)] for metric in metrics
    ]
    assert scores[5 : 5 + size] == [
        [f"<code>{label}</code>"]
        + [f"{row[metric]:.1f}" for metric in ("precision", "recall", "f1")]
        + [f"{row['support']:,}"]
        for label, row in everything["per_class"].items()
    ]
    assert [row[1:] for row in scores[6 + size :]] == [
        [f"{count:,}" for count in row] for row in everything["confusion"]
    ]
    harder = rows(text, "Harder images")[1:]
    assert [row[0] for row in harder] == ["as they are", *card.FAMILIES]
    for row, way in zip(harder, (None, *card.FAMILIES), strict=True):
        values = stored(name, way)["all"]
        assert row[1:3] == [interval(values, metric) for metric in metrics[:2]]
        assert row[3] == f"{values['ece']:.1f}"
    assert f"calibration error: {everything['ece']:.1f} %" in text
    assert f"likelihood: {everything['nll']:.3f}" in text
    assert f"temperature of {PRESETS[name].temperature:g}," in text


def test_it_says_what_it_must(name, text):
    preset, readme = PRESETS[name], (tables.ROOT / "README.md").read_text()
    labels = [f"{place}. `{label}`" for place, label in enumerate(preset.labels)]
    assert "\n".join(labels) in text
    for said in (
        preset.paper,
        preset.input,
        preset.data,
        preset.selection,
        preset.split,
        preset.license,
        preset.sha256,
        "with a margin of 0 around it, turned until the eyes are level",
        card.CITATIONS[name.split(".")[0]],
        "@inproceedings{goodfellow2013challenges,",
    ):
        assert said in text
    (misuse,) = re.findall(
        r"\n## What it must not be used for\n\n(.*?)\n\n## ", readme, re.DOTALL
    )
    assert misuse.strip() in text
    assert not re.search(r"\$\w|<!--|None|nan", text)


def test_its_links_lead_somewhere(text):
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    places = {heading.lower().replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#(.*?)\)", text)
    assert links and set(links) <= places


def test_its_code_is_python_and_its_commands_are_the_readmes(name, text):
    codes = blocks(text, "python")
    assert len(codes) == 2
    for code in codes:
        ast.parse(code)
        assert '"hf://somebody/some-repo"' in code
    (commands,) = blocks(text, "sh")
    readme = (tables.ROOT / "README.md").read_text()
    for command in commands.splitlines()[1:]:
        # The README shows the default preset; the others differ in their names alone.
        command = command.replace(name, "patt_lite.ferplus")
        assert command.replace(name.replace(".", "_"), "patt_lite_ferplus") in readme


def test_what_it_started_from_is_said():
    recipe, (training, *_) = (
        "patt_lite_fer2013",
        card._trainings(PRESETS["patt_lite.fer2013"]),
    )
    assert training["recipe"]["start"] == "patt_lite.ferplus"
    preset = zoo.info("patt_lite.fer2013")
    text = card.card(preset, card.read(preset), "a/b")
    assert "It started from `patt_lite.ferplus`, which was trained on FER2013" in text
    assert f"python -m zoo.train {recipe} --data DIR\n" in text
    assert ModelCard(text).data.datasets == ["fer2013", "ferplus"]


def test_all_test_images_may_occur_in_train(name):
    preset = PRESETS[name]
    results = card.read(preset)
    results[None] = {**results[None], "without_duplicates": None}
    text = card.card(preset, results, "a/b")
    assert "every test image also occurs" in text
    assert all(
        each.dataset_config != "without_duplicates"
        for each in ModelCard(text).data.eval_results
    )


def test_a_missing_result_is_refused(folder):
    (folder / "patt_lite.ferplus.public_test.masked.json").unlink()
    with pytest.raises(FileNotFoundError, match="--corruption masked --out"):
        card.read(zoo.info("patt_lite"), folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("sha256", "0" * 64), ("model", "another"), ("corruption", "masked")],
)
def test_a_result_of_something_else_is_refused(folder, key, value):
    path = folder / "patt_lite.ferplus.public_test.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ValueError, match=f"Received: {key}='{value}'. Expected {key}="):
        card.read(zoo.info("patt_lite"), folder)


def test_a_result_of_before_the_weights_or_the_temperature_changed_is_refused(folder):
    preset = zoo.info("patt_lite")
    with pytest.raises(ValueError, match="not a result of .*Received: sha256="):
        card.read(dataclasses.replace(preset, sha256="0" * 64), folder)
    path = folder / "patt_lite.ferplus.public_test.json"
    calibration = dict.fromkeys(
        ("uncalibrated", "stored", "fitted"), {"nll": 1.0, "ece": 12.3}
    )
    temperature = {
        "stored": preset.temperature,
        "fitted": 1.0,
        "validation": {"n": 1, **calibration},
        "all": {"n": 1, **calibration},
    }
    result = {**json.loads(path.read_text()), "temperature": temperature}
    path.write_text(json.dumps(result))
    text = card.card(preset, card.read(preset, folder), "a/b")
    assert "(without the temperature: 12.3 %)" in text
    with pytest.raises(ValueError, match="temperature=0.7.*Expected temperature=1.5"):
        card.read(dataclasses.replace(preset, temperature=1.5), folder)


def test_a_readme_without_the_section_is_refused(tmp_path, monkeypatch):
    preset = zoo.info("patt_lite")
    results = card.read(preset)
    shutil.copytree(tables.ROOT / "tfds_builders", tmp_path / "tfds_builders")
    readme = (tables.ROOT / "README.md").read_text()
    readme = readme.replace("## What it must not be used for", "## Uses")
    (tmp_path / "README.md").write_text(readme)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="Expected 'What it must not be used for'"):
        card.card(preset, results, "a/b")


def test_a_place_that_nothing_fills_is_refused(tmp_path, monkeypatch):
    preset = zoo.info("patt_lite")
    path = tmp_path / "card.md"
    path.write_text("$name and $nonsense")
    monkeypatch.setattr(card, "TEMPLATE", path)
    with pytest.raises(ValueError, match=r"card.md .*Received: \$nonsense. Expected"):
        card.card(preset, card.read(preset), "a/b")
