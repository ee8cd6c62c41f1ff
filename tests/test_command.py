"""The command line: names, settings, tables and comparisons, answered at once."""

import csv
import io
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from conftest import small_benchmark, write_npz

import focil
from focil.__main__ import SHELLS, main
from focil.base import progress
from focil.evaluation.metrics import mean_interval
from focil.runs.params_files import BenchmarkError, changed, find, networks_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Results of two benchmarks on the same stream, with seeds 0 1 and 1 2, and of one on other data."""
    root = tmp_path_factory.mktemp("command")
    data = write_npz(root / "mine.npz")
    other = write_npz(root / "other.npz", focil.Dataset.from_arrays(*_shifted()))
    for name, path, seeds, changes in (
        ("one", data, (0, 1), {}),
        ("two", data, (1, 2), {"averaging": 0.5}),
        ("other", other, (0,), {}),
    ):
        options = {"sparsities": [0.5], "learning_rates": [0.1], "router_megabytes": 0.05} | changes
        for seed in seeds:
            benchmark = small_benchmark(name=name, data=path, focil=options)
            run(benchmark, seed, root / "outputs" / name / f"seed-{seed}")
    return root / "outputs"


def run(benchmark, seed, out):
    """A run without its checkpoints and the verification in a new process, which are not asked about here."""
    work = focil.Run(out, benchmark, seed)
    for task in work.tasks():
        work.method.learn(task)
        work.evaluation.after(work.method, task.index)
    (out / "result.json").write_text(json.dumps(work.result({"process": "none"})))


def _shifted():
    from conftest import separable

    data = separable(seed=1)
    return data.x_train, data.y_train, data.x_test, data.y_test


def final(outputs, name, seed, key="sample"):
    result = json.loads((outputs / name / f"seed-{seed}" / "result.json").read_text())
    return result["accuracy"][key]["final_average"]


def printed(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main(list(arguments)) == 1
    return capsys.readouterr().err


# Names


def test_params_are_found_by_name_here_first_then_among_those_of_focil(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("digits-5").resolve() == ROOT / "params" / "digits-5.yaml"
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "digits-5.yaml").write_text("config: {}")
    assert find("digits-5") == Path("params/digits-5.yaml")
    assert find("elsewhere/x.yaml") == Path("elsewhere/x.yaml") and find("x.yaml") == Path("x.yaml")
    with pytest.raises(BenchmarkError, match=r"no params called 'digits'; there are .*digits-5.*mnist-5"):
        find("digits")


def test_the_list_shows_the_networks_that_run(capsys):
    lines = printed(capsys, "list", "--params", str(ROOT / "params"), "--out", "nowhere").splitlines()
    assert (
        "memo-cifar100-b0-inc10: cifar100, 10 tasks, resnet32, convnet2, resnet14, resnet20, resnet26, memory"
        in lines
    )
    assert "layers-digits: digits, 5 tasks, resnet14, resnet18, layers" in lines
    assert "cifar100-10: cifar100, 10 tasks, resnet18, focil" in lines
    for path in (ROOT / "params").glob("*.yaml"):
        benchmark = focil.read_params(path)
        assert networks_of(benchmark.model_dump(mode="json")) == networks_of(yaml_of(path)), path


def yaml_of(path):
    from focil.runs.params_files import read_config

    return read_config(path)


def test_an_unknown_folder_of_params_is_an_error(capsys):
    assert "which is no folder" in refused(capsys, "list", "--params", "nowhere")


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"focil {metadata.version('focil')}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_complete_every_command(capsys, shell):
    script = printed(capsys, "completion", shell)
    assert all(command in script for command in ("run", "export", "compare", "--format"))


def test_the_command_line_answers_without_torch():
    code = (
        "import sys; from focil.__main__ import main\n"
        "for arguments in (['list'], ['--help']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "assert not {'torch', 'papermill', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Settings


def test_a_setting_replaces_one_value():
    config = changed({"focil": {"again": 1}}, "focil.averaging=0.99")
    assert changed(config, "tasks=2") == {"focil": {"again": 1, "averaging": 0.99}, "tasks": 2}
    assert changed({}, "focil.sparsities=[0.5, 0.9]") == {"focil": {"sparsities": [0.5, 0.9]}}
    for wrong in ("focil", "=1", "focil.=1", "a=[1", "a=2026-13-01", "a=!!bool maybe", "a=" + "[" * 3000):
        with pytest.raises(BenchmarkError, match="--set"):
            changed({}, wrong)


def run_small(tmp_path, *arguments):
    params = tmp_path / "small.yaml"
    config = {"name": "small", "data": "digits", "tasks": 2, "threads": 1, "device": "cpu"}
    options = {"sparsities": [0.9], "learning_rates": [0.1], "first_rung": 4, "router": "none"}
    params.write_text(yaml.safe_dump({"config": config | {"focil": options}}))
    return main(["run", str(params), "--out", str(tmp_path / "outputs"), *arguments])


def test_settings_are_validated_recorded_and_never_mixed_with_other_results(tmp_path, capsys):
    assert run_small(tmp_path, "--set", "focil.avreaging=0.5") == 1
    assert "did you mean 'averaging'" in capsys.readouterr().err
    assert run_small(tmp_path, "--quiet") == 0
    said = capsys.readouterr()
    assert "sample-experts" in said.out and said.err == ""
    changed_arguments = ("--set", "focil.averaging=0.5", "--set", "focil.again=2")
    assert run_small(tmp_path, *changed_arguments) == 1
    assert "--name small-2" in capsys.readouterr().err
    assert run_small(tmp_path, *changed_arguments, "--name", "small-2", "--verbose") == 0
    said = capsys.readouterr()
    assert "small-2 seed 0, task 1 of 2, mean accuracy in %: oracle-experts" in said.err
    result = json.loads((tmp_path / "outputs" / "small-2" / "seed-0" / "result.json").read_text())
    recorded = result["benchmark"]
    assert (recorded["name"], recorded["focil"]["averaging"], recorded["focil"]["again"]) == (
        "small-2",
        0.5,
        2,
    )
    assert run_small(tmp_path, *changed_arguments, "--name", "small-2") == 0
    assert "complete, nothing to do" in capsys.readouterr().out
    assert run_small(tmp_path, *changed_arguments, "--seed", "1") == 1  # seeds of one name are averaged
    assert "seed-0 holds results of other settings" in capsys.readouterr().err
    mixed = tmp_path / "outputs" / "small" / "seed-1" / "result.json"
    mixed.parent.mkdir()
    mixed.write_text(json.dumps(result | {"seed": 1}))
    assert main(["export", "small", "--out", str(tmp_path / "outputs")]) == 1
    assert "focil.again is 0 with seed 0, 2 with seed 1" in capsys.readouterr().err


def test_a_run_from_python_in_a_folder_of_its_own_can_be_read(tmp_path, capsys):
    benchmark = small_benchmark(data=write_npz(tmp_path / "x.npz"), focil={"router": "none"})
    share = focil.run(benchmark, out=tmp_path / "alone")["accuracy"]["sample-experts"]["final_average"]
    table = printed(capsys, "export", "alone", "--out", str(tmp_path))
    assert f"{100 * share:.1f}" in table


@pytest.mark.parametrize(
    "wrong", [{"memory": 5}, {"layers": [1]}, {"memory": {"points": 5}}, {"backbone": [1]}, None]
)
def test_a_file_that_is_no_benchmark_does_not_hide_the_others(wrong, tmp_path, capsys):
    config = {"name": "odd", "data": "digits", "tasks": 2}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump({"config": config | wrong} if wrong else config))
    (tmp_path / "right.yaml").write_text(yaml.safe_dump({"config": config | {"name": "right"}}))
    lines = printed(capsys, "list", "--params", str(tmp_path), "--out", str(tmp_path)).splitlines()
    assert lines[0].startswith("odd: ") and "right: digits, 2 tasks, mlp, focil" in lines


@pytest.mark.parametrize("seed", ["x", "-1", str(2**63), "1.5"])
def test_a_seed_that_is_none_is_refused_at_once(seed, capsys):
    with pytest.raises(SystemExit):
        main(["run", "digits-5", "--seed", seed])
    assert "seeds are 0, 1, 2" in (said := capsys.readouterr().err) or "is no whole number" in said
    assert "_seed" not in said


def test_a_name_is_for_one_params_file(capsys):
    assert "is for one params file" in refused(capsys, "run", "digits-5", "mnist-5", "--name", "x")


def test_how_much_is_said(monkeypatch, capsys):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    for voice, bars in (("normal", True), ("quiet", False), ("verbose", False)):
        progress.speak(voice)
        with progress.bar(total=3) as bar:
            assert bar.disable != bars
        assert not bars or bar.mininterval == progress.PATIENCE  # not a terminal: it looks rarely
        capsys.readouterr()
        progress.line("a task")
        assert capsys.readouterr().err == ("a task\n" if voice == "verbose" else "")
        monkeypatch.delenv(progress.VARIABLE)


# Tables


def test_csv_has_a_row_a_seed_and_their_mean(outputs, capsys):
    rows = list(
        csv.DictReader(
            io.StringIO(printed(capsys, "export", "one", "--out", str(outputs), "--format", "csv"))
        )
    )
    mine = [row for row in rows if (row["protocol"], row["who answers"]) == ("sample", "both")]
    assert [row["seed"] for row in mine] == ["0", "1", "mean"]
    shares = [final(outputs, "one", seed) for seed in (0, 1)]
    assert [float(row["accuracy"]) for row in mine] == [*shares, mean_interval(shares)[0]]
    assert float(mine[-1]["half_width_95"]) == mean_interval(shares)[1] and mine[-1]["n"] == "2"
    result = json.loads((outputs / "one" / "seed-0" / "result.json").read_text())
    assert {int(row["bytes"]) for row in mine} == {result["memory_bytes"]["total"]}


def test_latex_stands_in_a_document_with_booktabs(outputs, capsys):
    text = printed(capsys, "export", "one", "two", "--out", str(outputs), "--format", "latex")
    lines = text.strip().splitlines()
    columns = len(re.fullmatch(r"\\begin\{tabular\}\{(l+)\}", lines[0])[1])
    assert (
        lines[1] == r"\toprule"
        and lines[3] == r"\midrule"
        and lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    )
    for line in [lines[2], *lines[4:-2]]:
        cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
        assert len(cells) == columns and line.endswith(r"\\")
        assert not re.search(r"(?<!\\)[%#_]", line) and line.count("$") % 2 == 0 and line.isascii()
    assert text.count(r"\pm") == 18  # nine accuracies of each


def test_markdown_of_studies_and_of_nothing(outputs, capsys):
    reference = str(ROOT / "outputs" / "reference")
    for study, said in (
        ("memo-digits", "MB"),
        ("audit-digits", "probe"),
        ("layers-digits", "focil"),
        ("memo-cifar100-epochs", "170"),
    ):
        text = printed(capsys, "export", study, "--out", reference)
        assert said in text and len({line.count("|") for line in text.strip().splitlines()}) == 1
    error = refused(capsys, "export", "absent", "--out", str(outputs))
    assert "holds no finished run; there are one, other, two" in error


# Comparisons


def test_a_comparison_is_paired_by_the_seeds_in_common(outputs, capsys):
    text = printed(capsys, "compare", "one", "two", "--out", str(outputs))
    (row,) = [line for line in text.splitlines() if re.search(r"\| sample +\| both", line)]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    gap = 100 * (final(outputs, "two", 1) - final(outputs, "one", 1))
    assert cells[-1] == "1" and cells[-2] == f"{round(gap, 1) + 0.0:+.1f}"


def test_intervals_are_of_differences_not_of_means(outputs, capsys, tmp_path):
    for name, shares in (("low", (0.5, 0.7)), ("high", (0.6, 0.8))):
        for seed, share in enumerate(shares):
            result = json.loads((outputs / "one" / f"seed-{seed}" / "result.json").read_text())
            result["accuracy"]["sample"]["final_average"] = share
            folder = tmp_path / name / f"seed-{seed}"
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(result))
    text = printed(capsys, "compare", "low", "high", "--out", str(tmp_path))
    assert "+10.0 ± 0.0" in text  # although each of them varies by 20 points between seeds


def test_what_answers_another_question_is_not_compared(outputs, capsys):
    assert "data is" in refused(capsys, "compare", "one", "other", "--out", str(outputs))
    reference = str(ROOT / "outputs" / "reference")
    assert "cannot be compared" in refused(capsys, "compare", "digits-5", "mnist-5", "--out", reference)
    assert "no protocol" in refused(capsys, "compare", "digits-5", "memo-digits", "--out", reference)
