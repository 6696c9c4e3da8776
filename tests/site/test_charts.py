"""Charts and figures: what is drawn has the proportions of the numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from featdsl.definitions.statistics import Bin, ColumnStatistics, TopValue
from featdsl.discovery.catalogue_entries import StatisticsRun
from featdsl.site import axis_values, charts, figures, highlight, histogram, trends
from featdsl.site.svg import ticks

COLUMN = ColumnStatistics(
    dtype="DOUBLE", rows=425, nulls=50, not_finite=25,
    bins=tuple(Bin(low=at, high=at + 10, rows=rows) for at, rows in ((0, 100), (10, 200), (20, 50))),
)  # fmt: skip


def bars(svg: str, name: str = "bar") -> list[tuple[float, float]]:
    """Return the width and the height of each bar of a class."""
    found = re.findall(rf'<rect class="{name}" x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', svg)
    return [(float(width), float(height)) for width, height in found]


def test_bars_of_one_width_are_as_tall_as_their_rows() -> None:
    """With lines at round numbers of rows."""
    svg = histogram.histogram(COLUMN, "a.b")
    drawn = bars(svg)
    assert [height / drawn[1][1] for _, height in drawn] == pytest.approx([0.5, 1.0, 0.25], abs=0.01)
    assert len({width for width, _ in drawn}) == 1
    assert [label for label in ("0", "100", "200") if f">{label}</text>" in svg] == ["0", "100", "200"]
    assert histogram.note(COLUMN) == ""


def test_values_in_no_bar_have_bars_of_their_share() -> None:
    """NULL and not finite values: their full height is all rows."""
    svg = histogram.histogram(COLUMN, "a.b")
    (_, full), _ = bars(svg, "track")
    assert [height / full for _, height in bars(svg, "bar rest")] == pytest.approx([25 / 425, 50 / 425], abs=0.005)
    assert ">NULL</text>" in svg
    assert ">11.8 %</text>" in svg


def test_the_area_of_bars_of_other_widths_is_their_rows() -> None:
    """So the height is the density, as in the data of a histogram whose bars are narrow where there are many values."""
    wide = replace(
        COLUMN,
        minimum="0",
        maximum="80",
        bins=(Bin(low=0, high=16, rows=300), Bin(low=16, high=32, rows=100), Bin(low=32, high=96, rows=100)),
    )
    drawn = bars(histogram.histogram(wide, "a.b"))
    areas = [(width + 1) * height for width, height in drawn]  # there is a gap of 1 between bars
    assert [area / areas[1] for area in areas] == pytest.approx([3, 1, 1], abs=0.05)
    assert drawn[2][0] / drawn[1][0] == pytest.approx(3, abs=0.05)  # the values end at 80
    assert histogram.note(wide) == "A bar’s area shows its rows. "


def test_a_long_tail_does_not_hide_the_values() -> None:
    """The axis has the middle 98 % then, and the picture says so."""
    tail = replace(COLUMN, minimum="0", maximum="5000", quantiles=("0.5", "1", "2", "4", "6", "7", "8"),
                   bins=(Bin(low=0, high=4, rows=200), Bin(low=4, high=8, rows=200), Bin(low=8, high=8192, rows=4)))  # fmt: skip
    drawn = bars(histogram.histogram(tail, "a.b"))
    assert drawn[0][0] == pytest.approx(drawn[1][0], rel=0.1)
    assert drawn[0][0] > 200
    assert histogram.note(tail) == "A bar’s area shows its rows. The axis has the middle 98 % of the values."


def test_a_histogram_tells_in_words_what_it_shows() -> None:
    """For those who hear the page; each bar tells its rows."""
    svg = histogram.histogram(COLUMN, "a.b")
    assert '<title id="histogram-title">Distribution of a.b</title>' in svg
    assert (
        "Values from 0 to 30 in 3 bars; the one with most rows, 10 to 20, has 47.1 % of 425 rows. NULL: 11.8 %." in svg
    )
    assert "10 to 20: 200 rows, 47.1 %" in svg
    assert "NULL: 50 rows, 11.8 %" in svg


@pytest.mark.parametrize(
    ("dtype", "high", "labels"),
    [
        ("TIMESTAMP", 86400.0 * 365, ("1970-01-01", "1971-01-01")),
        ("DATE", 86400.0, ("1970-01-01", "1970-01-02")),
        ("TIMESTAMP WITH TIME ZONE", 3600.0, ("1970-01-01 00:00", "1970-01-01 01:00")),
        ("TIME", 3600.0, ("0:00:00", "1:00:00")),
        ("INTERVAL", 86400.0 * 2, ("0:00:00", "2 days, 0:00:00")),
        ("DECIMAL(10,2)", 50.0, ("0", "50")),
    ],
)
def test_the_axis_is_of_the_type(dtype: str, high: float, labels: tuple[str, str]) -> None:
    """Times are in seconds: since 1970, since midnight, or of a span."""
    svg = histogram.histogram(ColumnStatistics(dtype=dtype, rows=1, bins=(Bin(low=0.0, high=high, rows=1),)), "a.b")
    assert [f">{label}</text>" in svg for label in labels] == [True, True]


@pytest.mark.parametrize(
    ("text", "dtype", "shown"),
    [("3.4523399999999995", "DOUBLE", "3.452"), ("1234567", "BIGINT", "1,234,567"), ("-1234.50", "DECIMAL(10,2)", "-1,234.50"),
     ("2013-01-01 05:00:00", "TIMESTAMP", "2013-01-01 05:00:00"), ("nan", "DOUBLE", "nan"), (None, "DOUBLE", None)],
)  # fmt: skip
def test_values_show_the_digits_that_count(text: str | None, dtype: str, shown: str | None) -> None:
    """Whole and decimal numbers have all of them."""
    assert axis_values.shown_value(text, dtype) == shown


def test_shares_end_with_the_rest() -> None:
    """Other values and NULL are rows of the table too, so that the shares add up."""
    column = ColumnStatistics(
        dtype="VARCHAR", rows=100, nulls=10, top=(TopValue(value="a", rows=60), TopValue(value="b", rows=20))
    )
    table = charts.shares(column)
    assert [(row.label, row.rows, row.share, row.is_rest) for row in table] == [
        ("a", 60, "60.0 %", False), ("b", 20, "20.0 %", False), ("other values", 10, "10.0 %", True), ("NULL", 10, "10.0 %", True),
    ]  # fmt: skip
    assert [float(re.findall(r'width="([\d.]+)"', row.bar)[0]) for row in table] == pytest.approx(
        [100, 33.3, 16.7, 16.7], abs=0.1
    )


def test_shares_of_a_sample_are_of_the_sample() -> None:
    """Exact counts of NULL are scaled to it."""
    top = (TopValue(value="a", rows=30), TopValue(value="b", rows=15))
    table = charts.shares(ColumnStatistics(dtype="VARCHAR", rows=100, nulls=10, top=top, sampled=50))
    assert [(row.label, row.rows, row.share) for row in table] == [
        ("a", 30, "60.0 %"),
        ("b", 15, "30.0 %"),
        ("NULL", 5, "10.0 %"),
    ]


def runs(*values: tuple[int, int, float | None]) -> list[StatisticsRun]:
    """Return runs with rows, NULLs and means, the newest first."""
    return [
        StatisticsRun(serial=serial, computed_at=f"2026-01-{serial:02}T00:00:00", during="apply", rows=rows,
                      column=ColumnStatistics(dtype="DOUBLE", rows=rows, nulls=nulls, mean=mean))
        for serial, (rows, nulls, mean) in reversed(list(enumerate(values, 1)))
    ]  # fmt: skip


def test_a_trend_goes_from_the_first_run_to_the_last() -> None:
    """In the order of time, with the values of each run as text, the newest first."""
    rows, nulls, mean = trends.trends(runs((100, 0, 1.0), (200, 50, 3.0), (300, 30, 2.0)))
    assert (rows.name, rows.last, rows.values) == ("Rows", "300", ("300", "200", "100"))
    assert (nulls.name, nulls.values) == ("NULL share", ("10.0 %", "25.0 %", "0 %"))
    assert (mean.name, mean.values) == ("Mean", ("2", "3", "1"))
    points = re.findall(r'points="([^"]+)"', mean.chart)[0].split()
    assert [float(point.split(",")[1]) for point in points] == [58.0, 6.0, 32.0]
    assert "Mean over 3 runs. First: 2026-01-01 00:00, apply 1: 1. Last: 2026-01-03 00:00, apply 3: 2." in mean.chart


def test_a_run_without_a_figure_leaves_a_gap() -> None:
    """A mean that is unknown is no point; one known point is no line."""
    assert [each.name for each in trends.trends(runs((100, 0, 1.0), (100, 0, None)))] == ["Rows", "NULL share"]
    mean = trends.trends(runs((1, 0, 1.0), (1, 0, None), (1, 0, 3.0)))[2]
    assert mean.values == ("3", "–", "1")
    assert mean.chart.count("<circle") == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 10, [0, 5, 10]), (0, 180, [0, 100]), (-1, 1, [-1, 0, 1]), (3, 3, [])]
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """One, two, two and a half or five times a power of ten."""
    assert ticks(low, high, 2) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (1234567, "1,234,567"), (0.042136, "0.04214"), (118.25, "118.2"), (1234.56, "1,235"), (3.0, "3"), (1e20, "1e+20"),
     (float("nan"), "nan"), (float("-inf"), "-inf"), (-0.5, "-0.5")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    """With separators, and four digits that count."""
    assert figures.number(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "–"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 100_000, "<0.1 %"),
        (99_999, 100_000, ">99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_shares_never_round_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    """A column with one NULL is not complete."""
    assert figures.share(part, whole) == text


@pytest.mark.parametrize(
    ("at", "day", "instant"),
    [("2026-01-02T03:04:05+02:00", "2026-01-02 01:04", "2026-01-02T01:04:05+00:00"), ("2026-01-02 03:04:05.123", "2026-01-02 03:04",
     "2026-01-02T03:04:05+00:00"), ("2013-12-31", "2013-12-31 00:00", "2013-12-31T00:00:00+00:00"), ("41", "41", ""), (None, "–", None)],
)  # fmt: skip
def test_times_are_in_utc(at: str | None, day: str, instant: str | None) -> None:
    """Event times may be whole numbers: those stay as they are."""
    assert figures.day(at) == day
    assert at is None or figures.instant(at) == instant


def test_code_keeps_its_text() -> None:
    """Highlighting adds elements alone."""
    sql = "SELECT avg(x) AS \"m\" -- why <b>\nFROM t WHERE a = 'it''s' AND b > 1.5e3 /* open"
    marked = highlight.highlighted(sql, "sql")
    assert (
        re.sub("<[^>]+>", "", marked)
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#39;", "'")
        .replace("&#34;", '"')
        == sql
    )
    assert '<span class="k">SELECT</span> <span class="f">avg</span>(x)' in marked
    assert '<span class="c">-- why &lt;b&gt;</span>' in marked
    assert '<span class="s">&#39;it&#39;&#39;s&#39;</span>' in marked
    assert '<span class="n">1.5e3</span>' in marked
    assert '<span class="k">from</span>' in highlight.highlighted("from features import x  # y", "python")
