import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from searcher.ui.html.study_page import write_report
from tests.conftest import command, commands_in, make_place

STUDY = "tiny@digits"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
BOUNDED = """
[[constraints]]
metric = "micronet_score"
variant = "imt-2022"
at_most = 0.0003
"""
"""Trials 0 to 2 are within it, trial 3 is not."""


class Browser(webdriver.Chrome):
    """Chromium, with what it has logged and asked the network for."""

    def console(self) -> list[str]:
        """What pages have written to the console since the last call."""
        return [entry["message"] for entry in self.get_log("browser")]

    def requested(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def wide(self, width: int) -> None:
        """Look at pages as a screen of this width does, in pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 800}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def scheme(self, name: str) -> None:
        """Look at pages as a reader does who wants them ``dark`` or ``light``."""
        wanted = [{"name": "prefers-color-scheme", "value": name}]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def until(self, script: str) -> object:
        """The value of an expression, once it is true."""
        return WebDriverWait(self, 600).until(lambda driver: driver.execute_script(f"return {script}"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium: tests/browser/install")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Browser(options=options, service=Service(driver)) as started:
        yield started


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a study that was really searched."""
    place = make_place(tmp_path_factory.mktemp("place"))
    with (place / "studies" / "tiny.toml").open("a") as file:
        file.write(BOUNDED)
    with commands_in(place) as run:
        ended = run("run", "--study", "tiny")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place / "runs"


@pytest.fixture(scope="session")
def report(runs: Path) -> str:
    """The address of the study's page."""
    write_report(runs, STUDY, runs / "report.html")
    return (runs / "report.html").as_uri()


@pytest.fixture(scope="session")
def dashboard(runs: Path) -> Iterator[str]:
    """The address of a dashboard that is served."""
    served = subprocess.Popen(
        command("dashboard", "--port", "0", "--runs-dir", str(runs)), stdout=subprocess.PIPE, text=True
    )
    try:
        yield re.search(r"http://127.0.0.1:\d+/", served.stdout.readline())[0] + "dashboard/"
    finally:
        served.terminate()
        served.wait()
        served.stdout.close()
