"""Benchmark: a params file is small, checked whole before anything starts, and every mistake is named."""

from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError

from focil import Benchmark, BenchmarkError, FocilError, RoutedOptions, read_params
from focil.runs.params import available_cores
from focil.runs.params_files import extended
from focil.studies.audit.shortcuts import SHORTCUTS

NEEDED = {"name": "mine", "data": "digits", "tasks": 5}
POINT = {"network": "convnet2", "exemplars": 50}
PARAMS = sorted((Path(__file__).parents[1] / "params").glob("*.yaml"))


@pytest.fixture
def params(tmp_path):
    """Write a params file and read it."""

    def read(text, file="mine.yaml", **overrides):
        path = tmp_path / file
        path.write_text(text, encoding="utf-8")
        return read_params(path, **overrides)

    return read


def config(**values):
    return yaml.safe_dump({"config": NEEDED | values})


def message(action, *args, **values):
    with pytest.raises(BenchmarkError) as caught:
        action(*args, **values)
    assert isinstance(caught.value, FocilError)
    assert "https://" not in str(caught.value)  # pydantic's own pages help no reader
    return str(caught.value)


# What is valid


def test_defaults():
    benchmark = Benchmark(**NEEDED)
    assert (benchmark.split, benchmark.class_order, benchmark.backbone) == ("official", "natural", "mlp")
    assert (benchmark.batch_size, benchmark.crop, benchmark.flip, benchmark.development) == (
        10,
        0,
        False,
        False,
    )
    assert benchmark.focil == RoutedOptions()
    assert (benchmark.focil.momentum, benchmark.focil.weight_decay, benchmark.focil.allocation) == (
        0.9,
        5e-4,
        "planned",
    )


