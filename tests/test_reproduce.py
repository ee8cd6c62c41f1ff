"""From params to an executed notebook, by the real runner and the real command line."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill
import pytest

import focil
from focil.__main__ import main
from focil.base.places import shipped
from focil.engine.worker import Progress
from focil.reports import execute as execution
from focil.reports.execute import SO_FAR, ReproduceError, execute
from focil.reports.reproduce import is_complete
from focil.runs.online import answered
from focil.runs.sources import load_data

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = shipped("notebooks")
TEMPLATE, NOTEBOOK, PAGE = TEMPLATES / "benchmark.ipynb", "benchmark.ipynb", "benchmark.html"
SMALL = (
    "config:\n  name: small\n  data: digits\n  tasks: 2\n  threads: 1\n  device: cpu\n  focil: {sparsities: "
    "[0.9], learning_rates: [0.1, 0.2], first_rung: 4}\n"
)


def executed_in_order(notebook):
    """Every cell of code has run, in order, and nothing was said on stderr."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    streams = [output for cell in cells for output in cell.outputs if output.output_type == "stream"]
    assert not [output for output in streams if output.name == "stderr"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The smallest params file of the repository, run by `python -m focil run` in a new process."""
    outputs = tmp_path_factory.mktemp("outputs")
    command = [
        sys.executable,
        "-m",
        "focil",
        "run",
        str(ROOT / "params" / "digits-5.yaml"),
        "--out",
        str(outputs),
        "--seed",
        "3",
        "--threads",
        "1",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    # One bar over all runs of the command.
    assert "digits-5:" in answer.stderr and "image/s" in answer.stderr
    return outputs / "digits-5" / "seed-3", answer.stdout


def test_the_run_folder_is_whole(executed):
    out, printed = executed
    result = json.loads((out / "result.json").read_text())
    assert (
        result["seed"] == 3
        and result["benchmark"]["name"] == "digits-5"
        and result["verified"]["process"] == "new"
    )
    assert (
        result["accuracy"]["oracle-experts"]["final_average"] > 0.9
    )  # digits in pairs are easy once the task is given
    assert f"{100 * result['accuracy']['sample-experts']['final_average']:.1f} %" in printed
    assert {path.name for path in out.iterdir()} == {
        "experts.pt",
        "scores.pt",
        "result.json",
        "figures",
        NOTEBOOK,
        PAGE,
    }
    assert len(list((out / "figures").glob("*.png"))) >= 8


def test_the_notebook_ran_every_cell_in_order(executed):
    notebook = nbformat.read(executed[0] / NOTEBOOK, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]


def test_every_picture_of_the_page_has_an_alternative_text(executed):
    pictures = re.findall(r"<img[^>]*>", (executed[0] / PAGE).read_text())
    assert len(pictures) >= 8
    assert all(len(re.search(r'alt="([^"]*)"', picture)[1]) > 40 for picture in pictures)


def test_the_page_needs_no_network(executed):
    page = (executed[0] / PAGE).read_text()
    assert "<script" not in page and not re.search(r'<(?:img|link|iframe)[^>]* (?:src|href)="(?!data:)', page)


def test_a_complete_run_is_not_repeated_and_an_incomplete_one_is(executed, capsys):
    out, _ = executed
    benchmark = focil.read_params(ROOT / "params" / "digits-5.yaml", device="cpu")
    assert is_complete(out, benchmark, {"seed": 3})
    assert not is_complete(out, benchmark, {"seed": 4})
    assert not is_complete(out, benchmark.model_copy(update={"tasks": 2}), {"seed": 3})
    assert (
        main(["run", str(ROOT / "params" / "digits-5.yaml"), "--out", str(out.parent.parent), "--seed", "3"])
        == 0
    )
    assert "nothing to do" in capsys.readouterr().out
    page = (out / PAGE).rename(out / "moved")
    assert not is_complete(out, benchmark, {"seed": 3})
    page.rename(out / PAGE)


def test_verify_and_list_read_the_folder(executed, capsys):
    out, _ = executed
    assert main(["verify", str(out)]) == 0
    assert "5 experts" in capsys.readouterr().out
    assert main(["list", "--params", str(ROOT / "params"), "--out", str(out.parent.parent)]) == 0
    listed = capsys.readouterr().out
    assert "mnist-5: mnist, 5 tasks, mlp" in listed and "sample-experts" in listed


def test_papermill_by_hand_takes_the_params_file(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(TEMPLATE),
        "ran.ipynb",
        "-f",
        "small.yaml",
        "-p",
        "out",
        "run",
        "--no-progress-bar",
    ]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["benchmark"]["tasks"] == 2


def test_a_failed_run_is_kept_beside_and_explained(tmp_path):
    with pytest.raises(ReproduceError, match=r"(?s)FolderError.*is a file.*part\.ipynb"):
        (tmp_path / "file").write_text("")
        config = focil.Benchmark(name="x", data="digits", tasks=5).model_dump(mode="json")
        execute(TEMPLATE, tmp_path / "out", {"config": config, "out": str(tmp_path / "file" / "run")})
    assert [path.name for path in (tmp_path / "out").iterdir()] == [NOTEBOOK.replace(".ipynb", ".part.ipynb")]


def test_a_notebook_that_is_gone_with_its_worker_is_not_named(tmp_path, monkeypatch):
    def fails(template, folder, *_):
        raise ReproduceError(f"ValueError: bad\n({SO_FAR.format(folder.resolve() / 'benchmark.part.ipynb')})")

    monkeypatch.setattr(execution, "execute", fails)
    benchmark = focil.Benchmark(name="x", data="digits", tasks=5)
    given = {"config": benchmark.model_dump(mode="json"), "out": "elsewhere"}, load_data(benchmark).checksum
    with pytest.raises(ReproduceError) as caught:
        execution.execute_in_worker("benchmark", (tmp_path / "unseen", "token"), *given, Progress())
    assert str(caught.value) == "ValueError: bad\n(its notebook is gone with the worker's folder)"


def test_a_misspelt_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ReproduceError, match="no parameter sed"):
        execute(TEMPLATE, tmp_path / "out", {"config": {}, "sed": 1})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "params/absent.yaml"], "cannot read"),
        (["run", "bad.yaml"], "unknown key 'taks'; did you mean 'tasks'"),
        (["verify", "nowhere"], "holds no run"),
    ],
)
def test_errors_are_one_paragraph_without_traceback(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("config: {name: bad, data: digits, taks: 5}\n")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("focil: ") and said in error and "Traceback" not in error


@pytest.mark.parametrize("seed", ["-1", "x", "1.5"])
def test_a_wrong_seed_is_refused(seed, capsys):
    with pytest.raises(SystemExit):
        main(["run", "params/digits-5.yaml", "--seed", seed])
    assert "seed" in capsys.readouterr().err


def test_every_template_is_inspected_for_its_parameters():
    assert set(papermill.inspect_notebook(TEMPLATE)) == {"config", "seed", "out"}
    for study in ("audit", "memory", "layers"):
        assert set(papermill.inspect_notebook(TEMPLATES / f"{study}.ipynb")) == {
            "config",
            "seeds",
            "out",
        }


def of_one_cell(tmp_path, code):
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path / "written.ipynb"
    )
    return tmp_path / "written.ipynb"


def test_a_folder_for_temporary_files_with_a_long_name_is_no_hindrance(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    execute(of_one_cell(tmp_path, "print(1)"), tmp_path / "out", {})
    assert (tmp_path / "out" / "written.html").exists()


def test_a_notebook_whose_process_was_killed_is_explained(tmp_path):
    with pytest.raises(ReproduceError, match="memory ran out"):
        execute(of_one_cell(tmp_path, "import os; os.kill(os.getpid(), 9)"), tmp_path / "out", {})


def test_what_a_kernel_left_is_cleared_and_what_is_nobodys_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(execution, "LONGEST", 1000)
    monkeypatch.setattr(execution, "_alive", lambda process: process == 2)
    names = [f"{execution.SOCKETS}{rest}" for rest in ("1-abc", "2-abc", "notes", "")]
    for name in names:
        (tmp_path / name).mkdir()
    assert Path(execution.IpcKernelManager().connection_file).is_relative_to(tmp_path)
    assert [(tmp_path / name).exists() for name in names] == [False, True, True, True]


# An audit: one notebook for all seeds

AUDIT = """config:
  name: tiny
  data: digits
  tasks: 5
  threads: 1
  device: cpu
  focil: {sparsities: [0.9], learning_rates: [0.1, 0.2], first_rung: 4}
  audit: {shortcuts: [R1, R3]}
"""
ARMS = ["ours", "ours + R1", "ours + R3", "release", "release - R1", "release - R3"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A tiny audit, run by the command line's main: folder of params, folder of outputs."""
    root = tmp_path_factory.mktemp("audited")
    (root / "params").mkdir()
    (root / "params" / "tiny.yaml").write_text(AUDIT)
    assert audit(root, 0, 1) == 0
    return root


def audit(root, *seeds):
    return main(
        [
            "run",
            str(root / "params" / "tiny.yaml"),
            "--seed",
            *map(str, seeds),
            "--out",
            str(root / "outputs"),
        ]
    )


def test_an_audit_is_one_notebook_for_all_seeds(audited):
    out = audited / "outputs" / "tiny"
    assert {path.name for path in out.iterdir()} == {
        "seed-0",
        "seed-1",
        "result.json",
        "figures",
        "audit.ipynb",
        "audit.html",
    }
    drawn = {path.stem for path in (out / "figures").iterdir()}
    assert (
        {"worth", "levels", "backward"} <= drawn <= {"worth", "levels", "backward", "backward-most"}
    )  # the last if another arm forgets more
    trained = ["ours+R3.json", "ours.json", "release-R3.json", "release.json"]
    assert all(sorted(path.name for path in (out / f"seed-{seed}").iterdir()) == trained for seed in (0, 1))
    result = json.loads((out / "result.json").read_text())
    assert result["seeds"] == [0, 1] and list(result["arms"]) == ARMS
    executed_in_order(out / "audit.ipynb")


def test_every_picture_of_an_audit_s_page_has_an_alternative_text(audited):
    out = audited / "outputs" / "tiny"
    pictures = re.findall(r"<img[^>]*>", (out / "audit.html").read_text())
    assert len(pictures) == len(list((out / "figures").iterdir()))
    assert all(len(re.search(r'alt="([^"]*)"', picture)[1]) > 40 for picture in pictures)


def test_an_audit_s_page_says_what_cannot_act_and_what_was_not_asked(audited):
    page = (audited / "outputs" / "tiny" / "audit.html").read_text()
    assert (
        "R9 cannot act here: no crop or flip in training" in page and "R12 is not part of this audit" in page
    )
    assert "8 trainings to do" in page and "focil/masks.py:" in page


def test_a_complete_audit_is_not_repeated_and_its_arms_are_listed(audited, capsys):
    page = audited / "outputs" / "tiny" / "audit.html"
    before = page.stat()
    assert audit(audited, 0, 1) == 0
    said = capsys.readouterr().out
    assert "nothing to do" in said and page.stat().st_mtime_ns == before.st_mtime_ns
    assert main(["list", "--params", str(audited / "params"), "--out", str(audited / "outputs")]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert (
        listed[0] == "tiny: digits, 5 tasks, mlp, audit"
        and [line[2:16].strip() for line in listed[1:]] == ARMS
    )
    assert all(line in said and line.endswith("n = 2") for line in listed[1:])


def test_other_seeds_of_an_audit_continue_it(audited, tmp_path):
    shutil.copytree(audited, tmp_path, dirs_exist_ok=True)
    out = tmp_path / "outputs" / "tiny"
    trained = sorted(out.glob("seed-[01]/*.json"))
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in trained]
    first = json.loads((out / "result.json").read_text())["arms"]
    assert len(trained) == 8 and audit(tmp_path, 0, 2) == 0
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in trained] == before
    result = json.loads((out / "result.json").read_text())
    assert result["seeds"] == [0, 2] and len(list((out / "seed-2").glob("*.json"))) == 4
    assert all(reports[0] == first[name][0] for name, reports in result["arms"].items())
    assert "4 trainings to do" in (out / "audit.html").read_text()


