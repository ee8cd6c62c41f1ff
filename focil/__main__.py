"""The command line: python -m focil run | list | verify | publish | explore | variants | site."""

import argparse
import subprocess
import sys
from pathlib import Path

from focil.benchmark import read_params
from focil.errors import FocilError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 after an error that was explained on standard error."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.command(parsed)
    except FocilError as error:
        print(f"focil: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("focil: interrupted; start the same command again to continue after the last finished task", file=sys.stderr)
        return 130
    return 0


def _run(parsed: argparse.Namespace) -> None:
    from focil.reproduce import reproduce  # papermill and nbconvert take a second to import
    from focil.tables import table

    for params in parsed.params:
        folder = reproduce(params, parsed.seed, parsed.out, threads=parsed.threads, development=parsed.development, fresh=parsed.fresh)
        print(f"{folder.name}: final average accuracy, mean +- 95 % interval over seeds")
        print(table(folder, parsed.seed), flush=True)


def _list(parsed: argparse.Namespace) -> None:
    from focil.tables import table

    for path in sorted(parsed.params.glob("*.yaml")):
        benchmark = read_params(path)
        what = benchmark.method if benchmark.notebook == "benchmark" else benchmark.notebook
        print(f"{benchmark.name}: {benchmark.data}, {benchmark.tasks} tasks, {benchmark.backbone}, {what}")
        if found := table(parsed.out / benchmark.name):
            print(found)


def _verify(parsed: argparse.Namespace) -> None:
    from focil.runs import verify_folder

    print(f"{verify_folder(parsed.folder)} experts rebuilt and equal bit for bit")


def _publish(parsed: argparse.Namespace) -> None:
    from focil.publish import publish

    publish(parsed.out, parsed.out / "reference", parsed.names)
    print(f"{parsed.out / 'reference' / 'README.md'} is up to date")


def _variants(parsed: argparse.Namespace) -> None:
    from focil.variants import Study, table

    study = Study(read_params(parsed.params, threads=parsed.threads), parsed.seed, round(1e6 * parsed.megabytes))
    for line in table(study.rows()):
        print(line, flush=True)


def _explore(parsed: argparse.Namespace) -> None:
    from focil.explorer.serve import EXPLORER, voila

    command, environment = voila(EXPLORER, parsed.port, open_browser=not parsed.no_browser)
    subprocess.run(command, env=environment, check=False)  # it says itself what is wrong, and ends with Ctrl-C


def _site(parsed: argparse.Namespace) -> None:
    from focil.site.build import build

    built = build(Path(__file__).resolve().parent.parent, parsed.out, parsed.out / "site")
    print(f"{built.pages} pages that need no network; open {built.front}")
    if not built.runs:
        print(f"no executed run in {parsed.out} yet: make reproduce makes some, then make site shows them too")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m focil", description="Class-incremental learning with sparse experts.")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run params files through their notebook")
    run.add_argument("params", nargs="+", type=Path, help="params/NAME.yaml")
    run.add_argument("--seed", nargs="+", type=_seed, default=[0], metavar="K", help="one run per seed (default: 0)")
    run.add_argument("--out", type=Path, default=Path("outputs"), help="folder of all results (default: outputs)")
    run.add_argument("--threads", type=int, metavar="N", help="processor cores of a run (default: all)")
    run.add_argument("--development", action="store_true", help="test on held-out training images instead, for making choices")
    run.add_argument("--fresh", action="store_true", help="delete earlier results first: of these seeds, or all of a study")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="show the benchmarks and the results there are")
    listing.add_argument("--params", type=Path, default=Path("params"), help="folder of params files (default: params)")
    listing.add_argument("--out", type=Path, default=Path("outputs"), help="folder of all results (default: outputs)")
    listing.set_defaults(command=_list)

    verify = commands.add_parser("verify", help="rebuild every expert of a run and compare it with its first self, bit for bit")
    verify.add_argument("folder", type=Path, help="outputs/NAME/seed-K")
    verify.set_defaults(command=_verify)

    publish = commands.add_parser("publish", help="copy finished benchmarks to outputs/reference, with their table")
    publish.add_argument("names", nargs="+", metavar="NAME", help="benchmarks with finished runs")
    publish.add_argument("--out", type=Path, default=Path("outputs"), help="folder of all results (default: outputs)")
    publish.set_defaults(command=_publish)

    explore = commands.add_parser("explore", help="serve the explorer as a page on this machine, until Ctrl-C")
    explore.add_argument("--port", type=int, default=8866, metavar="N", help="of the loopback address (default: 8866)")
    explore.add_argument("--no-browser", action="store_true", help="only say where it is")
    explore.set_defaults(command=_explore)

    variants = commands.add_parser("variants", help="print what in the router matters, measured on a development split")
    variants.add_argument("params", type=Path, help="params/NAME.yaml")
    variants.add_argument("--seed", type=_seed, default=0, metavar="K", help="of class order and patches (default: 0)")
    variants.add_argument("--megabytes", type=float, default=2.5, metavar="MB", help="that each router may take (default: 2.5)")
    variants.add_argument("--threads", type=int, metavar="N", help="processor cores (default: all)")
    variants.set_defaults(command=_variants)

    site = commands.add_parser("site", help="write notebooks, results and code as pages that need no network, into outputs/site")
    site.add_argument("--out", type=Path, default=Path("outputs"), help="folder of all results (default: outputs)")
    site.set_defaults(command=_site)
    return parser


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("seeds are 0, 1, 2, ...")
    return value


if __name__ == "__main__":
    sys.exit(main())
