"""Publishing: copies, the table, and that the documents say what the repository's own results say."""

import errno
import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import separable, small_benchmark
from PIL import Image
from torch import nn

import focil
from focil.__main__ import main
from focil.base.files import WriteError
from focil.evaluation.published import PUBLISHED, Published
from focil.figures import style
from focil.memo.table import TITLES
from focil.reports import reference
from focil.reports.reference import PublishError, publish, thinned
from focil.reports.reference_tables import answerer_rows, devices, effect_rows, memory_rows, online_rows
from focil.runs.results import ResultsError, read_results, shortened
from focil.studies.audit.audit import leading

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "outputs" / "reference"
BYTES = {"cifar100": 3 * 32 * 32, "tiny-imagenet": 3 * 64 * 64}  # of an image that others store


def network(image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for seed in (0, 1):
        out, benchmark = folder / "small" / f"seed-{seed}", small_benchmark(backbone="own")
        focil.run(benchmark, seed=seed, out=out, data=separable(), backbone=network)
    (folder / "small" / "seed-0" / "figures").mkdir()
    (folder / "small" / "seed-0" / "figures" / "accuracy-curves.png").write_bytes(b"png")
    return folder


def test_results_are_copied_with_their_table(outputs, tmp_path):
    publish(outputs, tmp_path, ["small"])
    for seed in (0, 1):
        run = Path("small") / f"seed-{seed}" / "result.json"
        kept, whole = (json.loads((folder / run).read_text()) for folder in (tmp_path, outputs))
        assert kept == thinned(whole, whole=seed == 0)
    assert (tmp_path / "small" / "summary.png").exists()
    assert (tmp_path / "small" / "seed-0" / "figures" / "accuracy-curves.png").exists()
    assert not list(tmp_path.rglob("*.pt"))
    text = (tmp_path / "README.md").read_text()
    accuracies = [result["accuracy"] for result in read_results(outputs / "small")]
    values = [accuracy["sample-experts"]["final_average"] for accuracy in accuracies]
    assert re.search(rf"\| experts \| {100 * sum(values) / 2:.1f} \+- [0-9.]+ \| .* \| 0\.0\d \|", text)
    assert "--seed 0 1 --threads 1" in text


def test_a_result_is_told_with_the_machine_that_its_trainings_came_from():
    card = {"device": "a card", "trainings": ["seed-0/a", "seed-0/b"]}
    chip = {"device": "a chip", "trainings": ["seed-0/c"]}
    written = {"device": "a laptop"}
    assert devices(written) == devices(written | {"workers": []}) == "a laptop"
    assert devices(written | {"workers": [card]}) == "a card"
    assert devices(written | {"workers": [chip, card]}) == "2 trainings on a card, 1 training on a chip"


def test_one_picture_says_who_is_best_over_the_budgets_of_several_studies(tmp_path):
    (tmp_path / "reference").mkdir()
    for name in ("memo-cifar100-epochs", "memo-cifar100-b50-epochs"):
        shutil.copytree(REFERENCE / name, tmp_path / "reference" / name)
    publish(tmp_path, tmp_path / "reference", [])
    assert not list((tmp_path / "reference").glob("*.png"))  # one has another order of tasks
    name = "memo-cifar100-epochs-resnet32"
    shutil.copytree(REFERENCE / name, tmp_path / "reference" / name)
    publish(tmp_path, tmp_path / "reference", [])
    (picture,) = (tmp_path / "reference").glob("*.png")
    assert picture.name == "cifar100-in-10-tasks-by-epochs.png"
    assert style.alt_of(picture) == style.alt_of(REFERENCE / picture.name)


def test_one_seed_has_no_summary(outputs, tmp_path):
    shutil.copytree(outputs / "small" / "seed-0", tmp_path / "outputs" / "small" / "seed-0")
    publish(tmp_path / "outputs", tmp_path / "reference", ["small"])
    kept = {path.name for path in (tmp_path / "reference" / "small").iterdir()}
    assert "seed-0" in kept and "summary.png" not in kept


def test_numbers_of_all_seeds_are_kept_and_the_story_of_one(outputs):
    result = json.loads((outputs / "small" / "seed-1" / "result.json").read_text())
    one, other = (thinned(result, whole) for whole in (True, False))
    assert one == shortened({key: value for key, value in result.items() if key != "capacity"})
    assert len(json.dumps(other)) < 0.6 * len(json.dumps(result))
    for name, report in result["accuracy"].items():
        assert "matrix" not in other["accuracy"][name] and "matrix" in one["accuracy"][name]
        for measure in ("final_average", "average_incremental", "backward_transfer", "forgetting"):
            assert other["accuracy"][name][measure] == pytest.approx(report[measure], rel=1e-5, abs=1e-9)
    shown = result | {"benchmark": result["benchmark"] | {"name": "digits-5"}}  # with a picture of occupancy
    assert "capacity" in thinned(shown, whole=True) and "capacity" not in thinned(shown, whole=False)
    assert [task["lr"] for task in other["search"]] == [task["lr"] for task in result["search"]]
    many = thinned(result | {"test_images": [10] * 21}, whole=True)
    told = {name for name, report in many["accuracy"].items() if "matrix" in report}
    assert {name.split("-")[0] for name in told} == {"sample", "oracle"} and len(told) == 2
    assert set(many["routing"]) == {name for name in told if "oracle" not in name}


def test_runs_with_other_numbers_of_threads_are_told_apart(outputs, tmp_path):
    for seed, threads in ((0, 2), (1, 1), (2, 1)):
        result = json.loads((outputs / "small" / "seed-0" / "result.json").read_text())
        result["seed"], result["seconds"]["train"] = seed, 10.0 * (seed + 1)
        result["benchmark"]["threads"] = threads
        folder = tmp_path / "outputs" / "small" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
    publish(tmp_path / "outputs", tmp_path / "reference", ["small"])
    text = (tmp_path / "reference" / "README.md").read_text()
    assert "--seed 0 --threads 2\n" in text and "--seed 1 2 --threads 1\n" in text
    assert "10.0 s a run on 2 cores and 25.0 s a run on 1 core" in text


def test_what_others_published_is_drawn_beside_ours(outputs, tmp_path):
    shutil.copytree(outputs / "small", tmp_path / "outputs" / "mnist-5")
    publish(tmp_path / "outputs", tmp_path / "reference", ["mnist-5"])
    with Image.open(tmp_path / "reference" / "mnist-5" / "comparison.png") as picture:
        assert "FOCIL, released code 77.8" in picture.info["Description"]


def test_splits_of_the_same_data_are_drawn_together(outputs, tmp_path):
    for tasks in (3, 6):
        folder = tmp_path / "outputs" / f"small-{tasks}" / "seed-0"
        folder.mkdir(parents=True)
        result = json.loads((outputs / "small" / "seed-0" / "result.json").read_text())
        result["benchmark"] |= {"name": f"small-{tasks}", "tasks": tasks, "data": "cifar100"}
        for who in ("router", "both"):
            key = "sample" if who == "both" else f"sample-{who}"
            result["accuracy"][key] = result["accuracy"]["sample-experts"] | {"final_average": tasks / 10}
        (folder / "result.json").write_text(json.dumps(result))
    picture = tmp_path / "reference" / "cifar100-by-tasks.png"
    publish(tmp_path / "outputs", tmp_path / "reference", ["small-3"])
    assert not picture.exists()  # one split alone shows nothing
    other = tmp_path / "outputs" / "small-larger" / "seed-0"
    shutil.copytree(tmp_path / "outputs" / "small-6" / "seed-0", other)
    result = json.loads((other / "result.json").read_text())
    result["benchmark"]["focil"]["router_megabytes"] = 45
    result["benchmark"]["name"] = "small-larger"
    (other / "result.json").write_text(json.dumps(result))
    publish(tmp_path / "outputs", tmp_path / "reference", ["small-larger"])
    assert not picture.exists()  # a router with other bytes is no other split
    publish(tmp_path / "outputs", tmp_path / "reference", ["small-6"])
    with Image.open(picture) as drawn:
        said = drawn.info["Description"]
    assert "the router: 30.0 % in 3 tasks, 60.0 % in 6 tasks" in said and "EFC++ † " in said


def test_the_command_line_publishes_and_refuses_what_is_not_there(outputs, capsys):
    assert main(["publish", "small", "--out", str(outputs)]) == 0
    assert (outputs / "reference" / "README.md").exists()
    assert main(["publish", "absent", "--out", str(outputs)]) == 1
    assert "no finished run" in capsys.readouterr().err
    with pytest.raises(PublishError):
        publish(outputs, outputs / "elsewhere", ["absent"])


def test_a_path_is_no_name_and_nothing_is_lost(outputs):
    before = sorted(outputs.rglob("*"))
    for path in (str((outputs / "small").resolve()), "../small", "."):
        with pytest.raises(PublishError, match="is a path"):
            publish(outputs, outputs / "reference", [path])
    assert sorted(outputs.rglob("*")) == before


def test_a_full_disk_leaves_what_was_published(outputs, tmp_path, monkeypatch):
    publish(outputs, tmp_path, ["small"])
    (tmp_path / "empty").mkdir()  # nobody is disturbed by a folder without results

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(reference, "_write", full)
        with pytest.raises(WriteError, match="disk filled up"):
            publish(outputs, tmp_path, ["small"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    publish(outputs, tmp_path, ["small"])
    assert "## empty" not in (tmp_path / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "empty", "small"]


def test_a_study_that_cannot_be_read_leaves_what_was_published(tmp_path):
    for folder in ("study", "reference/study"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "result.json").write_text('{"benchmark"')
    with pytest.raises(ResultsError):
        publish(tmp_path, tmp_path / "reference", ["study"])
    assert (tmp_path / "reference" / "study" / "result.json").exists()


def document(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_the_results_page_says_what_the_reference_results_say():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", document("results"), re.MULTILINE)
    cells = [(name, *(cell.strip().strip("*") for cell in row.split("|"))) for name, row in rows]
    # The tables of protocols and of others have fewer columns.
    said = {row for row in cells if len(row) == 7}
    published = [
        path.name
        for path in REFERENCE.iterdir()
        if path.is_dir() and not path.name.endswith("-development") and not (path / "result.json").exists()
    ]
    results = {name: read_results(REFERENCE / name) for name in published}
    told = [(name, len(found), answerer_rows(found)) for name, found in results.items()]
    assert said == {(name, str(count), *row) for name, count, rows in told for row in rows}


def test_the_audit_page_says_what_the_audits_found():
    rows = re.findall(r"^\| (R\d+) \|([^|]*)\|(.*)\|$", document("audit"), re.MULTILINE)
    said = {
        number: (name.strip(), [cell.strip() for cell in cells.split("|")])
        for number, name, cells in rows
        if cells.count("|") == 5
    }
    found = {}
    for column, data in enumerate(("digits", "mnist", "cifar100")):
        result = json.loads((REFERENCE / f"audit-{data}" / "result.json").read_text())
        for number, name, *cells in effect_rows(result):
            found.setdefault(number, (name, [""] * 6))[1][2 * column : 2 * column + 2] = cells[:2]
    assert said == found and len(said) == 10


def test_text_and_figures_of_the_audits_rank_by_the_same_rule():
    rows = re.findall(r"^\| ([^|]+) \| (R\d+) \| (R\d+) \| (R\d+) \|$", document("audit"), re.MULTILINE)
    said = {data.split(",")[0].lower().replace("-", ""): ranked for data, *ranked in rows}
    assert said.keys() == {"digits", "mnist", "cifar100"}
    for data, ranked in said.items():
        folder = REFERENCE / f"audit-{data}"
        result = json.loads((folder / "result.json").read_text())
        assert ranked == leading(result["effects"]) == result["leading"]
        title = style.alt_of(folder / "worth.png").split(". ")[0]
        assert re.findall(r"(R\d+) ", title) == ranked


def test_the_memory_page_says_what_the_studies_of_equal_memory_found():
    tables = [
        [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", document("memory"), re.MULTILINE)
    ]
    published = {
        path.parent.name: memory_rows(json.loads(path.read_text()))
        for path in REFERENCE.glob("memo-*/result.json")
    }
    map_ = "memo-cifar100-epochs"
    maps = (map_, f"{map_}-resnet32", "memo-cifar100-b50-epochs")
    told = [  # without what all rows of a table have in common
        [(epochs, method, stored, *found) for _, epochs, method, _, stored, _, *found in published[name]]
        for name in maps
    ]
    digits, cifar100 = published["memo-digits"], published["memo-cifar100-b0-inc10-cpu"]
    who, *others, freezing = tables
    assert {row[0] for row in who} <= set(TITLES.values())
    assert others == [[row[1:] for row in digits], cifar100, *told]
    pairs = (f"{map_}-frozen", map_), ("memo-cifar100-b50-epochs", "memo-cifar100-b50-epochs-trained")
    for row, pair in zip(freezing, pairs, strict=True):
        both = [
            row for name in pair for row in published[name] if row[1] == "20" and row[2] == TITLES["memo"]
        ]
        assert row[1:] == tuple(found[which] for which in (6, 7) for found in both)


def test_the_documents_say_what_the_studies_of_online_methods_found():
    text = document("online")
    table = r"### `(online-[a-z0-9-]+)`.*?\n\|[^\n]*\n\|[-|]*\n((?:\|[^\n]*\n)+)"
    tables = {
        name: {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines.splitlines()}
        for name, lines in re.findall(table, text, re.DOTALL)
    }
    published = {path.parent.name: path for path in REFERENCE.glob("online-*/result.json")}
    assert tables == {
        name: set(online_rows(json.loads(path.read_text()))) for name, path in published.items()
    }


def test_the_results_page_says_what_others_published():
    row = r"^\| (`[^|]*`) \| ([^|]*) \| `([a-z-]+)` \| ([^|]*) \| ([^|]*) \|$"
    said = {(tuple(re.findall("`(.*?)`", names)), *cells) for names, *cells in _rows(row)}
    shown: dict[Published, tuple[str, ...]] = {}
    for name, entries in PUBLISHED.items():
        for entry in entries:
            shown[entry] = (*shown.get(entry, ()), name)
    assert said == {
        (names, entry.name, entry.protocol, _accuracy(entry), _stored(entry, names[0]))
        for entry, names in shown.items()
    }
    assert all(entry.name.endswith("†") != entry.read for entry in shown)


def _rows(pattern: str) -> list[tuple[str, ...]]:
    return re.findall(pattern, document("results"), re.MULTILINE)


def _accuracy(entry: Published) -> str:
    return f"{entry.accuracy:.1f}" + ("" if entry.half is None else f" +- {entry.half:.1f}")


def _stored(entry: Published, name: str) -> str:
    if not entry.stored:
        return "not stated" if entry.stored is None else "0"
    return f"{entry.stored} ({entry.stored * BYTES[name.rpartition('-')[0]] / 1e6:.1f} MB)"


def test_published_results_are_honest_about_themselves():
    for path in REFERENCE.glob("*/seed-*/result.json"):
        result = json.loads(path.read_text())
        assert result["benchmark"]["name"] == path.parent.parent.name
        assert f"seed-{result['seed']}" == path.parent.name
        assert not result["provenance"]["commit"].endswith("-dirty"), path
        assert result["verified"]["equal"]
        if "search" in result:
            assert result["accuracy"]["oracle-experts"]["forgetting"] == 0
        learned = result["search"] if "search" in result else result["learned"]
        assert {task["draws_per_sample"] for task in learned} == {1}


def test_published_studies_are_honest_about_themselves():
    for path in REFERENCE.glob("*/result.json"):
        result = json.loads(path.read_text())
        assert result["benchmark"]["name"] == path.parent.name
        assert not result["provenance"]["commit"].endswith("-dirty"), path


def test_the_reference_is_small():
    assert sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file()) < 5_000_000