def test_an_audit_of_other_settings_is_refused_in_one_paragraph(audited, tmp_path, capsys):
    shutil.copytree(audited, tmp_path, dirs_exist_ok=True)
    (tmp_path / "params" / "tiny.yaml").write_text(AUDIT.replace("first_rung: 4", "first_rung: 5"))
    assert audit(tmp_path, 0) == 1
    error = capsys.readouterr().err
    assert "another study" in error and "--fresh" in error and "Traceback" not in error
    assert json.loads((tmp_path / "outputs" / "tiny" / "result.json").read_text())["seeds"] == [0, 1]


# Studies of equal memory and of depth

STUDIES = {
    "memory": """config:
  name: tiny
  data: digits
  tasks: 2
  threads: 1
  device: cpu
  memory:
    methods: [finetune, replay, memo]
    network: convnet2
    points: [{network: convnet2, exemplars: 50, anchor: each}]
    training: {epochs: 2, batch_size: 64, lr: 0.05, aligning: shrink}
""",
    "layers": """config:
  name: tiny
  data: digits
  tasks: 2
  threads: 1
  device: cpu
  focil: {sparsities: [0.9], learning_rates: [0.1, 0.2], first_rung: 4, router: none}
  layers:
    network: convnet2
    exemplars: 50
    training: {epochs: 2, batch_size: 64, lr: 0.05, aligning: shrink}
""",
    "online": """config:
  name: tiny
  data: digits
  tasks: 2
  threads: 1
  device: cpu
  focil: {sparsities: [0.9], learning_rates: [0.1, 0.2], first_rung: 4, router: none}
  online: {methods: [focil, slda, ncm], exemplars: [50]}
""",
}
TRAINED = {
    "memory": ["finetune-convnet2-0", "replay-convnet2-50", "memo-convnet2-50"],
    "layers": ["der", "memo", "focil"],
    "online": ["focil", "slda", "ncm"],
}
TRIALS = {f"slda-trial-{number}" for number in range(8)}
PICTURES = {
    "memory": {"stages", "confusion", "over-memory", "account", "blocks", "similarity"},
    "layers": {"blocks", "similarity", "occupancy-by-depth", "experts"},
    "online": {"over-bytes", "over-bytes-oracle", "less-ours", "by-task", "costs"},
}


