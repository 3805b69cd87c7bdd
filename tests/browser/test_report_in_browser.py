"""The report in headless Chromium: loads nothing, fits a phone, works by keyboard, passes axe-core.

``make test-browser`` runs it, with the packages of requirements.txt and the system's Chromium (Debian:
``apt install chromium``; another one: ``CHROMIUM=/path/to/chrome``). Where either is missing, all of it is
skipped. The report is an invented one whose texts are hostile; with REPORT=results/laptop/report.html that
one is tested too.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic_report

from nfd.report.page import collect, render

WHERE = "run it with `make test-browser`"
playwright = pytest.importorskip("playwright.sync_api", reason=f"no playwright; {WHERE}")
axe_tools = pytest.importorskip("axe_playwright_python.sync_playwright", reason=f"no axe; {WHERE}")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found; install it, or name one in CHROMIUM"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
SIZES = {"phone": (360, 780), "desktop": (1280, 900)}
VIEWS = [(size, theme) for size in SIZES for theme in ("light", "dark")]
REPORTS = [Path(os.environ["REPORT"])] if "REPORT" in os.environ else []
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def invented(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    content = collect(synthetic_report.config(), **synthetic_report.make(folder))
    path = folder / "report.html"
    path.write_text(render(content), encoding="utf-8")
    return path


@pytest.fixture(params=["invented", *REPORTS], ids=lambda p: getattr(p, "parent", Path(p)).name)
def report(request, invented) -> Path:
    return invented if request.param == "invented" else request.param


class Visit:
    """An open page and everything it said or asked for."""

    def __init__(self, browser, path: Path, size: str = "desktop", theme: str = "light", **options):
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            is_mobile=size == "phone",
            offline=True,
            **options,
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def run(self, script: str, argument: object = None):
        return self.page.evaluate(script, argument)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tab_to(self, selector: str, most: int = 300) -> None:
        """Press Tab until the focus is on ``selector``; fails if it never is."""
        for _ in range(most):
            self.press("Tab")
            if self.run("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"{selector} is not reached by {most} tabs")


@pytest.mark.parametrize(("size", "theme"), VIEWS)
def test_page_is_whole_and_quiet(browser, report, size, theme):
    with Visit(browser, report, size, theme) as visit:
        images = visit.run(
            "Promise.all([...document.images].filter(i => i.hasAttribute('src'))"
            ".map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
        )
        assert images
        assert min(images) > 0
        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith("data:")] == [report.as_uri()]


@pytest.mark.parametrize(("size", "theme"), VIEWS)
def test_axe_finds_nothing(browser, report, size, theme):
    axe = axe_tools.Axe()
    with Visit(browser, report, size, theme) as visit:
        for folded in (True, False):
            visit.run(
                "open => document.querySelectorAll('details').forEach(d => d.open = open)",
                not folded,
            )
            found = axe.run(visit.page)
            assert found.violations_count == 0, found.generate_report()
        visit.page.locator("[data-zoom] button").first.click()
        found = axe.run(visit.page)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_page_never_scrolls_sideways(browser, report, width):
    with Visit(browser, report, "phone" if width < 500 else "desktop") as visit:
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.run("document.documentElement.scrollWidth") <= width


def test_themes_differ(browser, invented):
    colours = []
    for theme in ("light", "dark"):
        with Visit(browser, invented, theme=theme) as visit:
            colours.append(visit.run("getComputedStyle(document.body).backgroundColor"))
            # The figures' own ground stays white, they are drawn for it.
            frame = "getComputedStyle(document.querySelector('.picture')).backgroundColor"
            assert visit.run(frame) == "rgb(255, 255, 255)"
    assert colours[0] != colours[1]


def test_links_lead_somewhere(browser, report):
    with Visit(browser, report) as visit:
        broken = visit.run(
            "[...document.querySelectorAll('a[href^=\"#\"]')]"
            ".map(a => a.getAttribute('href')).filter(h => !document.querySelector(h))"
        )
        assert broken == []
        link = visit.page.locator("a[download]").first
        with visit.page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename.endswith(".csv")
        header = Path(download.value.path()).read_text().splitlines()[0]
        assert header.startswith("quantity,series,source")


def test_first_tab_skips_to_the_verdicts(browser, invented):
    with Visit(browser, invented) as visit:
        visit.press("Tab", "Enter")
        assert visit.page.url.endswith("#verdicts")


@pytest.mark.parametrize("size", SIZES)
def test_table_is_sorted_by_keyboard(browser, invented, size):
    column = "[...document.querySelectorAll('.verdicts tbody .badge')].map(b => b.textContent)"
    ids = "[...document.querySelectorAll('.verdicts tbody .id')].map(b => b.textContent)"
    headings = (
        "[...document.querySelectorAll('.verdicts thead th')].map(h => h.getAttribute('aria-sort'))"
    )
    with Visit(browser, invented, size) as visit:
        before = visit.run(ids)
        assert before == [f"C{number}" for number in range(1, len(before) + 1)]
        visit.tab_to(".verdicts th:last-child button")
        visit.press("Enter")
        verdicts = visit.run(column)
        assert verdicts == sorted(verdicts, key=synthetic_report.VERDICTS.index)
        assert visit.run(headings) == [None, None, None, "ascending"]
        visit.press("Space")
        assert visit.run(column) == sorted(verdicts, key=synthetic_report.VERDICTS.index)[::-1]
        assert visit.run(headings) == [None, None, None, "descending"]
        # Numbers sort as numbers: C10 after C9.
        visit.page.locator(".verdicts th button").first.click()
        assert visit.run(ids) == before


@pytest.mark.parametrize("size", SIZES)
def test_figure_is_enlarged_by_keyboard(browser, report, size):
    width = "document.querySelector('#zoom img').getBoundingClientRect().width"
    with Visit(browser, report, size) as visit:
        visit.tab_to("[data-zoom] button")
        visit.press("Enter")
        visit.page.wait_for_function(f"document.getElementById('zoom').open && {width} > 0")
        first = visit.run(width)
        visit.press("+")
        assert visit.run(width) > 1.2 * first
        visit.press("-", "-", "-", "-", "-")
        assert visit.run(f"{width} <= window.innerWidth")
        visit.press("Escape")
        assert not visit.run("document.getElementById('zoom').open")
        # The focus is back on the picture it came from.
        assert visit.run("document.activeElement.matches('[data-zoom] button')")
        assert visit.said == []


def test_page_reads_without_script(browser, invented):
    with Visit(browser, invented, java_script_enabled=False) as visit:
        claims = synthetic_report.claims()["id"].nunique()
        assert visit.page.locator(".verdicts tbody tr").count() == claims
        assert visit.page.locator("button:visible").count() == 0
        assert visit.page.locator("figure img").first.is_visible()


def test_print_shows_every_reading(browser, report, tmp_path):
    with Visit(browser, report) as visit:
        visit.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
        assert (tmp_path / "report.pdf").stat().st_size > 10_000
        closed = "document.querySelectorAll('details[data-print]:not([open])').length"
        assert visit.run(closed) == 0


def test_report_is_small_enough_to_send(report):
    assert report.stat().st_size < MOST_BYTES
