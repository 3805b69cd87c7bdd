"""Figures: every one draws, says what it shows, keeps its colours, overlaps nothing, repeats its bytes."""

import re
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_doctree
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.optimize import minimize
from synthetic_evidence import make

from nfd.claims.registry import CLAIMS, FIGURES, caption_path, function
from nfd.claims.rules import judge
from nfd.drawing import axes as drawing_axes
from nfd.drawing import labels, names, page, style
from nfd.drawing.names import NOT_FITTED, NOT_MEASURED
from nfd.drawing.page import FORMATS, Context, draw, save_as
from nfd.evidence.table import SINGLE_MATRICES, empty, read
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.training.optimizers import OPTIMIZERS

ROOT = Path(__file__).parents[1]
CONTEXT = Context("digits", "laptop", "3fa9c1d20b7e")
ALL = pytest.mark.parametrize("name", list(FIGURES))


def picture(name: str, table: pd.DataFrame) -> Figure:
    return draw(function("figure", name), table, CONTEXT)


@cache
def drawn(name: str) -> Figure:
    """The figure of complete evidence; tests only look at it."""
    return picture(name, make(name))


def save(figure: Figure, stem: Path) -> None:
    for suffix in FORMATS:
        save_as(figure, f"{stem}.{suffix}")


def panels(figure: Figure) -> list[Axes]:
    return [axes for band in figure.subfigs for axes in band.axes]


def texts(figure: Figure) -> list[Text]:
    """Every text that is printed: ticks outside the view or of absent axes exist but are not."""
    kept, dropped = [], set()
    for axes in panels(figure):
        for axis in (axes.xaxis, axes.yaxis):
            drawn_ticks = axis._update_ticks() if axes.axison else []
            kept += [tick.label1 for tick in drawn_ticks if tick.label1.get_visible()]
            every = [*axis.majorTicks, *axis.minorTicks]
            dropped |= {label for tick in every for label in (tick.label1, tick.label2)}
            if not axes.axison:
                dropped.add(axis.label)
    others = [text for text in figure.findobj(Text) if text.get_visible() and text not in dropped]
    return [text for text in others + kept if text.get_text().strip()]


def box(text: Text) -> Bbox:
    """Where the letters are, without an annotation's leader."""
    return Text.get_window_extent(text)