@pytest.fixture(scope="module", params=STUDIES)
def studied(request, tmp_path_factory):
    """A tiny study, run by the command line's main.

    Its kind, folder of params and outputs, and what was printed.
    """
    root = tmp_path_factory.mktemp(request.param)
    (root / "params").mkdir()
    (root / "params" / "tiny.yaml").write_text(STUDIES[request.param])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert audit(root, 0) == 0
    return request.param, root, printed.getvalue()


def test_a_study_is_one_notebook_with_its_pictures(studied):
    kind, root, _ = studied
    out = root / "outputs" / "tiny"
    assert {path.name for path in out.iterdir()} == {
        "seed-0",
        "result.json",
        "figures",
        f"{kind}.ipynb",
        f"{kind}.html",
    }
    assert {path.stem for path in (out / "figures").iterdir()} == PICTURES[kind]
    made = {*TRAINED[kind], *(TRIALS if kind == "online" else ())}
    assert {path.name for path in (out / "seed-0").iterdir()} == {
        f"{name}.json" for name in made
    }  # and no checkpoint
    executed_in_order(out / f"{kind}.ipynb")
    pictures = re.findall(r"<img[^>]*>", (out / f"{kind}.html").read_text())
    assert len(pictures) == len(PICTURES[kind]) and all(
        len(re.search(r'alt="([^"]*)"', picture)[1]) > 40 for picture in pictures
    )


