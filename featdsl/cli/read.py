"""Commands that read stored values, and check them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl.cli import completion, options, printing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featdsl.apply.check_rules import Checked
    from featdsl.featurestore import FeatureStore


@click.command()
@click.argument("features", nargs=-1, required=True, shell_complete=completion.names("feature", "set"))
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="A key of the entity; repeatable.")
@click.option("--request", "requests", multiple=True, metavar="NAME=VALUE", help="Request-time data; repeatable.")
@options.formats
@options.environment
@click.pass_obj
def get(
    directory: Path | None,
    features: tuple[str, ...],
    keys: tuple[str, ...],
    requests: tuple[str, ...],
    format_: str,
    env: str,
) -> None:
    """Get the current values of features.

    Features are named by bare name, by address or by set version.

    \b
    featdsl get age income --key user_id=42
    featdsl get credit_risk@1 --key user_id=42 --format json
    featdsl get share --key user_id=42 --request amount=12.5
    """
    from featdsl.errors import DeprecatedWarning
    from featdsl.render import reports

    key, request = options.pairs(keys, "--key", "COLUMN"), options.pairs(requests, "--request", "NAME")
    names = features[0] if len(features) == 1 else list(features)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecatedWarning)
        (values,) = options.store(directory, env).get_features(names, rows=[key], request=request)
    for warning in caught:
        printing.echo(f"Warning: {warning.message}", err=True)
    printing.output(values, lambda: reports.values([values]), format_)


@click.command()
@click.option(
    "--select",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.names("feature", "group", "set", "model", "team"),
    help="Check only this feature, group, set, model or team; repeatable.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings too.")
@click.option("--no-record", is_flag=True, help="Do not save the results in the store.")
@click.option(
    "--history",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    shell_complete=completion.names("feature", "group", "set", "model"),
    help="Show past results instead.",
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show at most this many past results."
)
@click.option("--parity", is_flag=True, help="Compare serving values with training values instead.")
@click.option("--served", is_flag=True, help="With --parity: compare the values in the serving log.")
@click.option(
    "--sample",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Compare this many entities, or logged rows, per set.",
)
@click.option(
    "--moments",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="With an online store, compare at this many random moments, and as many at which values change.",
)
@options.formats
@options.environment
@click.pass_obj
def check(
    directory: Path | None,
    select: tuple[str, ...],
    strict: bool,
    no_record: bool,
    history: str | None,
    limit: int,
    parity: bool,
    served: bool,
    sample: int,
    moments: int,
    format_: str,
    env: str,
) -> None:
    """Check the stored rows against the data quality rules.

    With --parity, look for training-serving skew instead: compare served values with training values, now and, if there is an
    online store, up to its horizon; with --served, compare logged values at the times of their reads. Exits with 1 if a rule
    is broken, except rules that only warn.
    Results are kept for `keep_history` in featproject.toml.

    \b
    featdsl check
    featdsl check --select user_profile --strict
    featdsl check --history user_profile.age
    featdsl check --parity --sample 100 --moments 50
    featdsl check --parity --served
    """
    from featdsl.render.progress import say

    if served and not parity:
        raise click.UsageError("--served needs --parity: featdsl check --parity --served")

    store = options.store(directory, env)
    if history is not None:
        _show_past_checks(store, history, limit, format_)
    elif served:
        _check_log(store, sample, format_)
    elif parity:
        _check_parity(store, sample, moments, format_)
    else:
        checked = _check_rules(store, select, format_)
        if checked and not no_record:
            store.record_checks(checked, listen=say)
        if any(each.broken and (strict or each.severity == "error") for each in checked):
            sys.exit(1)


def _check_rules(store: FeatureStore, select: Sequence[str], format_: str) -> Sequence[Checked]:
    """Check the stored rows, print the verdict of each rule and return them."""
    from featdsl.render import reports

    checked = store.check(select=select)
    printing.output(checked, lambda: reports.checks(checked), format_)
    return checked


def _check_parity(store: FeatureStore, sample: int, moments: int, format_: str) -> None:
    """Compare serving values with training values and print the differences; exit with 1 if there are any."""
    from dataclasses import asdict

    from featdsl.definitions.json_format import versioned
    from featdsl.render import reports

    compared = store.check_parity(sample=sample, moments=moments)
    printing.output(versioned(asdict(compared)), lambda: reports.parity(compared), format_)
    if compared.differences:
        sys.exit(1)


def _check_log(store: FeatureStore, sample: int, format_: str) -> None:
    """Compare logged values with training values and print the differences; exit with 1 if there are any."""
    from dataclasses import asdict

    from featdsl.definitions.json_format import versioned
    from featdsl.render import served_values

    compared = store.check_log(sample=sample)
    printing.output(versioned(asdict(compared)), lambda: served_values.served_parity(compared), format_)
    if compared.differences:
        sys.exit(1)


def _show_past_checks(store: FeatureStore, name: str, limit: int, format_: str) -> None:
    """Print the newest saved results: of the definition `name`, or of all if it is empty."""
    from dataclasses import asdict

    from featdsl.render import reports

    past = store.check_history(name or None)[:limit]
    with_verdicts = [{**asdict(each), "verdict": each.verdict} for each in past]
    printing.output(with_verdicts, lambda: reports.check_history(past, printing.width()), format_)


COMMANDS = (get, check)
