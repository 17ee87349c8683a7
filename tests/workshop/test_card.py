import ast
import re

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from keras_fer.zoo.presets import PRESETS, read
from tests.marks import rest_medium
from zoo import card, tables
from zoo.shelf import CORRUPTIONS, Shelf

FACTS = read()


def stored(name, corruption=None):
    """A result, as it is on the shelf."""
    return Shelf().evaluations(name)[corruption]


def written(name, **changes):
    """The card of a preset."""
    results = {**Shelf().evaluations(name), **changes.pop("results", {})}
    return card.card({**FACTS[name], **changes}, results, "somebody/some-repo")


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


@pytest.fixture(params=rest_medium(FACTS))
def name(request):
    return request.param


@pytest.fixture
def text(name):
    return written(name)


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
    parts = (everything, fresh, result["balanced"]["all"])
    assert [row[1:] for row in scores[1:4]] == [
        [interval(values, metric) for values in parts] for metric in metrics
    ]
    assert f"to the power of {result['balanced']['tau']:g}." in text
    assert scores[5 : 5 + size] == [
        [f"<code>{label}</code>"]
        + [f"{row[metric]:.1f}" for metric in ("precision", "recall", "f1")]
        + [f"{row['support']:,}"]
        for label, row in everything["per_class"].items()
    ]
    assert [row[1:] for row in scores[6 + size :]] == [
        [f"{count:,}" for count in row] for row in everything["confusion"]
    ]
    harder = rows(text, "Masked, occluded and corrupted images")[1:]
    assert [row[0] for row in harder] == ["as they are", *CORRUPTIONS]
    for row, corruption in zip(harder, (None, *CORRUPTIONS), strict=True):
        values = stored(name, corruption)["all"]
        assert row[1:3] == [interval(values, metric) for metric in metrics[:2]]
        assert row[3] == f"{values['ece']:.1f}"
    assert f"calibration error: {everything['ece']:.1f} %" in text
    assert f"likelihood: {everything['nll']:.3f}" in text
    assert f"temperature of {PRESETS[name].temperature:g}," in text


def test_it_says_what_it_must(name, text):
    preset = PRESETS[name]
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
        FACTS[name]["paper"]["bibtex"],
        FACTS[name]["difference"]["text"],
        "@inproceedings{goodfellow2013challenges,",
    ):
        assert said in text
    readme = (tables.ROOT / "README.md").read_text()
    for common in (tables.out_of_scope(), FACTS[name]["difference"]["text"]):
        assert common in text and common in readme
    assert not re.search(r"\$\w|<!--|None|\bnan\b", text)


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
        assert command.replace(FACTS[name]["recipe"], "patt_lite_ferplus") in readme


def test_what_it_started_from_is_said():
    text = written("patt_lite.fer2013")
    assert "It started from `patt_lite.ferplus`, which was trained on FER2013" in text
    assert "python -m zoo.train patt_lite_fer2013 --data DIR\n" in text
    assert ModelCard(text).data.datasets == ["fer2013", "ferplus"]
    assert "It started from ImageNet weights" in written("patt_lite.ferplus")


def test_all_test_images_may_occur_in_train(name):
    clean = {**stored(name), "without_duplicates": None}
    text = written(name, results={None: clean})
    assert "every test image also occurs" in text
    assert all(
        each.dataset_config != "without_duplicates"
        for each in ModelCard(text).data.eval_results
    )


def test_what_the_temperature_changed_is_said(name):
    before = stored(name)["temperature"]["all"]["uncalibrated"]["ece"]
    assert f"(without the temperature: {before:.1f} %)" in written(name)


def test_a_placeholder_that_nothing_fills_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "card.md"
    path.write_text("$name and $nonsense")
    monkeypatch.setattr(card, "TEMPLATE", path)
    with pytest.raises(ValueError, match=r"card.md has .* nothing fills: \$nonsense"):
        written("patt_lite.ferplus")