def test_a_study_s_numbers_are_printed_and_listed(studied, capsys):
    kind, root, printed = studied
    result = json.loads((root / "outputs" / "tiny" / "result.json").read_text())
    assert result["seeds"] == [0] and list(result["runs"]) == TRAINED[kind]
    for name, (report,) in result["runs"].items():
        if kind == "online":
            share = report["accuracy"][answered(report)]["final_average"]
            assert re.search(rf"^  {report['title']} +{100 * share:.1f} ", printed, re.MULTILINE)
            continue
        assert re.search(rf"^  {name} +last .*{100 * report['last']:.1f} %", printed, re.MULTILINE)
        if name.startswith(("finetune", "memo", "der")):
            assert len(report["layers"]) == 2 and all(
                block["shift"] > 0 for task in report["layers"] for block in task.values()
            )
    assert main(["list", "--params", str(root / "params"), "--out", str(root / "outputs")]) == 0
    listed = capsys.readouterr().out.splitlines()
    networks = {"memory": "convnet2", "layers": "convnet2, mlp", "online": "mlp"}[kind]
    heading = ["method"] if kind == "online" else []
    assert listed[0] == f"tiny: digits, 2 tasks, {networks}, {kind}"
    assert [line.split()[0].lower() for line in listed[1:]] == [*heading, *TRAINED[kind]]


