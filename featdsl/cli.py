"""The command line. Each command imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from featdsl.export import Exported
    from featdsl.featurestore import FeatureStore
    from featdsl.plan import Plan
    from featdsl.project import Project

_FORMATS = click.Choice(["text", "json"])


class _Group(click.Group):
    """A group whose usage errors exit with 1, because 2 means that changes are pending."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        from featdsl.errors import FeatdslError

        try:
            super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            error.show()
            sys.exit(1)
        except click.Abort:
            click.echo("Stopped. Nothing was published.", err=True)
            sys.exit(1)
        except FeatdslError as error:
            click.echo(_told(error), err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featdsl", prog_name="featdsl")
@click.option(
    "-C", "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Run as if started there."
)
@click.pass_context
def main(context: click.Context, directory: Path | None) -> None:
    """Declare ML features, review what changes, share them across teams.

    \b
    featdsl init my_project     start a project
    featdsl plan                see what apply would do
    featdsl apply               do it
    featdsl search income       find a feature that another team made
    """
    context.obj = directory


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for featdsl apply.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit with 2 when there are changes.")
@click.option("--sql", is_flag=True, help="Show the SQL of queries, tables and views.")
@click.option(
    "--against", type=click.Path(dir_okay=False, path_type=Path), help="Plan against an export, without the store."
)
@click.pass_obj
def plan(  # noqa: PLR0913, PLR0917 - click's options
    directory: Path | None,
    out: Path | None,
    format_: str,
    check: bool,  # noqa: FBT001 - click's flags
    sql: bool,  # noqa: FBT001 - likewise
    against: Path | None,
) -> None:
    """Show what apply would create, change, recompute and remove, and whom it touches.

    \b
    featdsl plan --sql
    featdsl plan --out plan.json --format markdown > comment.md
    featdsl plan --against registry.json
    """
    from featdsl import pipeline, planfile, render
    from featdsl.stores import open_store

    project = _project(directory)
    if against is not None:
        planned = pipeline.make_plan_against(project, _exported(against))
        if out is not None:
            pipeline.refuse_rows(planned)
    else:
        store = open_store(project)
        planned = pipeline.make_plan(project, store)
        if out is not None:
            pipeline.keep_rows(planned, project, store)
    if out is not None:
        _write(out, planfile.to_json(planned.plan))
    if format_ == "json":
        click.echo(planfile.to_json(planned.plan), nl=False)
    elif format_ == "markdown":
        click.echo(render.markdown(planned.plan), nl=False)
    else:
        click.echo(_text(planned.plan, sql=sql), nl=False)
        if out is not None:
            click.echo(f"Saved as {out}. Run it with: featdsl apply {out}")
    if check and not planned.plan.empty:
        sys.exit(2)


@main.command()
@click.argument("plan_file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def apply(directory: Path | None, plan_file: Path | None, yes: bool, format_: str) -> None:  # noqa: FBT001 - click's flag
    """Materialize what is declared, all at once; or run exactly a saved plan.

    \b
    featdsl apply --yes
    featdsl apply plan.json
    """
    from featdsl import pipeline
    from featdsl.apply import apply as run
    from featdsl.progress import showing
    from featdsl.stores import open_store

    project = _project(directory)
    store = open_store(project)
    planned = _saved(plan_file, project) if plan_file else pipeline.make_plan(project, store)
    if format_ == "text":
        click.echo(_text(planned.plan, sql=False), nl=False)
    if planned.plan.empty:
        _applied(format_, store.read().head.serial, planned.plan)
        return
    if plan_file is None and not yes:
        _confirm()
    with showing() as listen:
        head = run(planned.plan, project, store, listen=listen, rows=planned.rows, functions=planned.functions)
    _applied(format_, head.serial, planned.plan)


def _saved(plan_file: Path, project: Project) -> Any:
    from featdsl import pipeline, planfile
    from featdsl.errors import PlanFileError, Problem

    text = _read(plan_file, "Plan", "Make one: featdsl plan --out plan.json")
    found = planfile.from_json(text, name=str(plan_file))
    if found.project != project.name:
        what = f"{plan_file} is a plan of the project {found.project}; this is {project.name}."
        raise PlanFileError(Problem("Plan of another project", what, mend="Plan here: featdsl plan --out plan.json"))
    return pipeline.saved(project, found)


def _exported(file: Path) -> Exported:
    from featdsl import export

    text = _read(file, "Export", "Make one, with the store at hand: featdsl export registry.json")
    return export.from_json(text, name=str(file))


def _read(file: Path, what: str, mend: str) -> str:
    from featdsl.errors import PlanFileError, Problem

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise PlanFileError(Problem(f"{what} cannot be read", f"{file}: {said}.", mend=mend)) from None


def _confirm() -> None:
    from featdsl.errors import ConfirmationError, Problem

    if not sys.stdin.isatty():
        what = "This is no terminal, so nobody can be asked whether to go on."
        mend = "Give a reviewed plan (featdsl apply plan.json), or say yes (featdsl apply --yes)."
        raise ConfirmationError(Problem("Not confirmed", what, mend=mend))
    click.confirm("\nApply this plan?", abort=True)


def _applied(format_: str, serial: int, plan: Plan) -> None:
    if format_ == "json":
        _print_json({"serial": serial, "changes": len(plan.changes), "steps": len(plan.steps)})
    elif not plan.empty:
        click.echo(f"Applied. The store is at state {serial}.")


@main.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export_(directory: Path | None, file: Path) -> None:
    """Write what is applied, of every project, to one JSON file: for plans where nobody may open the store.

    \b
    featdsl export registry.json
    featdsl plan --against registry.json
    """
    from featdsl import export
    from featdsl.stores import open_store

    store = open_store(_project(directory))
    snapshot = store.read()
    _write(file, export.to_json(snapshot, store.drift(snapshot)))
    click.echo(f"Wrote state {snapshot.head.serial} of the store to {file}.")


@main.command()
@click.argument("project")
@click.option("--check", is_flag=True, help="Write nothing; exit with 2 when the module is out of date.")
@click.pass_obj
def pull(directory: Path | None, project: str, check: bool) -> None:  # noqa: FBT001 - click's flag
    """Make another project's features importable here, by name and typed, as a module that it writes.

    \b
    featdsl pull accounts           then: from features.shared.accounts import UserProfile
    featdsl pull accounts --check
    """
    from featdsl.pull import pull as module_of
    from featdsl.pull import refuse_other_files
    from featdsl.stores import open_store

    here = _project(directory)
    module = module_of(open_store(here).read(), project, here)
    path = here.root / module.path
    found = _read(path, "Module", "Move it away, then pull again.") if path.exists() else None
    if found is not None:
        refuse_other_files(found, module.path)
    if found is not None and module.is_written(found):
        click.echo(f"{module.path} is up to date.")
    elif check:
        click.echo(f"{module.path} is {'out of date' if found is not None else 'missing'}. Run: featdsl pull {project}")
        sys.exit(2)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "__init__.py").exists():
            _write(path.parent / "__init__.py", '"""What other projects share, written by featdsl pull."""\n')
        _write(path, module.text)
        click.echo(f"Wrote {module.path}.")


@main.command("list")
@click.option("--owner", help="Only features of this team.")
@click.option("--tag", help="Only features with this tag.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def list_(directory: Path | None, owner: str | None, tag: str | None, format_: str) -> None:
    """List the features that are applied.

    \b
    featdsl list
    featdsl list --owner accounts --format json
    """
    from dataclasses import asdict

    from featdsl import tell

    found = [
        each
        for each in _store(directory).features()
        if (owner is None or each.owner == owner) and (tag is None or tag in each.tags)
    ]
    if format_ == "json":
        _print_json([asdict(each) for each in found])
    else:
        click.echo(tell.listing(found, _width()) if found else "No features here yet. Run: featdsl apply\n", nl=False)


@main.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="Show so many at most.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def search(directory: Path | None, words: tuple[str, ...], limit: int, format_: str) -> None:
    """Find features by names, descriptions, tags, owners and columns; typing errors are forgiven.

    \b
    featdsl search income
    featdsl search departure dealy
    """
    from dataclasses import asdict

    from featdsl import tell

    found = _store(directory).search(" ".join(words), limit=limit)
    if format_ == "json":
        _print_json([asdict(each) for each in found])
    else:
        click.echo(tell.results(found, _width()) if found else f"Nothing is like: {' '.join(words)}\n", nl=False)


@main.command()
@click.argument("name")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def show(directory: Path | None, name: str, format_: str) -> None:
    """Show all that is known of a feature, group, set, model, source or entity.

    \b
    featdsl show user_profile.age
    featdsl show credit_risk@1 --format json
    """
    from featdsl import tell

    found = _store(directory).describe(name)
    if format_ == "json":
        _print_json(found.to_dict())
    else:
        click.echo(tell.description(found, _width()), nl=False)


@main.command()
@click.argument("name")
@click.option("--format", "format_", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True)
@click.pass_obj
def lineage(directory: Path | None, name: str, format_: str) -> None:
    """Show what a thing is made of, and what is made of it.

    \b
    featdsl lineage user_profile.income
    featdsl lineage credit_risk@1 --format mermaid
    """
    found = _store(directory).lineage(name)
    if format_ == "json":
        _print_json(found.to_dict())
    else:
        click.echo(found.mermaid() if format_ == "mermaid" else found.tree(), nl=False)


@main.command()
@click.argument("features", nargs=-1, required=True)
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="A key of the entity; once for each key.")
@click.option(
    "--request", "requests", multiple=True, metavar="NAME=VALUE", help="What only the call knows; once for each."
)
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def get(
    directory: Path | None, features: tuple[str, ...], keys: tuple[str, ...], requests: tuple[str, ...], format_: str
) -> None:
    """Get the values that features have now, by bare name, address or set version.

    \b
    featdsl get age income --key user_id=42
    featdsl get credit_risk@1 --key user_id=42 --format json
    featdsl get share --key user_id=42 --request amount=12.5
    """
    from featdsl import tell

    given, request = _pairs(keys, "--key", "COLUMN"), _pairs(requests, "--request", "NAME")
    asked = features[0] if len(features) == 1 else list(features)
    (found,) = _store(directory).get_features(asked, rows=[given], request=request)
    if format_ == "json":
        _print_json(found)
    else:
        click.echo(tell.values([found]), nl=False)


def _pairs(given: tuple[str, ...], option: str, name: str) -> dict[str, str]:
    wrong = [pair for pair in given if "=" not in pair]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not {name}=VALUE.", param_hint=option)
    return dict(pair.split("=", 1) for pair in given)


@main.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show so many at most.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def history(directory: Path | None, limit: int, format_: str) -> None:
    """Show who applied what when, the newest first.

    \b
    featdsl history
    featdsl history --limit 1 --format json
    """
    from dataclasses import asdict

    from featdsl import tell
    from featdsl.stores import open_store

    entries = open_store(_project(directory)).history()[:limit]
    if format_ == "json":
        _print_json([asdict(entry) for entry in entries])
    else:
        click.echo(tell.history(entries, _width()) if entries else "Nothing has been applied yet.", nl=not entries)


@main.command()
@click.option("--parity", is_flag=True, help="Compare what is served with what is trained on instead.")
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(min=1), help="Compare so many entities.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.pass_obj
def check(directory: Path | None, parity: bool, sample: int, format_: str) -> None:  # noqa: FBT001 - click's flag
    """Run every expectation on the stored rows; or check that serving gives what training gives.

    \b
    featdsl check
    featdsl check --parity --sample 100
    """
    from dataclasses import asdict

    from featdsl import tell

    store = _store(directory)
    if parity:
        compared = store.check_parity(sample=sample)
        _report(asdict(compared), tell.parity(compared), format_, failed=bool(compared.differences))
    else:
        checked = store.check()
        failed = any(each.broken for each in checked)
        _report([asdict(each) for each in checked], tell.checks(checked), format_, failed=failed)


def _report(found: object, said: str, format_: str, *, failed: bool) -> None:
    if format_ == "json":
        _print_json(found)
    else:
        click.echo(said, nl=False)
    if failed:
        sys.exit(1)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Start a project: two teams, one source, and everything to plan and apply at once.

    \b
    featdsl init my_project
    cd my_project && featdsl apply
    """
    from featdsl import scaffold

    for path in scaffold.start(folder):
        click.echo(f"  {path}")
    into = "" if folder == Path() else f"cd {folder} && "
    click.echo(f"Next: {into}featdsl plan")


# What commands share


def _store(directory: Path | None) -> FeatureStore:
    from featdsl.featurestore import FeatureStore

    return FeatureStore(directory)


def _project(directory: Path | None) -> Project:
    from featdsl.project import load

    return load(directory)


def _text(plan: Plan, *, sql: bool) -> str:
    from featdsl import render

    if not sys.stdout.isatty():
        return render.text(plan, sql=sql)
    return render.text(plan, sql=sql, width=_width(), paint=render.ansi)


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        from featdsl.errors import PlanFileError, Problem

        raise PlanFileError(Problem("File cannot be written", f"{path}: {error.strerror}.")) from None


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _told(error: Exception) -> str:
    problems = getattr(error, "problems", ())
    count = f"\n\n{len(problems)} problems found." if len(problems) > 1 else ""
    return f"{error}{count}"