def test_device_and_threads_are_recorded():
    recorded = Benchmark(**NEEDED).model_dump(mode="json")
    assert recorded["threads"] == available_cores() >= 1
    assert recorded["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert Benchmark(**recorded) == Benchmark(**NEEDED)  # what a result records can be run again


def test_a_benchmark_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Benchmark(**NEEDED).tasks = 3


def test_yaml_numbers_that_arrive_as_strings_are_numbers(params):
    text = (
        "config: {name: mine, data: digits, tasks: 5, focil: {learning_rates: [1e-3, 1.0e-3, 0.5], "
        "weight_decay: 5e-4}}"
    )
    assert yaml.safe_load(text)["config"]["focil"]["weight_decay"] == "5e-4"  # the trap
    options = params(text).focil
    assert options.learning_rates == (0.001, 0.001, 0.5) and options.weight_decay == 0.0005


def test_overrides_replace_what_the_file_says(params):
    text = config(threads=3, batch_size=7)
    assert params(text, threads=1, batch_size=None).threads == 1
    assert params(text, threads=1, batch_size=None).batch_size == 7
    assert "'threads' is 0" in message(params, text, threads=0)


# What is not


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"task": 5}, "unknown key 'task'; did you mean 'tasks'?"),
        ({"batchsize": 5}, "unknown key 'batchsize'; did you mean 'batch_size'?"),
        ({"zzzzz": 5}, "unknown key 'zzzzz'; known keys: name, data,"),
        (
            {"focil": {"learning_rate": [0.1]}},
            "unknown key 'focil.learning_rate'; did you mean 'learning_rates'?",
        ),
        ({"focil": {"zzzzz": 1}}, "unknown key 'focil.zzzzz'; known keys: sparsities,"),
        ({"focil": {"tasks": 1}}, "unknown key 'focil.tasks'"),
        ({"audit": {"shortcut": ["R1"]}}, "unknown key 'audit.shortcut'; did you mean 'shortcuts'?"),
        ({"audit": {"zzzzz": 1}}, "unknown key 'audit.zzzzz'; known keys: shortcuts, first_tasks"),
        ({"memory": {"point": [], "points": [POINT]}}, "unknown key 'memory.point'; did you mean 'points'?"),
        (
            {"memory": {"points": [POINT | {"exemplar": 5}]}},
            "unknown key 'memory.points.0.exemplar'; did you mean 'exemplars'?",
        ),
        (
            {"memory": {"points": [POINT], "training": {"epoch": 5}}},
            "unknown key 'memory.training.epoch'; did you mean 'epochs'?",
        ),
        ({"layers": {"exemplars": 5, "points": []}}, "unknown key 'layers.points'"),
        (
            {"layers": {"exemplars": 5, "training": {"zzzzz": 1}}},
            "unknown key 'layers.training.zzzzz'; known keys: schedule, epochs,",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_nearest(wrong, expected):
    assert expected in message(Benchmark, **NEEDED | wrong)


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_named(key):
    rest = {name: value for name, value in NEEDED.items() if name != key}
    assert f"'{key}' is missing; a benchmark needs name, data and tasks" in message(Benchmark, **rest)


@pytest.mark.parametrize(
    "wrong, place, expected",
    [
        ({"tasks": 0}, "'tasks' is 0", "greater than or equal to 1"),
        ({"tasks": "many"}, "'tasks' is 'many'", "integer"),
        ({"batch_size": 2.5}, "'batch_size' is 2.5", "integer"),
        ({"crop": -1}, "'crop' is -1", "greater than or equal to 0"),
        ({"flip": "maybe"}, "'flip' is 'maybe'", "boolean"),
        ({"device": "tpu"}, "'device' is 'tpu'", "'cpu' or 'cuda'"),
        ({"split": "random"}, "'split' is 'random'", "'official' or 'sha256'"),
        ({"class_order": "mixed"}, "'class_order' is 'mixed'", "'natural' or 'shuffled'"),
        ({"backbone": "vgg"}, "'backbone' is 'vgg'", "'mlp'"),
        ({"name": "../up"}, "'name' is '../up'", "pattern"),
        ({"name": ""}, "'name' is ''", "pattern"),
        ({"tasks": 1, "audit": {}}, "'tasks' is 1", "a study compares tasks"),
        ({"tasks": 1, "online": {"exemplars": [5]}}, "'tasks' is 1", "take 2 or more"),
        ({"name": 101 * "x"}, "'name' is 'xxx", "at most 100"),
        ({"online": {"methods": ["ncm", "ncm"], "exemplars": [5]}}, "methods are ncm, ncm", "name each once"),
        ({"online": {"exemplars": [5, 5]}}, "exemplars are 5, 5", "name each once"),
        ({"name": ".hidden"}, "'name' is '.hidden'", "pattern"),
        ({"name": "a/b"}, "'name' is 'a/b'", "pattern"),
        ({"name": "line\n"}, "'name' is 'line\\n'", "pattern"),
        ({"focil": {"sparsities": []}}, "'focil.sparsities' is []", "at least 1"),
        ({"focil": {"sparsities": [0.9, 1.0]}}, "'focil.sparsities.1' is 1.0", "less than 1"),
        ({"focil": {"learning_rates": [0.1, 0]}}, "'focil.learning_rates.1' is 0", "greater than 0"),
        ({"focil": {"learning_rates": [float("nan")]}}, "'focil.learning_rates.0' is nan", "finite number"),
        ({"focil": {"momentum": 1}}, "'focil.momentum' is 1", "less than 1"),
        ({"focil": {"rule": "loudest"}}, "'focil.rule' is 'loudest'", "'softmax', 'entropy' or 'energy'"),
        ({"focil": 3}, "'focil' is 3", "dictionary"),
        ({"audit": 3}, "'audit' is 3", "dictionary"),
        ({"audit": {"shortcuts": []}}, "'audit.shortcuts' is []", "at least 1"),
        ({"audit": {"shortcuts": ["R1", "R10"]}}, "'audit.shortcuts.1' is 'R10'", "'R9' or 'R12'"),
        ({"audit": {"first_tasks": 1}}, "'audit.first_tasks' is 1", "greater than or equal to 2"),
        ({"memory": {"points": []}}, "'memory.points' is []", "at least 1"),
        ({"memory": {"points": [POINT], "methods": []}}, "'memory.methods' is []", "at least 1"),
        (
            {"memory": {"points": [POINT], "methods": ["memo", "gem"]}},
            "'memory.methods.1' is 'gem'",
            "'joint' or 'focil'",
        ),
        (
            {"memory": {"points": [POINT], "network": "vgg"}},
            "'memory.network' is 'vgg'",
            "'resnet18-imagenet'",
        ),
        (
            {"memory": {"points": [POINT | {"exemplars": 0}]}},
            "'memory.points.0.exemplars' is 0",
            "greater than or equal to 1",
        ),
        (
            {"memory": {"points": [POINT | {"anchor": "memo"}]}},
            "'memory.points.0.anchor' is 'memo'",
            "'der', 'single' or 'each'",
        ),
        ({"memory": {"points": [POINT | {"methods": []}]}}, "'memory.points.0.methods' is []", "at least 1"),
        (
            {"memory": {"points": [POINT], "brightness": 1.5}},
            "'memory.brightness' is 1.5",
            "less than or equal to 1",
        ),
        (
            {"memory": {"points": [POINT], "training": {"schedule": "long"}}},
            "'memory.training.schedule' is 'long'",
            "'paper', 'cosine', 'cpu' or 'budget'",
        ),
        (
            {"memory": {"points": [POINT], "training": {"lr": float("nan")}}},
            "'memory.training.lr' is nan",
            "finite number",
        ),
        (
            {"memory": {"points": [POINT], "training": {"batch_size": 1}}},
            "'memory.training.batch_size' is 1",
            "greater than or equal to 4",
        ),
        (
            {"memory": {"points": [POINT], "training": {"aligning": "grow"}}},
            "'memory.training.aligning' is 'grow'",
            "'published' or 'shrink'",
        ),
        (
            {"memory": {"points": [POINT], "methods": ["finetune", "joint"]}},
            "methods are finetune, joint",
            "none of which has a budget; add one that has: replay, icarl, wa, der, memo",
        ),
        ({"layers": {"exemplars": 0}}, "'layers.exemplars' is 0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_expected(wrong, place, expected):
    found = message(Benchmark, **NEEDED | wrong)
    assert place in found and expected in found


def test_all_mistakes_are_told_at_once():
    found = message(Benchmark, name="x", tasks=0, crob=4)
    assert all(part in found for part in ("'data' is missing", "'tasks' is 0", "did you mean 'crop'?"))


@pytest.mark.parametrize("wrong", [{"learning_rates": [float("inf")]}, {"weight_decay": float("inf")}])
def test_infinite_numbers_are_refused(wrong):
    message(Benchmark, **NEEDED, focil=wrong)


# Audits


def test_an_audit_is_of_all_shortcuts_and_tasks_unless_it_says_less():
    audit = Benchmark(**NEEDED, audit={}).audit
    assert audit.shortcuts == SHORTCUTS and audit.first_tasks is None
    assert Benchmark(**NEEDED).audit is None
    recorded = Benchmark(**NEEDED, audit={"shortcuts": ["R4", "R1"], "first_tasks": 5}).model_dump(
        mode="json"
    )
    assert recorded["audit"] == {"shortcuts": ["R4", "R1"], "first_tasks": 5}
    assert Benchmark(**recorded).model_dump(mode="json") == recorded


def test_the_notebook_is_chosen_by_what_is_asked():
    assert Benchmark(**NEEDED).notebook == "benchmark"
    assert Benchmark(**NEEDED, audit={}).notebook == "audit"
    assert Benchmark(**NEEDED, memory={"points": [POINT]}).notebook == "memory"
    assert Benchmark(**NEEDED, layers={"exemplars": 50}).notebook == "layers"


def test_more_first_tasks_than_there_are_is_refused():
    assert Benchmark(**NEEDED, audit={"first_tasks": 5}).audit.first_tasks == 5
    found = message(Benchmark, **NEEDED, audit={"first_tasks": 6})
    assert "'audit.first_tasks' is 6, but there are 5 tasks" in found


def test_an_audit_of_a_network_that_is_handed_over_is_refused():
    assert Benchmark(**NEEDED, backbone="own").backbone == "own"
    assert "mlp or resnet18" in message(Benchmark, **NEEDED, backbone="own", audit={})


def test_a_mistake_in_an_audit_s_file_names_the_file(params):
    found = message(params, config(audit={"first_tasks": 9}))
    assert "mine.yaml" in found and "there are 5 tasks" in found


# Studies of equal memory and of depth


def test_a_study_of_equal_memory_is_of_all_methods_unless_it_says_less():
    memo = Benchmark(**NEEDED, memory={"points": [POINT]}).memory
    assert (
        memo.methods == ("finetune", "replay", "icarl", "wa", "der", "memo", "joint", "focil")
        and memo.network == "resnet32"
    )
    (point,) = memo.points
    assert (point.anchor, point.methods) == ("der", None)
    assert (memo.training.schedule, memo.training.momentum, memo.training.lr, memo.training.batch_size) == (
        "cpu",
        0.9,
        0.1,
        128,
    )
    assert (memo.training.shared_blocks, memo.training.aligning, memo.training.precision) == (
        "trained",
        "published",
        "float32",
    )


@pytest.mark.parametrize(
    "study",
    [
        {
            "memory": {
                "points": [POINT, POINT | {"anchor": "each", "methods": ["memo", "wa"]}],
                "first_classes": 2,
                "last_shared": "",
            }
        },
        {
            "layers": {
                "exemplars": 50,
                "network": "resnet14",
                "training": {"schedule": "paper", "shared_blocks": "frozen"},
            }
        },
    ],
)
def test_what_a_study_s_result_records_can_be_run_again(study):
    recorded = Benchmark(**NEEDED, **study).model_dump(mode="json")
    assert (
        Benchmark(**recorded) == Benchmark(**NEEDED, **study)
        and Benchmark(**recorded).model_dump(mode="json") == recorded
    )
    assert Benchmark(**NEEDED, **study).is_same(recorded) and not Benchmark(**NEEDED).is_same(recorded)


def test_a_training_is_the_same_whatever_it_is_compared_with():
    study = {"points": [POINT], "methods": ["memo", "wa"], "training": {"lr": 0.05}}
    recorded = Benchmark(**NEEDED, memory=study, threads=2).model_dump(mode="json")

    def trains_as(changes=(), **values):
        return Benchmark(**NEEDED | values, memory=study | dict(changes)).trains_as(recorded)

    assert (
        trains_as(threads=1)
        and trains_as({"points": [POINT | {"exemplars": 7}, POINT]})
        and trains_as({"methods": ["replay"]})
    )
    for changes in (
        {"training": {"lr": 0.1}},
        {"network": "resnet14"},
        {"first_classes": 2},
        {"last_shared": "block1"},
        {"brightness": 0.1},
    ):
        assert not trains_as(changes)
    for value in (
        {"tasks": 2},
        {"data": "mnist"},
        {"crop": 2},
        {"class_order": "shuffled"},
        {"name": "other"},
    ):
        assert not trains_as(**value)
    assert (
        not Benchmark(**NEEDED).trains_as(recorded)
        and not Benchmark(**NEEDED).trains_as({})
        and not trains_as({"points": [POINT]}, batch_size=7)
    )


def test_results_from_before_there_were_studies_are_still_the_same():
    old = {
        key: value
        for key, value in Benchmark(**NEEDED).model_dump(mode="json").items()
        if key not in ("memory", "layers")
    }
    assert Benchmark(**NEEDED).is_same(old)


def test_a_study_of_a_network_that_is_handed_over_is_refused():
    for study in ({"memory": {"points": [POINT]}}, {"layers": {"exemplars": 50}}):
        assert "mlp or resnet18" in message(Benchmark, **NEEDED, backbone="own", **study)


@pytest.mark.parametrize(
    "study, key",
    [
        ({"memory": {}}, "memory.points"),
        ({"memory": {"points": [{"exemplars": 5}]}}, "memory.points.0.network"),
        ({"layers": {}}, "layers.exemplars"),
    ],
)
def test_what_a_study_misses_is_named(study, key):
    assert f"'{key}' is missing" in message(Benchmark, **NEEDED, **study)


# Files


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: mine\n",
        "- config\n",
        "config:\n",
        "config: 3\n",
        "config: [1]\n",
        "config: {name: mine}\nseed: 3\n",
        "just words",
    ],
)
def test_a_file_without_one_config_is_explained(params, text):
    found = message(params, text)
    assert "mine.yaml" in found and "exactly one top-level key, `config:`" in found


def test_a_seed_in_the_file_is_sent_to_the_command_line(params):
    assert "--seed" in message(params, config() + "seed: 3\n")


def test_a_mistake_in_a_file_names_the_file(params):
    found = message(params, config(tassks=5))
    assert "mine.yaml" in found and "did you mean 'tasks'?" in found


def test_the_name_is_that_of_the_file(params):
    found = message(params, config(), file="other.yaml")
    assert "'mine'" in found and "'other'" in found


def test_a_missing_file_lists_those_that_are_there(tmp_path):
    for name in ("b-2", "a-1"):
        (tmp_path / f"{name}.yaml").write_text("config: {}")
    (tmp_path / "notes.txt").write_text("")
    found = message(read_params, tmp_path / "c.yaml")
    assert "c.yaml" in found and "a-1, b-2" in found and "notes" not in found


def test_a_missing_file_in_an_empty_or_missing_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert "none" in message(read_params, folder / "c.yaml")


@pytest.mark.parametrize(
    "text",
    [
        *("config: [", "config: {a: 1", "\tconfig: 1", "config: \x00", "a: b: c"),
        *("config: {name: {{name}}}", "config: !!bool maybe", "config: !!timestamp soon", "[" * 3000),
    ],
)
def test_broken_yaml_is_named(params, text):
    assert "mine.yaml is not valid YAML" in message(params, text)


def test_bytes_that_are_not_text_are_named(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"config: \xff\xfe")
    assert "mine.yaml is not valid YAML" in message(read_params, tmp_path / "mine.yaml")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir"])
def test_a_file_cannot_run_code(params, tmp_path, tag):
    assert "not valid YAML" in message(params, f"config: {tag} ['{tmp_path / 'made'}']")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("line", ["1: 2", "on: cuda", "null: 3", "self: 1"])
def test_a_key_that_cannot_be_a_name_is_refused_like_any_other(params, line):
    assert "unknown key" in message(params, f"config:\n  name: mine\n  data: digits\n  tasks: 5\n  {line}\n")


@pytest.mark.parametrize("value", ["2020-13-45", "0x_"])
def test_a_scalar_that_yaml_cannot_build_is_named(params, value):
    assert "not valid YAML" in message(params, f"config: {{name: mine, data: digits, tasks: {value}}}")


# The repository's own


def test_the_seeds_benchmarks_are_there():
    assert {"cifar100-10", "cifar100-20", "tiny-imagenet-100", "mnist-5", "fashion-mnist-5"} <= {
        path.stem for path in PARAMS
    }


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_params_in_the_repository_are_valid_and_small(path):
    benchmark = read_params(path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    given = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
    assert not {"device", "threads"} & set(given)  # the machine's, not the benchmark's
    assert set(given) <= {*Benchmark.model_fields, "extends"}
    whole = extended(given, path.parent)
    for left_out in set(given) - {"extends", "name", "data", "tasks"}:
        rest = {key: value for key, value in given.items() if key != left_out}
        assert extended(rest, path.parent) != whole, f"{left_out} says nothing: leave it out"
    for said, model in ((whole, benchmark), (whole.get("focil", {}), benchmark.focil)):
        fields = type(model).model_fields
        # These may lead back to the default what is extended.
        for key in set(said) - {"split", "backbone", "router_mirror", "router_discriminants"}:
            if not fields[key].is_required():
                assert getattr(model, key) != fields[key].default, f"{key} is the default: leave it out"


# Files that extend others


def write(folder, name, **config):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"config": {"name": name} | config}))


