"""The report: what it says agrees with its inputs, nothing escapes, nothing is fetched."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
import synthetic_report

from nfd.claims.rules import overall
from nfd.pipeline.progress import duration
from nfd.report import ReportError
from nfd.report.figures import read_figure, slim, summarise
from nfd.report.findings import certainty_sentences, read_claims, read_findings
from nfd.report.page import PAPER, collect, render, security_hash
from nfd.report.text import number, typeset

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_report.py"


class Page(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "path", "circle", "rect", "use"):
            self._open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data):
        for tag in set(self._open):
            self.text[tag][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, Path]:
    return synthetic_report.make(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def content(paths):
    return collect(synthetic_report.config(), **paths)


@pytest.fixture(scope="module")
def html(content) -> str:
    return render(content)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_hostile_text_stays_text(page):
    assert len(page.attributes("script")) == 1
    assert "injected" not in page.text["script"][0]
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    # Italics and bold of the inputs were shown as written, not obeyed.
    assert not page.attributes("i")
    assert "gap <i>relative</i>" in " ".join(page.text["tr"])
    assert (
        synthetic_report.HOSTILE
        in page.text["p"][[p[:8] for p in page.text["p"]].index("<script>")]
    )
    assert synthetic_report.LABEL in page.text["header"][0]


def test_nothing_is_loaded_from_anywhere(html, page):
    policy = next(m["content"] for m in page.attributes("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:")
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            address = attributes.get(name) or "#"
            outside = not address.startswith(("#", "data:"))
            assert not outside or (tag, address) == ("a", PAPER["url"])
    assert "@import" not in html
    assert "url(" not in page.text["style"][0]


def test_policy_knows_the_pages_own_style_and_script(page):
    policy = next(m["content"] for m in page.attributes("meta") if "http-equiv" in m)
    for kind in ("style", "script"):
        assert f"{kind}-src '{security_hash(page.text[kind][0])}'" in policy


def test_every_link_inside_the_page_has_its_target(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for a in page.attributes("a") if a["href"].startswith("#")}
    assert links
    assert links <= set(ids)


def test_verdict_of_every_claim_is_that_of_the_claims_module(content, paths):
    table = pd.read_csv(paths["claims"])
    expected = {name: overall(rows) for name, rows in table.groupby("id")}
    assert {claim.id: claim.verdict for claim in content["claims"]} == expected
    assert set(expected.values()) == set(synthetic_report.VERDICTS)


def test_every_claim_shows_its_numbers(page):
    rows = [" ".join(row.split()) for row in page.text["tr"]]
    # 0.123456 * 4 with its interval, and a claim that was not measured.
    assert any(row.startswith("C6 ") and "0.494 [0.300, 0.750]" in row for row in rows)
    assert any(row.startswith("C4 ") and "not measured" in row for row in rows)
    # An estimate without interval shows none.
    assert any(row.startswith("C5 ") and "0.370" in row and "[" not in row for row in rows)


def test_every_figure_is_shown_once_with_its_table(page, paths):
    pictures = [image for image in page.attributes("img") if image.get("src")]
    assert len(pictures) == len(synthetic_report.DRAWN)
    for image in pictures:
        kind, picture = unquote(image["src"]).split(",", 1)
        assert kind == "data:image/svg+xml;charset=utf-8"
        assert picture.startswith("<?xml")
        assert (image["width"], image["height"]) == ("504", "180")
        assert len(image["alt"]) > 40
    downloads = {a["download"]: a["href"] for a in page.attributes("a") if "download" in a}
    for name in synthetic_report.DRAWN:
        written = (paths["figures"] / f"{name}.csv").read_text()
        assert unquote(downloads[f"{name}.csv"].split(",", 1)[1]) == written


def test_figures_stand_where_they_belong(page, content):
    homes = {figure.name: figure.home for figure in content["figures"]}
    names = {claim.id: claim.name.replace("-", "_") for claim in content["claims"]}
    assert homes.pop(synthetic_report.WITHOUT_CLAIM) == ""
    assert {names[home] for home in homes.values()} == set(homes)
    assert [figure.number for figure in content["figures"]] == list(range(1, len(homes) + 2))
    further = next(i for i, (_, a) in enumerate(page.elements) if a.get("id") == "further-figures")
    figures = [a["id"] for tag, a in page.elements[further:] if tag == "figure"]
    assert figures == [f"figure-{synthetic_report.WITHOUT_CLAIM}"]


def test_slim_keeps_text_and_rounds_coordinates():
    slimmed = slim(synthetic_report.picture("loss").encode()).decode()
    assert "loss: 0.0625 &lt; 1" in slimmed
    assert 'd="M 10.12 170 L 490.98 10.5"' in slimmed
    assert 'viewBox="0 0 504 180.123"' in slimmed
    assert "metadata" not in slimmed
    assert "made by hand" not in slimmed


def test_summary_of_a_figure_holds_every_line():
    lines = summarise(synthetic_report.evidence("any"))
    assert [(line.quantity, line.over, line.values) for line in lines] == [
        ("gap", "depth 2–8", "0.500 → 0.125"),
        ("slope", "", "−1 [−1.10, −0.900]"),
    ]


def test_cost_counts_jobs_of_this_configuration_only(content):
    costs = {(cost.rule, cost.what): cost for cost in content["costs"]}
    training = costs["train_networks", "scaling"]
    assert (training.jobs, training.wall_s, training.longest_s) == (2, 61.0, 30.5)
    assert (training.cpu_s, training.peak_mb) == (60.0, 512.0)
    assert costs["simulate_limit", "limit_convergence"].jobs == 1
    assert costs["gather_evidence", ""].wall_s == 2.0 * len(synthetic_report.DRAWN)


def test_parametrization_table_holds_the_exponents_of_those_used(html, content):
    assert [row["name"] for row in content["parametrizations"]] == ["depth_mup", "complete_p"]
    assert "branch T<sup>1/2</sup> L<sup>−1/2</sup>" in html
    cells = [
        re.sub(r"\s+", "", row) for row in re.findall(r"(?s)<tr><th scope=.row.>W2.*?</tr>", html)
    ]
    assert len(cells) == 2
    assert "<td>nL</td>" in cells[1]


def test_the_page_says_what_differs_from_the_record(page, content):
    text = " ".join(" ".join(page.text["section"]).split())
    changed = "C6 contradicted → inconclusive"
    assert changed in text
    assert "Settings that differ (1)" in text
    assert f"1 of {synthetic_report.FINDINGS} observables are in " in text
    rows = [" ".join(row.split()) for row in page.text["tr"]]
    assert any("1.50 [1.30, 1.70] 0.494 [0.300, 0.750]" in row for row in rows)
    # The finding that the record lacks is shown beside nothing, not dropped.
    assert sum("absent" in row for row in rows) == 1


def test_a_preset_without_record_says_so(paths):
    alone = {name: path for name, path in paths.items() if name != "record"}
    html = render(collect(synthetic_report.config(), **alone))
    assert "has no record to compare with" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.123"),
        (-0.5, "−0.500"),
        (12.5, "12.5"),
        (12.0, "12"),
        (1234.6, "1235"),
        (0.0, "0"),
        (2.5e-7, "2.50·10^−7"),
        (float("inf"), "∞"),
        (float("nan"), ""),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (18720, "5 h 12 min")],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_typeset_sets_exponents_and_escapes_the_rest():
    text = typeset("L^-1/2 <b> n^(p-1/2), c_inf >= -0.5; ``a_b^2``")
    assert text == (
        "L<sup>−1/2</sup> &lt;b&gt; n<sup>p−1/2</sup>, c<sub>∞</sub> ≥ −0.5; "
        "<code>a_b<sup>2</sup></code>"
    )


def test_odd_inputs_are_named(paths, tmp_path):
    table = pd.read_csv(paths["claims"])
    table.drop(columns="rule").to_csv(tmp_path / "short.csv")
    with pytest.raises(ReportError, match=r"short\.csv: columns rule are missing"):
        read_claims(tmp_path / "short.csv")
    table.assign(verdict="maybe").to_csv(tmp_path / "odd.csv")
    with pytest.raises(ReportError, match=r"'maybe' is not one of supported"):
        read_claims(tmp_path / "odd.csv")
    with pytest.raises(ReportError, match=r"figure absent cannot be read"):
        read_figure("absent", tmp_path, 1, "C1")


def test_command_writes_the_page_or_says_what_is_missing(paths, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("make_report", SCRIPT)
    make_report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_report)
    page = tmp_path / "out" / "report.html"
    arguments = [*synthetic_report.arguments(paths), "--output", str(page)]
    assert make_report.main(arguments) == 0
    assert page.read_text().endswith("</html>\n")
    arguments[arguments.index("--results") + 1] = str(tmp_path / "nowhere")
    assert make_report.main(arguments) == 1
    assert "error: " in capsys.readouterr().err


def test_the_report_needs_no_torch():
    code = "import sys, nfd.report.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_says_how_sure_its_verdicts_are(tmp_path):
    """Two claims hold together; tables of earlier versions say nothing."""
    table = synthetic_report.claims()
    path = tmp_path / "claims.csv"
    table.to_csv(path, index=False)
    assert certainty_sentences(read_findings(path)) == []
    p_values = {"C1": 0.001, "C2": 0.02}
    table["p_value"], table["p_holm"] = (table["id"].map(p_values) * factor for factor in (1, 6))
    table = table[table["id"] != "C7"].assign(look=13, level=0.9916)
    table.to_csv(path, index=False)
    count = table["id"].nunique()
    wrong, joint, looks = certainty_sentences(read_findings(path))
    assert f"of the {count} verdicts at most {number(0.025 * count)} are" in wrong
    assert joint.startswith("1 of the 2 verdicts that decide a claim hold together (C1): ")
    assert "13 seeds (99.2 %)" in looks
