"""The notebook pipeline: make the notebooks from their sources, and test the stored ones."""

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m llm_core.notebooks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("build", "make both notebooks of a chapter from solutions/NN_name.py and execute them"),
        ("check", "say which stored notebooks are out of step or break a rule; runs nothing"),
        ("nbval", "run the stored notebooks again and compare every output"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--chapter", nargs="+", default=[], help="04 or 04_attention; without it, every chapter"
        )
        if name == "nbval":
            command.add_argument("-n", "--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    from llm_core.notebooks.build import BuildError

    try:
        return COMMANDS[options.command](options)
    except (BuildError, OSError) as error:
        print(f"{error}\nNothing was written for this chapter.", file=sys.stderr)
        return 1


def _build(options: argparse.Namespace) -> int:
    from llm_core.notebooks.build import BuildError, build, find_chapters

    chapters = find_chapters(options.chapter)
    if not chapters:
        raise BuildError("there is no solutions/NN_name.py to build from")
    for chapter in chapters:
        build(chapter)
    return 0


def _check(options: argparse.Namespace) -> int:
    import nbformat

    from llm_core.notebooks.build import find_chapters, out_of_step
    from llm_core.notebooks.lint import Page, lint

    faults = []
    for chapter in find_chapters(options.chapter):
        if reason := out_of_step(chapter):
            faults.append(reason)
            continue
        for path in (chapter.solution, chapter.chapter):
            faults.extend(lint(Page(nbformat.read(path, as_version=4), path)))
    print("\n".join(faults) or "every notebook follows from its source and keeps the rules")
    return 1 if faults else 0


def _nbval(options: argparse.Namespace) -> int:
    from llm_core.notebooks.build import find_chapters
    from llm_core.notebooks.nbval_run import run

    paths = [p for c in find_chapters(options.chapter) for p in (c.chapter, c.solution)]
    return run(paths, options.processes)


COMMANDS = {"build": _build, "check": _check, "nbval": _nbval}

if __name__ == "__main__":
    sys.exit(main())