def test_a_file_extends_another_key_by_key_and_the_whole_is_recorded(tmp_path):
    write(tmp_path, "base", data="digits", tasks=5, focil={"first_rung": 3, "again": 7}, crop=2)
    write(tmp_path, "more", extends="base", tasks=2, focil={"again": 1, "sparsities": [0.5]})
    benchmark = read_params(tmp_path / "more.yaml")
    assert (benchmark.name, benchmark.tasks, benchmark.crop) == ("more", 2, 2)
    assert (benchmark.focil.first_rung, benchmark.focil.again, benchmark.focil.sparsities) == (3, 1, (0.5,))
    recorded = benchmark.model_dump(mode="json")
    assert "extends" not in recorded and Benchmark(**recorded) == benchmark


def test_papermill_by_hand_takes_a_file_that_extends_one_of_the_repository():
    config = yaml.safe_load((PARAMS[0].parent / "cifar100-10.yaml").read_text())["config"]
    assert "extends" in config and Benchmark(**config) == read_params(PARAMS[0].parent / "cifar100-10.yaml")


@pytest.mark.parametrize(
    "base, said",
    [("gone", "'extends' is 'gone'"), (5, "'extends' is 5"), ("chained", "which extends 'base' in turn")],
)
def test_what_cannot_be_extended_is_explained(tmp_path, base, said):
    write(tmp_path, "base", data="digits", tasks=5)
    write(tmp_path, "chained", extends="base", tasks=2)
    write(tmp_path, "more", extends=base, tasks=2)
    with pytest.raises(BenchmarkError, match=said):
        read_params(tmp_path / "more.yaml")


