"""What a user sees in a browser, of a study that was really searched."""

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from searcher.config.recipe_file import Expected
from searcher.deploy.agreement import Agreement
from searcher.deploy.retrain import Result, Retrained, compare
from searcher.ui.html.model_card import model_page
from tests.browser.conftest import STUDY, Browser
from tests.test_retrain import made

WORDS = {0: ["densenet k=4 1-1-1-1", "int8"], 1: ["densenet k=2 1-1-1-1"]}
SHOWN = "[...document.querySelectorAll('article[data-trial]')].filter(card => !card.hidden)"
NAMES = f"{SHOWN}.map(card => card.dataset.trial)"


@pytest.fixture
def page(browser: Browser, report: str) -> Browser:
    """The study's page, on a screen of 1280 pixels."""
    browser.wide(1280)
    browser.console()
    browser.requested()
    browser.get(report)
    browser.until("document.querySelectorAll('.plot .main-svg').length > 0")
    return browser


@pytest.mark.slow
def test_the_page_is_complete_in_itself(page: Browser):
    assert page.console() == []
    assert {address.split(":")[0] for address in page.requested()} <= {"file", "data"}
    assert page.execute_script("return document.querySelectorAll('.plot:not(.js-plotly-plot)').length") == 0


def test_a_click_on_a_point_of_the_front_shows_its_recipe(page: Browser):
    assert page.execute_script(f"return {NAMES}") == []
    plot = page.find_element(By.CSS_SELECTOR, ".chooser .plot")
    trial = page.execute_script(
        "return arguments[0].data.find(trace => trace.name === 'front').customdata[0]", plot
    )
    # The front is drawn last, but for the ring around what was chosen.
    marks = plot.find_elements(By.CSS_SELECTOR, ".scatterlayer .trace .points .point")
    ActionChains(page).move_to_element(marks[-1]).click().perform()
    assert page.until(f"{NAMES}.length && {NAMES}") == [str(trial)]
    card = page.execute_script(f"return {SHOWN}[0]")
    assert [item.text for item in card.find_elements(By.TAG_NAME, "li")] == WORDS[trial]
    assert "on the front" in card.text
    chosen = page.execute_script(
        "return [...document.querySelectorAll('tr.chosen')].map(row => row.dataset.trial)"
    )
    assert set(chosen) == {str(trial)}
    ring = page.execute_script("return arguments[0].data.at(-1).x", plot)
    assert len(ring) == 1


def test_a_row_chooses_too(page: Browser):
    page.find_element(By.TAG_NAME, "summary").click()
    page.find_element(By.CSS_SELECTOR, "details tr[data-trial='3']").click()
    assert page.until(NAMES) == ["3"]
    assert "misses micronet_score:imt-2022 <= 0.0003 by" in page.execute_script(
        f"return {SHOWN}[0].textContent"
    )


def test_a_header_sorts(page: Browser):
    page.find_element(By.TAG_NAME, "summary").click()
    table = page.find_element(By.CSS_SELECTOR, "details table")
    header = next(h for h in table.find_elements(By.TAG_NAME, "button") if "micronet" in h.text)
    order = "return [...arguments[0].tBodies[0].rows].map(row => Number(row.cells[3].dataset.value))"
    for expected in (sorted, lambda values: sorted(values, reverse=True)):
        header.click()
        values = page.execute_script(order, table)
        assert len(values) == 4
        assert values == expected(values)
    assert values[0] > values[-1]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(browser: Browser, report: str, width: int):
    browser.wide(width)
    browser.get(report)
    browser.until("document.querySelectorAll('.plot .main-svg').length > 0")
    browser.execute_script("document.querySelector('details').open = true; choose('0')")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('.plot')].map(plot => plot.getBoundingClientRect().right)"
    assert max(browser.execute_script(f"return {wide}")) <= width


@pytest.mark.slow
def test_the_dashboard_shows_the_feasible_front(browser: Browser, dashboard: str):
    browser.wide(1280)
    browser.get(f"{dashboard}studies/1")
    assert browser.until("document.getElementById('user-defined-plot:feasible-front')?.data") is not None
    traces = browser.execute_script(
        "return document.getElementById('user-defined-plot:feasible-front').data"
        ".map(trace => [trace.name, trace.customdata])"
    )
    drawn = dict(traces)
    assert drawn["misses a constraint"] == [3]
    assert 1 in drawn["front"]
    assert 3 not in drawn["front"]


