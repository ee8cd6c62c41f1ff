"""The command line, `focil` or `python -m focil`.

What takes long to import is imported by the command that needs it.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from focil.base.errors import FocilError
from focil.base.progress import VOICES, speak

SHELLS = ("bash", "zsh", "tcsh")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 after an error that was explained on standard error."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.command(parsed)
    except FocilError as error:
        print(f"focil: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "focil: interrupted; start the same command again to continue after the last finished task",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        return 0
    return 0


def _run(parsed: argparse.Namespace) -> None:
    from focil.engine import cluster
    from focil.engine.local import Shared
    from focil.reports.reproduce import (  # papermill, nbconvert and torch take seconds to import
        Wish,
        reproduce,
    )
    from focil.runs.results import RESULT
    from focil.studies.tables import in_lines

    wish = Wish(
        seeds=parsed.seed,
        changes=_changes(parsed.set),
        name=parsed.name,
        threads=parsed.threads,
        workers=parsed.workers,
        development=parsed.development,
        fresh=parsed.fresh,
    )
    if parsed.name and len(parsed.params) > 1:
        raise FocilError(f"--name {parsed.name} is for one params file, but {len(parsed.params)} were given")
    speak(parsed.voice)
    cluster.choose(parsed.cluster, parsed.any_version)
    with Shared() as shared:
        for params in parsed.params:
            folder = reproduce(params, parsed.out, wish, shared if len(parsed.params) > 1 else None)
            is_study = (folder / RESULT).exists()  # it has several measures
            what = "accuracy" if is_study else "final average accuracy"
            print(f"{folder.name}: {what}, mean +- 95 % interval over seeds")
            print(in_lines(folder, parsed.seed), flush=True)


def _changes(settings: list[str]) -> dict[str, Any]:
    from focil.runs.params_files import changed

    changes: dict[str, Any] = {}
    for setting in settings:
        changes = changed(changes, setting)
    return changes


def _list(parsed: argparse.Namespace) -> None:
    from focil.base.places import shipped
    from focil.runs.params_files import BenchmarkError, in_a_line
    from focil.studies.tables import in_lines

    if parsed.params is not None and not parsed.params.is_dir():
        raise BenchmarkError(
            f"--params is {parsed.params}, which is no folder; leave it out for those of focil"
        )
    own = [Path("params")] if Path("params").is_dir() else []
    folders = [parsed.params] if parsed.params else [*own, shipped("params")]
    paths = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    for name, path in sorted(paths.items()):
        for line in (lambda: in_a_line(path), lambda: in_lines(parsed.out / name)):
            try:
                found = line()
            except FocilError as error:  # one bad file must not hide the others
                found = f"{name}: {error}"
            if found:
                print(found)


def _verify(parsed: argparse.Namespace) -> None:
    from focil.runs.checkpoint import verify_folder

    found = verify_folder(parsed.folder)
    if "experts" in found:
        print(f"{found['experts']} experts rebuilt and equal bit for bit")
    else:
        print(f"the method is rebuilt, and its scores of {found['images']} images are equal bit for bit")


def _export(parsed: argparse.Namespace) -> None:
    from focil.reports.export import export

    print(export([parsed.out / name for name in parsed.names], parsed.format), end="")


def _compare(parsed: argparse.Namespace) -> None:
    from focil.reports.export import compare

    print(compare(parsed.out / parsed.one, parsed.out / parsed.other), end="")


def _publish(parsed: argparse.Namespace) -> None:
    from focil.reports.reference import publish

    publish(parsed.out, parsed.out / "reference", parsed.names)
    print(f"{parsed.out / 'reference' / 'README.md'} is up to date")


def _variants(parsed: argparse.Namespace) -> None:
    from focil.runs.params import read_params
    from focil.runs.params_files import find
    from focil.studies.variants import RouterVariants, markdown

    benchmark = read_params(find(parsed.params), threads=parsed.threads)
    study = RouterVariants(benchmark, parsed.seed, round(1e6 * parsed.megabytes))
    for line in markdown(study.rows()):
        print(line, flush=True)


def _explore(parsed: argparse.Namespace) -> None:
    from focil.reports.explorer.serve import EXPLORER, voila

    command, environment = voila(EXPLORER, parsed.port, parsed.out, open_browser=not parsed.no_browser)
    # It says itself what is wrong, and ends with Ctrl-C.
    subprocess.run(command, env=environment, check=False)


def _site(parsed: argparse.Namespace) -> None:
    from focil.base.places import repository
    from focil.reports.site.build import build

    built = build(repository(), parsed.out, parsed.out / "site")
    print(f"{built.pages} pages that need no network; open {built.front}")
    if not built.runs:
        print(
            f"no executed run in {parsed.out} yet: focil run digits-5 makes one, then focil site shows it too"
        )


def _completion(parsed: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(_parser(), parsed.shell))


class _Version(argparse.Action):
    """`--version`: looked up only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str):
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        print(f"focil {metadata.version('focil')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focil", description="Class-incremental learning with sparse experts.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        made.set_defaults(command=function)
        return made

    def out(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--out", type=Path, default=Path("outputs"), help="folder of all results (default: outputs)"
        )

    run = command("run", _run, "run benchmarks or studies through their notebook")
    run.add_argument("params", nargs="+", help="a name, such as digits-5 (see: focil list), or a params file")
    run.add_argument(
        "--seed", nargs="+", type=_seed, default=[0], metavar="K", help="one run per seed (default: 0)"
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a value of the params, for example focil.averaging=0.99; may be repeated",
    )
    run.add_argument("--name", help="name of the results, instead of the params file's")
    out(run)
    run.add_argument("--threads", type=int, metavar="N", help="processor cores of a run (default: its share)")
    run.add_argument(
        "--workers", type=_workers, metavar="N", help="trainings at once here (default: one a core)"
    )
    run.add_argument(
        "--cluster",
        metavar="WHERE",
        help="compute on a Dask cluster: tcp://host:8786, or a scheduler file (see docs/cluster.md)",
    )
    run.add_argument(
        "--any-version", action="store_true", help="accept workers with other versions of focil, torch, numpy"
    )
    run.add_argument(
        "--development", action="store_true", help="test on held-out training images, for making choices"
    )
    run.add_argument(
        "--fresh", action="store_true", help="delete earlier results first: of these seeds, or all of a study"
    )
    voice = run.add_mutually_exclusive_group()
    for name, says in VOICES.items():
        if says:
            voice.add_argument(f"--{name}", dest="voice", action="store_const", const=name, help=says)
    run.set_defaults(voice="normal")

    listing = command("list", _list, "show the params and the results there are")
    listing.add_argument(
        "--params", type=Path, help="a folder of params files, instead of ./params and focil's"
    )
    out(listing)

    verify = command("verify", _verify, "rebuild every expert of a run and compare it with its first self")
    verify.add_argument("folder", type=Path, help="outputs/NAME/seed-K")

    export = command("export", _export, "print results as a table: per seed and mean, with intervals")
    export.add_argument("names", nargs="+", metavar="NAME", help="benchmarks or studies with finished runs")
    export.add_argument(
        "--format", choices=("csv", "latex", "markdown"), default="markdown", help="default: markdown"
    )
    out(export)

    compare = command(
        "compare", _compare, "print the second of two benchmarks less the first, paired by seed"
    )
    compare.add_argument("one", metavar="A", help="a benchmark with finished runs")
    compare.add_argument("other", metavar="B", help="another one on the same data and stream")
    out(compare)

    publish = command("publish", _publish, "copy finished benchmarks to outputs/reference, with their table")
    publish.add_argument("names", nargs="+", metavar="NAME", help="benchmarks with finished runs")
    out(publish)

    explore = command("explore", _explore, "serve the explorer as a page on this machine, until Ctrl-C")
    explore.add_argument(
        "--port", type=int, default=8866, metavar="N", help="of the loopback address (default: 8866)"
    )
    explore.add_argument("--no-browser", action="store_true", help="only say where it is")
    out(explore)

    variants = command("variants", _variants, "print what in the router matters, on a development split")
    variants.add_argument("params", help="a name or a params file")
    variants.add_argument("--seed", type=_seed, default=0, metavar="K", help="default: 0")
    variants.add_argument(
        "--megabytes",
        type=_megabytes,
        default=2.5,
        metavar="MB",
        help="that each router may take (default: 2.5)",
    )
    variants.add_argument("--threads", type=int, metavar="N", help="processor cores (default: all)")

    site = command("site", _site, "write notebooks, results and code as pages that need no network")
    out(site)

    completion = command("completion", _completion, "print a completion script for a shell")
    completion.add_argument("shell", choices=SHELLS, help='for example: eval "$(focil completion bash)"')
    return parser


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if kind is int else ''}number") from None


def _seed(text: str) -> int:
    value = _number(int, text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError("seeds are 0, 1, 2, ...")
    return value


def _workers(text: str) -> int:
    value = _number(int, text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError("1 to 1024 trainings run at once")
    return value


def _megabytes(text: str) -> float:
    value = _number(float, text)
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError("a router takes more than 0 and at most 100000 MB")
    return value


if __name__ == "__main__":
    sys.exit(main())