# What earlier versions recorded


def test_what_earlier_versions_recorded_is_read():
    study = {"points": [POINT], "methods": ["memo", "wa"]}
    now = Benchmark(**NEEDED, memory=study)
    then = now.model_dump(mode="json")
    then["memo"], then["method"] = then.pop("memory"), "focil"
    assert Benchmark.recorded(then) == now and now.is_same(then) and now.trains_as(then)
    for broken in (None, [], {"name": "x"}, then | {"method": "gem"}):
        with pytest.raises(BenchmarkError):
            Benchmark.recorded(broken)


@pytest.mark.parametrize(
    "name, tasks, backbone",
    [
        ("cifar100-10", 10, "resnet18"),
        ("cifar100-20", 20, "resnet18"),
        ("tiny-imagenet-100", 100, "resnet18"),
        ("mnist-5", 5, "mlp"),
        ("fashion-mnist-5", 5, "mlp"),
    ],
)
def test_the_seeds_benchmarks_are_what_they_say(name, tasks, backbone):
    benchmark = read_params(next(path for path in PARAMS if path.stem == name))
    assert (benchmark.tasks, benchmark.backbone, benchmark.batch_size) == (tasks, backbone, 10)
    assert (benchmark.crop, benchmark.flip) == ((4, True) if backbone == "resnet18" else (0, False))