def test_the_dashboard_has_a_note_and_the_files_of_a_trial(browser: Browser, dashboard: str, runs: Path):
    browser.wide(1280)
    browser.get(f"{dashboard}studies/1/trials?numbers=0")
    text = str(browser.until("document.body.innerText.includes('Artifacts') && document.body.innerText"))
    assert "densenet k=4 1-1-1-1\nint8" in text
    assert "The 10 operations with the most MACs, and the sum of all:" in text
    for name in ("recipe.toml", "log.txt", "curve.csv"):
        assert name in text
    assert len(list((runs / "artifacts").iterdir())) == 3 * 4
    assert (runs / STUDY / "trial-00000" / "curve.csv").read_text().count("\n") > 3


COMPARED = "[...document.querySelectorAll('.compared tbody tr')]"


def rows(page: Browser, kind: str = "") -> list[list[str]]:
    """The rows of the comparison, cell by cell."""
    shown = f"{COMPARED}.filter(row => !'{kind}' || row.classList.contains('{kind}'))"
    found: list[list[str]] = page.execute_script(
        f"return {shown}.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def test_two_recipes_are_compared_by_the_keyboard(page: Browser):
    first, second = page.find_elements(By.CSS_SELECTOR, ".pair select")
    for choice, trial in ((first, "0"), (second, "1")):
        choice.send_keys(trial)
    heads = page.execute_script(
        "return [...document.querySelectorAll('.compared thead th')].map(e => e.textContent)"
    )
    assert heads == ["A: trial 0", "B: trial 1", "B beside A"]
    differing = {name: cells for name, *cells in rows(page, "differs")}
    assert differing["growth_rate"] == ["4", "2", "≠\u00a0differs"]
    assert differing["calibration_images"][1:] == ["–", "≠\u00a0differs"]
    assert differing["micronet_score:imt-2022"][2].endswith("+\u00a0better")
    assert ["quantize: A alone"] in rows(page, "stage")
    every = len(rows(page))
    page.find_element(By.CSS_SELECTOR, ".pair input").send_keys(" ")
    assert len(rows(page)) == len(differing) + len(rows(page, "stage")) < every
    second.send_keys("0")
    assert rows(page) == [["figures"]]
    assert "The recipes are the same" in page.find_element(By.CSS_SELECTOR, ".comparison").text


def test_a_chosen_trial_is_compared_with_another(page: Browser):
    page.execute_script("choose('0')")
    page.execute_script("document.querySelector('[data-compare=\"0\"]').click()")
    assert page.execute_script("return document.querySelector('.pair select').value") == "0"
    assert page.switch_to.active_element.get_attribute("name") == "B"


def test_a_page_is_dark_where_its_reader_wants_it(page: Browser):
    colours = (
        "return [getComputedStyle(document.body).backgroundColor,"
        " ...[...document.querySelectorAll('.plot')].map(plot => plot.layout.paper_bgcolor)]"
    )
    assert set(page.execute_script(colours)) == {"rgb(255, 255, 255)", "#ffffff"}
    page.scheme("dark")
    try:
        assert page.until(f"(() => {{ {colours} }})().includes('#14181d')")
        assert set(page.execute_script(colours)) == {"rgb(20, 24, 29)", "#14181d"}
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert set(page.execute_script(colours)[1:]) == {"#ffffff"}, "paper is white"
    finally:
        page.scheme("light")


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_nothing_of_a_retrainings_page_is_cut_off(browser: Browser, tmp_path: Path, width: int, columns: int):
    file = made(**{"micronet_score:imt-2022": Expected(value=0.0016, tolerance=0.0, goal="minimize")})
    before = {"map": 0.35127, "map_medium": 0.3, "size_mb": 2.0494, "macs": 34_644_992.0}
    after = {"map": 0.25127, "map_medium": 0.4, "size_mb": 0.5666, "macs": 4_173_120.0}
    before, after = (figures | {"map:a": 0.1 * figures["map"], "map50:a": 0.5} for figures in (before, after))
    seed = Retrained(0, {"micronet_score:imt-2022": 0.002}, {"map50": 0.5}, before, after)
    result = Result(file.recipe.digest(), 4, [seed], compare(file, [seed]))
    files = {"model.int8.onnx": Agreement("AP50", 0.5, 0.5, 1.0)}
    (tmp_path / "page.html").write_text(model_page(file, result, files, tmp_path, "fed so", {}))
    browser.wide(width)
    browser.get((tmp_path / "page.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    tables = (
        "[...document.querySelectorAll('.scroll')].filter(table => table.scrollWidth > table.clientWidth)"
    )
    assert browser.execute_script(f"return {tables}.map(table => table.textContent)") == []
    lefts = "[...document.querySelectorAll('.halves section')].map(part => part.getBoundingClientRect().left)"
    assert len(set(browser.execute_script(f"return {lefts}"))) == columns