def overlaps(found: list[Text], slack: float = 0.5) -> list[tuple[str, str]]:
    """Pairs of texts that share more than ``slack`` pixels in both directions."""
    boxes = [box(text) for text in found]
    pairs = []
    for (a, one), (b, other) in combinations(zip(boxes, found, strict=True), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > slack and along > slack:
            pairs.append((one.get_text(), other.get_text()))
    return pairs


# ------------------------------------------------------------------------------------- complete evidence


@ALL
def test_no_text_overlaps_another_or_leaves_the_page(name):
    figure = drawn(name)
    figure.draw_without_rendering()
    found = texts(figure)
    assert len(found) > 20
    assert overlaps(found) == []
    page = figure.bbox
    outside = [
        text.get_text()
        for text in found
        if not (page.x0 - 1 <= box(text).x0 and box(text).x1 <= page.x1 + 1)
        or not (page.y0 - 1 <= box(text).y0 and box(text).y1 <= page.y1 + 1)
    ]
    assert outside == []


def test_narrow_panels_have_fewer_ticks_and_show_the_sizes_that_cross_most_others():
    """The long run has most depths at one width that is not the largest; its ticks of steps touched."""
    figure = picture("scaling_trend", read(ROOT / "figures/record/cifar10_night/scaling_trend.csv"))
    figure.draw_without_rendering()
    assert overlaps(texts(figure)) == []
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert titles[:2] == ["Depth-μP, L = 8", "Depth-μP, n = 128"]
    assert "test accuracy, n = 128" in titles


def test_the_overlap_check_finds_labels_on_top_of_one_another():
    figure = picture("deeper_is_better", make("deeper_is_better"))
    first, second = [t for t in panels(figure)[0].texts if t.get_gid() == "end label"][:2]
    second.set_position(first.get_position())
    assert overlaps(texts(figure))


@ALL
def test_every_panel_has_a_title_a_letter_and_labelled_axes(name):
    figure = drawn(name)
    letters = [t.get_text() for axes in panels(figure) for t in axes.texts if t.get_fontsize() == 9]
    assert letters == [chr(ord("a") + place) for place in range(len(panels(figure)))]
    for axes in panels(figure):
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        shared = any(other.get_ylabel() for other in axes.get_shared_y_axes().get_siblings(axes))
        categories = any(label.get_text()[:1].isalpha() for label in axes.get_yticklabels())
        assert shared or categories


@ALL
def test_the_foot_says_which_settings_made_the_figure(name):
    foot = drawn(name).get_label()
    assert "digits" in foot
    assert "preset laptop" in foot
    assert "configuration 3fa9c1d20b7e" in foot
    assert re.search("5 (to 6 )?seeds", foot)
    for parametrization in set(make(name)["parametrization"]) - {""}:
        assert f"branch {PARAMETRIZATIONS[parametrization].describe()['branch']}" in foot


def test_the_foot_says_at_which_level_a_look_makes_intervals():
    table = make("width_transfer")
    figure = draw(function("figure", "width_transfer"), table, replace(CONTEXT, level=0.99412))
    assert "bars and bands: 99.4 % intervals over seeds" in figure.get_label()
    assert "bars and bands: 95 % intervals over seeds" in drawn("width_transfer").get_label()


def test_the_foot_tells_apart_the_rules_that_are_called_depth_mup():
    foot = drawn("internal_collapse").get_label()
    assert "Depth-μP (branch T^1/2 L^-1/2): W₁ and W₂ by n" in foot
    assert "corrected Depth-μP (branch T^1/2 L^-1/2): W₁ by n L^p, W₂ by n" in foot
    assert "CompleteP (branch T L^-1): W₁ and W₂ by n L" in foot


def test_every_optimizer_and_parametrization_is_shown_with_its_own_factors(monkeypatch, quick):
    """Momentum follows SGD's column and AdamW Adam's; a row that has no colour stands at the foot too."""
    table = make("depth_transfer")
    renamed = table.assign(
        optimizer=table["optimizer"].replace({"sgd": "momentum", "adam": "adamw"})
    )
    figure = draw(function("figure", "depth_transfer"), pd.concat([table, renamed]), CONTEXT)
    foot = figure.get_label()
    assert "CompleteP (branch T L^-1): W by n L | n^-1/2 | n L | n^-1/2" in foot
    assert "(SGD/Adam/SGD with momentum/AdamW)" in foot
    titles = [axes.get_title(loc="left").split("\n")[0] for axes in panels(figure)]
    for kind in OPTIMIZERS.values():
        assert any(title.endswith(f", {kind.printed_name}") for title in titles), kind
    row = replace(PARAMETRIZATIONS["mup"], name="own", printed_name="own", long_name="own rule")
    for module in (names, page):
        monkeypatch.setattr(module, "PARAMETRIZATIONS", {**PARAMETRIZATIONS, "own": row})
    own = table.assign(parametrization=table["parametrization"].replace({"mup": "own"}))
    figure = draw(function("figure", "depth_transfer"), own, CONTEXT)
    assert "own rule (branch 1): W by n" in figure.get_label()


def test_the_foot_lists_what_has_neither_a_colour_nor_a_printed_name(monkeypatch, quick):
    """A parametrization or optimizer that nobody has named yet is drawn, and its exponents are listed."""
    known = dict(PARAMETRIZATIONS)
    name = "three_quarters"
    known[name] = replace(known["complete_p"], name=name, printed_name=name, long_name=name)
    for module in (page, names):
        monkeypatch.setattr(module, "PARAMETRIZATIONS", known)
    table = make("depth_transfer")
    mup = table["parametrization"] == "mup"
    table.loc[mup, ["parametrization", "series"]] = "three_quarters"
    figure = picture("depth_transfer", table)
    assert "three_quarters (branch T L^-1): W by n L | n^-1/2 (SGD/Adam)" in figure.get_label()
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert any("three_quarters" in title for title in titles)


def test_a_line_of_an_optimizer_without_a_printed_name_is_drawn():
    table = make("depth_transfer")
    table.loc[table["optimizer"] == "adam", "optimizer"] = "lion"
    titles = [
        panel.title for row in function("figure", "depth_transfer")(table) for panel in row.panels
    ]
    assert any(title.endswith(", lion") for title in titles)
    assert any(title.endswith(", SGD") for title in titles)


# Families that a name begins with, and the colour each has everywhere.
FAMILIES = {
    "Depth-μP": "depth_mup",
    "CompleteP": "complete_p",
    "NTK": "ntk",
    "SP": "standard",
    "corrected, p = 1/2": "depth_mup_corrected",
    "p = 1/2": "depth_mup_corrected",
}


def test_a_parametrization_has_the_same_colour_in_every_figure():
    seen: dict[str, set[str]] = {}
    for name in FIGURES:
        for text, colour in named_colours(drawn(name)):
            for family, parametrization in FAMILIES.items():
                if text.split("\n")[0].split(", decoupled")[0] == family:
                    seen.setdefault(parametrization, set()).add(colour)
    elsewhere = ("mup", "standard_sqrt_depth")  # has several names; not in these tables
    expected = {
        name: {colour.lower()} for name, colour in style.COLOURS.items() if name not in elsewhere
    }
    assert seen == expected
    assert len(set(style.COLOURS.values()) | {style.NO_SKIP}) == len(style.COLOURS) + 1


def named_colours(figure: Figure) -> list[tuple[str, str]]:
    """(name, colour) of every legend entry and every label at a line's end."""
    found = []
    for band in figure.subfigs:
        for legend in band.legends:
            lines = zip(legend.get_texts(), legend.get_lines(), strict=True)
            found += [(text.get_text(), to_hex(line.get_color())) for text, line in lines]
    for axes in panels(figure):
        labels = [text for text in axes.texts if text.get_gid() == "end label"]
        found += [(t.get_text(), to_hex(t.arrow_patch.get_edgecolor())) for t in labels]
    return found


def test_colours_differ_in_hue_or_brightness_for_a_colour_blind_reader():
    """Simulated deuteranopia (Vienot et al. 1999); distances in the linear RGB cube, at least 0.1."""
    simulate = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = [*style.COLOURS.values(), style.NO_SKIP]
    linear = [np.array(style.to_rgb(colour)) ** 2.2 for colour in colours]
    for one, other in combinations(linear, 2):
        assert np.linalg.norm(simulate @ (one - other)) > 0.1


def test_lines_show_the_numbers_of_the_table_and_dashes_the_coupling():
    table = make("internal_collapse")
    figure = drawn("internal_collapse")
    own = next(axes for axes in panels(figure) if axes.get_title(loc="left") == "W₁: own change")
    for series, dash in (("depth_mup", "-"), ("depth_mup, decoupled", "--")):
        rows = table[(table["series"] == series) & (table["quantity"] == "own_change_1")]
        rows = rows[(rows["step"] == 10) & (rows["source"] == "fit")]
        lines = [line for line in own.lines if np.array_equal(line.get_ydata(), rows["estimate"])]
        assert dash in {line.get_linestyle() for line in lines}
        assert all(np.array_equal(line.get_xdata(), rows["depth"]) for line in lines)


def test_bars_span_the_intervals_of_the_table():
    table = make("deeper_is_better")
    rows = table[(table["quantity"] == "best_train_loss") & (table["series"] == "complete_p")]
    axes = panels(drawn("deeper_is_better"))[0]
    colour = style.COLOURS["complete_p"].lower()
    bars = [c for c in axes.collections if isinstance(c, LineCollection)]
    mine = next(bar for bar in bars if to_hex(bar.get_colors()[0]) == colour)
    ends = np.array([segment[:, 1] for segment in mine.get_segments()])
    np.testing.assert_array_equal(ends, rows[["ci_low", "ci_high"]].to_numpy(float))


def test_the_closed_form_is_drawn_dashed_and_black_next_to_the_first_step():
    axes = next(
        a for a in panels(drawn("gia_restoration")) if "first step" in a.get_title(loc="left")
    )
    table = make("gia_restoration")
    exact = table[(table["source"] == "closed_form") & (table["series"] == "one sample")]
    black = [line for line in axes.lines if line.get_color() == "black"]
    assert [list(line.get_ydata()) for line in black] == [list(exact["estimate"])]
    assert black[0].is_dashed()


def test_sizes_are_ticks_that_can_be_read():
    axes = panels(drawn("deeper_is_better"))[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "8", "16", "32", "64", "128"]


def test_diverged_runs_are_counted_in_panel_and_foot():
    figure = drawn("gia_restoration")
    titles = {axes.get_title(loc="left") for axes in panels(figure)}
    assert "μP\n3 diverged runs left out" in titles
    assert "3 diverged runs" in figure.get_label()


def test_a_rate_that_diverges_at_the_transferred_rate_is_marked():
    titles = [axes.get_title(loc="left") for axes in panels(drawn("depth_transfer"))]
    assert any("▲ diverges" in title for title in titles)


# -------------------------------------------------------------------------- what is judged and what is drawn


def panels_of(name: str) -> list[page.Panel]:
    return [panel for row in function("figure", name)(make(name)) for panel in row.panels]


# Read for notes only, and shown elsewhere: counted at the foot; the points of the panels themselves.
NOT_IN_PANELS = ("diverged_runs", "grid_spacing", "reached_loss")


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_verdict_rests_on_nothing_but_what_is_drawn(claim):
    """Judged on the rows that stand in panels alone, every finding is the same."""
    known = {name: make(name) for name in CLAIMS[claim].figures}
    drawn_rows = {}
    for name, table in known.items():
        shown = {place for panel in panels_of(name) for place in panel.table.index}
        drawn_rows[name] = table[table.index.isin(shown) | table["quantity"].isin(NOT_IN_PANELS)]
        assert 0 < len(drawn_rows[name]) < len(table) + 1
    pd.testing.assert_frame_equal(judge(CLAIMS[claim], drawn_rows), judge(CLAIMS[claim], known))


def test_the_check_of_judged_rows_sees_a_number_that_is_not_drawn():
    table = make("scaling_trend")
    without = table[table["quantity"] != "width_coefficient"]
    found, expected = (judge(CLAIMS["C1"], {"scaling_trend": t}) for t in (without, table))
    assert not found.equals(expected)


def marks(panel: page.Panel, table: pd.DataFrame) -> list[object]:
    """All that a panel shows of a table, as something to compare."""
    with rc_context(dict(style.STYLE)):
        axes = Figure().subplots()
        axes.set_title(panel.title, loc="left")
        panel.draw(axes, table)
    lines = [(line.get_xydata().tolist(), line.get_gid()) for line in axes.lines]
    written = [text.get_text() for text in axes.texts] + [axes.get_title(loc="left")]
    written += [label.get_text() for label in axes.get_yticklabels()]
    return [lines, [len(c.get_paths()) for c in axes.collections], written]


@ALL
def test_every_quantity_in_a_panel_is_drawn(name):
    """A panel whose table loses a quantity shows something else."""
    for panel in panels_of(name):
        whole = marks(panel, panel.table)
        for quantity in panel.table["quantity"].unique():
            rest = panel.table[panel.table["quantity"] != quantity]
            if len(rest):
                assert marks(panel, rest) != whole, (panel.title, quantity)


@ALL
def test_nothing_is_missing_from_complete_evidence(name):
    """A quantity that a panel asks for under another name than the evidence's leaves it empty."""
    figure = drawn(name)
    assert len(panels(figure)) == len(panels_of(name))
    said = {text.get_text() for text in texts(figure)}
    assert not said & {NOT_MEASURED, NOT_FITTED, "no usable value"}


# ------------------------------------------------------------------------- incomplete or ugly evidence


@pytest.fixture
def quick(monkeypatch):
    """Without the final placing of labels and ticks, which these tests do not look at."""
    monkeypatch.setattr(page, "settle", lambda figure: None)


@ALL
def test_no_evidence_gives_a_figure_that_says_so(name, quick):
    figure = picture(name, empty())
    assert any("not measured in this preset" in text.get_text() for text in texts(figure))
    assert panels(figure) == []


@ALL
def test_rows_without_a_usable_value_give_a_figure_that_says_so(name, quick):
    table = make(name).assign(estimate=np.nan, ci_low=np.nan, ci_high=np.nan, learning_rate=np.nan)
    figure = picture(name, table)
    for axes in panels(figure):
        assert not axes.axison or "diverged" in axes.get_title(loc="left")


@ALL
def test_missing_quantities_are_left_out_or_explained(name, quick):
    table = make(name)
    quantities = sorted(table["quantity"].unique())
    for kept in (quantities[::2], quantities[1::2], quantities[:1], quantities[-1:]):
        figure = picture(name, table[table["quantity"].isin(kept)])
        for axes in panels(figure):
            if not axes.axison:
                assert any(text.get_fontsize() < 9 for text in axes.texts)  # besides its letter
            else:
                assert axes.lines or axes.collections


@ALL
def test_a_single_seed_draws_no_interval_and_says_so(name, quick):
    figure = picture(name, make(name, seeds=1))
    if name != "response_by_layer":  # squares of means need two seeds: only closed forms are left
        assert "1 seed" in figure.get_label()
        assert "no intervals" in figure.get_label()
    for axes in panels(figure):
        bars = [c for c in axes.collections if isinstance(c, LineCollection)]
        vertical = [s for c in bars for s in c.get_segments() if s[0, 0] == s[1, 0]]
        assert vertical == []


@ALL
def test_nan_infinite_zero_and_negative_values_are_survived_without_a_warning(name, request):
    if name not in ("gia_restoration", "limit_convergence", "width_transfer"):
        request.getfixturevalue("quick")  # these three have every kind of panel and label
    table = make(name)
    ugly = np.array([np.nan, np.inf, 0.0, -1.0])
    place = np.random.default_rng(0).permutation(len(table))[: len(table) // 3]
    table.loc[place, "estimate"] = np.resize(ugly, len(place))
    table.loc[place[::2], ["ci_low", "ci_high"]] = [-np.inf, np.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = picture(name, table)
    for axes in panels(figure):
        if axes.axison:
            assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()


@pytest.mark.parametrize("name", ["limit_convergence", "vanishing_mechanism"])
def test_networks_of_one_matrix_get_a_panel_of_their_own(name):
    """The others look as without them."""
    whole = make(name)
    of_networks = whole[whole["trainable"] != ""]
    parts = [of_networks.assign(trainable=matrix) for matrix in SINGLE_MATRICES]
    figure = picture(name, pd.concat([whole, *parts], ignore_index=True))
    with_them, without = panels(figure), panels(drawn(name))
    (added,) = [
        axes for axes in with_them if "each matrix trained alone" in axes.get_title(loc="left")
    ]
    with_them.remove(added)
    assert {text.get_text() for text in texts(figure)} >= set(SINGLE_MATRICES.values())
    assert [len(axes.lines) for axes in with_them] == [len(axes.lines) for axes in without]


def test_values_that_a_logarithmic_axis_cannot_show_are_marked_at_its_edge():
    table = make("deeper_is_better")
    first = table.index[table["quantity"] == "best_train_loss"][0]
    table.loc[first, "estimate"] = 0.0
    axes = panels(picture("deeper_is_better", table))[0]
    marks = [line for line in axes.lines if line.get_marker() == "v"]
    assert [list(line.get_xdata()) for line in marks] == [[table.loc[first, "depth"]]]


# ------------------------------------------------------------------------------------------ small parts


def test_labels_are_spread_as_little_as_possible():
    """Against a general optimizer, on random heights and wishes."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        wanted = np.sort(rng.uniform(0, 100, 6))
        heights = rng.uniform(5, 15, 6)
        gaps = (heights[1:] + heights[:-1]) / 2
        found = labels.spread(wanted, heights, -1e3, 1e3)
        assert (np.diff(found) >= gaps - 1e-9).all()
        apart = {"type": "ineq", "fun": lambda y, gaps=gaps: np.diff(y) - gaps}
        best = minimize(
            lambda y, wanted=wanted: ((y - wanted) ** 2).sum(),
            np.cumsum(np.r_[wanted[0], gaps]),
            constraints=apart,
            options={"ftol": 1e-12, "maxiter": 500},
        )
        np.testing.assert_allclose(found, best.x, atol=1e-3)


@pytest.mark.parametrize("low", [1e-7, 0.013, 0.4, 1.0, 37.0])
@pytest.mark.parametrize("ratio", [1.05, 1.3, 2, 5, 20, 300, 1e5, 1e9])
def test_logarithmic_ticks_are_few_and_inside(low, ratio):
    ticks = drawing_axes.log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= low * ratio for tick in ticks)


def test_learning_rates_are_powers_of_two_where_the_grid_has_them():
    assert drawing_axes.rate_texts([0.125, 0.1767767, 0.25, 0.0156]) == ["2⁻³", "", "2⁻²", "2⁻⁶"]
    assert drawing_axes.rate_texts([0.001, 0.003]) == ["0.001", "0.003"]


# ------------------------------------------------------------------------------------- files and command


def test_the_same_evidence_gives_the_same_bytes(tmp_path):
    name = "coupling_at_init"
    make(name).to_csv(tmp_path / "evidence.csv", index=False)
    for number, table in enumerate((make(name), read(tmp_path / "evidence.csv"))):
        save(picture(name, table), tmp_path / f"figure{number}")
    for suffix in ("pdf", "png", "svg"):
        one, other = ((tmp_path / f"figure{number}.{suffix}").read_bytes() for number in (0, 1))
        assert one == other
        assert len(one) > 1000


def test_files_hold_text_as_text_and_their_settings(tmp_path):
    save(drawn("coupling_at_init"), tmp_path / "figure")
    svg = (tmp_path / "figure.svg").read_text()
    assert "depth L (blocks)</text>" in svg
    assert "sans-serif" in svg
    assert "configuration 3fa9c1d20b7e" in svg
    assert re.search(r"fill: #ffffff", svg)  # a white page, readable on a dark one
    assert b"/CIDFontType2" in (tmp_path / "figure.pdf").read_bytes()  # TrueType, not outlines
    assert b"/Type3" not in (tmp_path / "figure.pdf").read_bytes()
    assert b"CreationDate" not in (tmp_path / "figure.pdf").read_bytes()


def test_an_unknown_format_is_refused_and_nothing_left_behind(tmp_path):
    with pytest.raises(ValueError, match=r"figure\.gif: figures are written as pdf, png, svg"):
        save_as(drawn("coupling_at_init"), tmp_path / "figure.gif")
    assert list(tmp_path.iterdir()) == []


def run_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "make_figure.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_writes_every_output(tmp_path):
    source = tmp_path / "evidence.csv"
    make("coupling_at_init").to_csv(source, index=False)
    outputs = [tmp_path / "out" / f"figure.{suffix}" for suffix in ("pdf", "png", "svg", "csv")]
    answer = run_command(
        "--figure", "coupling_at_init", "--evidence", source, "--label", '"digits"',
        "--preset", "laptop", "--digest", "abc", "--outputs", *outputs,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert outputs[3].read_bytes() == source.read_bytes()
    assert all(path.stat().st_size > 500 for path in outputs)


def test_the_command_names_evidence_that_it_cannot_read(tmp_path):
    answer = run_command(
        "--figure", "coupling_at_init", "--evidence", tmp_path / "absent.csv", "--label", '"x"',
        "--preset", "x", "--digest", "x", "--outputs", tmp_path / "figure.png",
    )  # fmt: skip
    assert answer.returncode == 1
    assert "absent.csv" in answer.stderr
    assert "Traceback" not in answer.stderr


@ALL
def test_every_figure_has_a_caption_of_a_few_sentences(name):
    caption = caption_path(name).read_text(encoding="utf-8")
    publish_doctree(caption, settings_overrides={"halt_level": 2, "report_level": 5})
    assert 2 <= len(re.findall(r"[.?](?:\s|$)", caption)) <= 6
    claims = re.findall(r"C\d+", caption)
    assert claims