@pytest.mark.parametrize(
    "name, tasks, first", [("b0-inc10", 10, None), ("b0-inc5", 20, None), ("b50-inc10", 6, 50)]
)
def test_memo_s_benchmarks_are_what_they_say(name, tasks, first):
    whole, small = (
        read_params(Path(PARAMS[0]).parent / f"memo-cifar100-{name}{end}.yaml") for end in ("", "-cpu")
    )
    for benchmark in (whole, small):
        memo = benchmark.memory
        assert (benchmark.tasks, memo.first_classes, memo.network, benchmark.crop, benchmark.flip) == (
            tasks,
            first,
            "resnet32",
            4,
            True,
        )
        assert ("resnet32", 2000, "der", None) in [
            (p.network, p.exemplars, p.anchor, p.methods) for p in memo.points
        ]
        assert (
            memo.training.shared_blocks == ("frozen" if first else "trained")
            and round(memo.brightness * 255) == 63
        )
        assert memo.training.model_dump(include={"lr", "momentum", "batch_size"}) == {
            "lr": 0.1,
            "momentum": 0.9,
            "batch_size": 128,
        }
    assert (
        whole.memory.training.schedule,
        whole.memory.training.aligning,
        small.memory.training.schedule,
    ) == (
        "paper",
        "published",
        "cpu",
    )


def test_a_record_of_an_earlier_version_is_read_with_todays_names():
    study = {"points": [POINT], "training": {"epochs": 7}}
    today = Benchmark(**NEEDED, memory=study)
    recorded = today.model_dump(mode="json")
    recorded["memory"]["training"]["cpu_epochs"] = recorded["memory"]["training"].pop("epochs")
    assert Benchmark.recorded(recorded) == today
    recorded["memo"] = recorded.pop("memory")
    assert Benchmark.recorded(recorded) == today


def test_trainings_of_one_study_may_be_made_on_different_devices():
    benchmark = Benchmark(**NEEDED, memory={"points": [POINT]}, device="cpu")
    recorded = benchmark.model_dump(mode="json") | {"device": "cuda"}
    assert benchmark.trains_as(recorded)
    assert not benchmark.trains_as(recorded | {"crop": 3})