def test_a_complete_study_is_not_repeated(studied, capsys):
    kind, root, _ = studied
    page = root / "outputs" / "tiny" / f"{kind}.html"
    before = page.stat().st_mtime_ns
    assert audit(root, 0) == 0
    assert "nothing to do" in capsys.readouterr().out and page.stat().st_mtime_ns == before


def test_a_study_s_page_says_who_has_what(studied):
    kind, root, _ = studied
    page = (root / "outputs" / "tiny" / f"{kind}.html").read_text()
    if kind == "memory":
        assert (
            "no common budget" in page
            and "3 trainings to do" in page
            and "MEMO less replay, last accuracy" in page
        )
        assert re.search(r"memo +convnet2 +50 exemplars +302,720 bytes after the last task", page)
    elif kind == "layers":
        assert "shift per weight" in page and "CKA" in page
    else:
        assert "8 trials, then each method, with 50 images stored" in page and re.search(
            r"slda +8 trials, .*ridge", page
        )


def test_a_study_is_published_with_its_table(studied, capsys):
    kind, root, _ = studied
    assert main(["publish", "tiny", "--out", str(root / "outputs")]) == 0
    reference = root / "outputs" / "reference"
    assert {path.name for path in (reference / "tiny").iterdir()} == {
        "result.json",
        *(f"{name}.png" for name in PICTURES[kind]),
    }
    text = (reference / "README.md").read_text()
    assert "## tiny" in text and "params/tiny.yaml --seed 0\n" in text and "n = 1" in text
    (report,) = json.loads((reference / "tiny" / "result.json").read_text())["runs"][TRAINED[kind][1]]
    last = report["accuracy"][answered(report)]["final_average"] if kind == "online" else report["last"]
    assert f"{100 * last:.1f}" in text


# Another method


def test_another_method_s_notebook_has_what_all_methods_have(tmp_path, capsys):
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "tiny.yaml").write_text(
        """config:
  extends: digits-5
  name: tiny
  tasks: 2
  threads: 1
  device: cpu
  method: er
  online: {exemplars: 50}
"""
    )
    assert audit(tmp_path, 0) == 0
    assert re.search(r"sample-network +\d", capsys.readouterr().out)
    out = tmp_path / "outputs" / "tiny" / "seed-0"
    matrices = {f"accuracy-matrix-{protocol}-network" for protocol in ("oracle", "batch-10", "sample")}
    assert {path.stem for path in (out / "figures").iterdir()} == matrices | {
        "accuracy-curves",
        "routing",
        "competition",
        "memory",
    }
    executed_in_order(out / "benchmark.ipynb")
    page = (out / "benchmark.html").read_text()
    assert "scores of 50 images verified bit for bit in a new process" in page
    assert "What each expert is made of" not in page and "What it costs" in page
    assert main(["verify", str(out)]) == 0
    assert "scores of 50 images are equal bit for bit" in capsys.readouterr().out
    assert main(["publish", "tiny", "--out", str(tmp_path / "outputs")]) == 0
    assert "| network |" in (tmp_path / "outputs" / "reference" / "README.md").read_text()
