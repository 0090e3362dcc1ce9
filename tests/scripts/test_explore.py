"""The page as a user sees it: the script in its own process, over a socket and in a browser."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image, ImageSequence
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from support.cards import make_card
from support.process import SMALL, environment

from trainer.errors import TrainerError
from trainer.experiment import Experiment
from trainer.tools.explorer import server

SCRIPT = Path(__file__).parents[2] / "scripts" / "explore.py"
HOST = "127.0.0.1"
SETTINGS = [setting.removeprefix("--gin_param=") for setting in SMALL]


def trained(model_dir, *overlays):
    """The Run of a few steps on the digits."""
    files = ["digits.gin", "hardware/one_device.gin", *overlays]
    run = Experiment.from_gin(files, SETTINGS).build(str(model_dir))
    run.train()
    return run


class Served:
    """A run's page, and requests to it over a socket."""

    def __init__(self, model_dir, port):
        self.model_dir = model_dir
        self.port = port
        self.page = f"http://{HOST}:{port}/"

    def get(self, path, code=200, method="GET", host=None, **parameters):
        """The response's headers and bytes."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        path = f"{path}?{urlencode(parameters)}" if parameters else path
        connection.request(method, path, headers={"Host": host or f"{HOST}:{self.port}"})
        response = connection.getresponse()
        content = response.read()
        assert response.status == code, content
        connection.close()
        return response.headers, content

    def images(self, path, **parameters):
        """int [N, H, W], the images of a response."""
        found = json.loads(self.get(path, **parameters)[1])
        return np.stack([pixels(uri) for uri in found.get("images") or [found["image"]]])

    def reason(self, path, code=400, **more):
        """Why a request was refused: one line of plain text."""
        headers, content = self.get(path, code, **more)
        assert headers.get_content_type() == "text/plain"
        assert content.count(b"\n") == 1
        return content.decode()


def explore(model_dir, *arguments):
    return subprocess.Popen(
        [sys.executable, SCRIPT, f"--model_dir={model_dir}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def pixels(uri):
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


def same(a, b):
    """Equal up to rounding: a batch of another size may sum in another order."""
    return a.shape == b.shape and np.abs(a - b).max() <= 2


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    """Served within this process, to its end."""
    model_dir = tmp_path_factory.mktemp("unconditional")
    listener = server.listen(0)
    settings = {"listener": listener, "flags": [f"--model_dir={model_dir}"]}
    run = trained(model_dir)
    threading.Thread(target=server.serve, args=[run], kwargs=settings, daemon=True).start()
    return Served(model_dir, listener.getsockname()[1])


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """Served by the script, for a conditional generator."""
    model_dir = tmp_path_factory.mktemp("conditional")
    trained(model_dir, "hacks/projection.gin")
    process = explore(model_dir, "--port=0")
    opened = next((line for line in process.stdout if line.startswith("Open ")), None)
    assert opened, process.communicate()[1]
    assert re.fullmatch(r"Open http://127\.0\.0\.1:\d+  \(Ctrl-C stops\)\n", opened)
    served = Served(model_dir, int(opened.split()[1].rsplit(":", 1)[1]))
    served.process = process
    yield served
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def browser():
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("no browser to drive (Debian's chromium and chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    options.add_argument("--headless=new")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium refuses to be root in
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    yield driver
    driver.quit()


class Page:
    """The page in the browser, once all is drawn."""

    def __init__(self, browser, served, width=1400):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(served.page)
        self.browser = browser
        for selector in ("#picture", "#between", ".direction img", "#gallery img"):
            self.until(lambda s=selector: self.find(s).get_attribute("src"))

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def source(self, selector="#picture"):
        return self.find(selector).get_attribute("src")

    def type_seed(self, text):
        self.find("#seed").clear()
        self.find("#seed").send_keys(text)

    def until(self, condition):
        return WebDriverWait(self.browser, 30, 0.05).until(lambda _: condition())

    def changed(self, before, selector="#picture"):
        """The source of an image, once it is another."""
        self.until(lambda: self.source(selector) != before)
        return self.source(selector)


def test_the_samples_are_those_of_the_runs_grid(conditional, unconditional):
    for served in (conditional, unconditional):
        grid = np.asarray(Image.open(served.model_dir / "samples" / "step_0000006.png"))
        found = served.images("/samples", seed=0)
        assert found.shape == (25, 28, 28)
        for i in range(25):
            top, left = 2 + 30 * (i // 8), 2 + 30 * (i % 8)
            assert same(found[i], grid[top : top + 28, left : left + 28].astype(int))


def test_a_point_is_a_sample_moved_along_the_directions(unconditional):
    own = json.loads(unconditional.get("/samples", seed=5)[1])["coordinates"][7]
    at = {"seed": 5, "index": 7}
    unmoved = unconditional.images("/image", **at)
    assert same(unmoved[0], unconditional.images("/samples", seed=5)[7])
    assert same(unmoved, unconditional.images("/image", **at, coordinates=",".join(map(str, own))))
    extremes = unconditional.images("/extremes", **at)
    assert len(extremes) == 2 * len(own)
    own[2] = 3
    moved = unconditional.images("/image", **at, coordinates=",".join(map(str, own)))
    assert same(moved[0], extremes[5]) and not same(moved, unmoved)


def test_an_interpolation_goes_from_one_point_to_the_other(unconditional):
    frames = unconditional.images(
        "/interpolation", a_seed=0, b_seed=3, b_index=4, b_coordinates="1," * 9 + "1"
    )
    assert len(frames) == 25
    assert same(frames[:1], unconditional.images("/image", seed=0))
    assert same(
        frames[-1:], unconditional.images("/image", seed=3, index=4, coordinates="1," * 9 + "1")
    )


def test_labels_and_truncation_change_the_picture(conditional):
    images = [conditional.images("/image", seed=0, index=3, label=label) for label in range(10)]
    assert same(images[3], conditional.images("/image", seed=0, index=3))  # the classes in turn
    assert len({image.tobytes() for image in images}) == 10
    assert not same(images[3], conditional.images("/image", seed=0, index=3, truncation=0.3))


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/image", 400, "seed is missing"),
        ("/image?seed=4294967296", 400, "is not a whole number in [0, 4294967296)"),
        ("/image?seed=0&coordinates=1,2", 400, "give 10, comma-separated"),
        ("/image?seed=0&coordinates=nan,0,0,0,0,0,0,0,0,0", 400, "nan is not a finite number"),
        ("/image?seed=0&label=0", 400, "this generator takes no labels"),
        ("/interpolation?a_seed=0&b_seed=0&b_index=x", 400, "b_index=x is not a whole number"),
        ("/samples?seed=0&count=1000000", 400, "unknown parameter count"),
        ("/samples?seed=%ff%0a", 400, "is not a whole number"),
        ("/config.gin", 404, "not found"),
        ("/../config.gin", 404, "not found"),
        ("/%2e%2e/setup.py", 404, "not found"),
        ("/static/explore.js", 404, "not found"),
        ("/evaluation.html", 404, "not evaluated yet: python -m trainer.main --mode=evaluate"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(unconditional, path, code, reason):
    assert reason in unconditional.reason(path, code)


def test_unknown_labels_and_methods_are_refused(conditional):
    assert "label=10 is not a whole number in [0, 10)" in conditional.reason(
        "/image?seed=0&label=10"
    )
    assert "not allowed" in conditional.reason("/image?seed=0", 405, method="POST")


@pytest.mark.parametrize("path", ["/", "/image?seed=0", "/nothing"])
def test_another_hosts_name_is_refused(unconditional, path):
    assert "evil.example" in unconditional.reason(path, host=f"evil.example:{unconditional.port}")


def test_localhost_is_a_name_too(unconditional):
    unconditional.get("/", host=f"localhost:{unconditional.port}")


def test_the_card_is_shown_once_there_is_one(conditional):
    _, before = conditional.get("/")
    assert b"--mode=evaluate --model_dir" in before
    (conditional.model_dir / "evaluation.json").write_text(make_card(fid=1.25).to_json())
    (conditional.model_dir / "evaluation.html").write_text("<h1>The card</h1><script></script>")
    _, after = conditional.get("/")
    assert b"<td>1.25</td>" in after and b"--mode=evaluate" not in after
    headers, page = conditional.get("/evaluation.html")
    assert b"The card" in page
    policy = headers["Content-Security-Policy"]  # as the run may come from anyone
    assert policy.startswith("sandbox;") and "script-src" not in policy
    (conditional.model_dir / "evaluation.json").write_text("{}")
    assert b"is not an evaluation card" in conditional.get("/")[1]


def test_the_training_moves(unconditional):
    _, content = unconditional.get("/training.gif")
    frames = list(ImageSequence.Iterator(Image.open(io.BytesIO(content))))
    assert len(frames) == len(list((unconditional.model_dir / "samples").glob("step_*.png"))) == 2


def test_a_taken_port_is_refused_before_anything_slow(unconditional):
    with pytest.raises(TrainerError) as caught:
        server.listen(unconditional.port)
    assert str(caught.value) == (
        f"--port={unconditional.port} cannot be opened (Address already in use); "
        "choose another, or --port=0 for any that is free"
    )


def test_without_a_run_there_is_one_line(tmp_path):
    process = explore(tmp_path / "none", "--port=0")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 1
    assert log.splitlines()[-1].startswith(f"error: {tmp_path}/none holds no config.gin")


def test_a_slider_moves_the_picture(unconditional, browser):
    page = Page(browser, unconditional)
    before, extreme = page.source(), page.source(".direction:nth-of-type(2) img")
    slider = page.find("#direction_0")
    slider.send_keys(Keys.HOME)
    moved = page.changed(before)
    page.changed(extreme, ".direction:nth-of-type(2) img")
    assert page.find("#shown").text == "Seed 0, sample 1, moved"
    page.find("#back").click()
    assert page.changed(moved) == before


def test_a_move_takes_less_than_100_ms(unconditional, browser):
    page = Page(browser, unconditional)
    slider, took = page.find("#direction_0"), []
    for _ in range(20):
        browser.execute_script("document.querySelector('#took').textContent = ''")
        slider.send_keys(Keys.ARROW_RIGHT)
        text = page.until(lambda: page.find("#took").text)
        took.append(int(re.fullmatch(r"drawn in (\d+) ms", text)[1]))
    assert np.percentile(took, 25) < 100, took  # other tests share the cores
    page.find("#back").click()
    assert page.find("#took").text == ""


def test_samples_are_picked_by_keyboard_and_by_mouse(unconditional, browser):
    page = Page(browser, unconditional)
    before = page.source()
    page.find("#gallery input").send_keys(Keys.ARROW_RIGHT)
    second = page.changed(before)
    assert second == page.source("#gallery label:nth-of-type(2) img")
    page.find("#gallery label:nth-of-type(9) img").click()
    assert page.changed(second) == page.source("#gallery label:nth-of-type(9) img")
    page.type_seed("12")
    page.until(lambda: page.find("#shown").text == "Seed 12, sample 9")
    assert "--seed=12 --output" in page.find("#command").text
    page.type_seed("99999999999")
    page.until(lambda: "is not a whole number in [0, 4294967296)" in page.find("#message").text)


def test_the_interpolation_from_a_to_b_is_shown(unconditional, browser):
    page = Page(browser, unconditional)
    middle = page.source("#between")
    page.find("#position").send_keys(Keys.HOME)
    first = page.changed(middle, "#between")
    assert np.array_equal(pixels(first), pixels(page.source("#strip img")))
    page.find("#gallery label:nth-of-type(3) img").click()
    page.find("#set_a").click()
    page.changed(first, "#between")
    assert page.find("#name_a").text == "seed 0, sample 3"
    before = page.source("#between")
    page.find("#play").click()
    page.changed(before, "#between")


def test_a_class_is_picked(conditional, browser):
    page = Page(browser, conditional)
    before, sample = page.source(), page.source("#gallery label:nth-of-type(9) img")
    Select(page.find("#label")).select_by_visible_text("7")
    seven = page.changed(before)
    page.changed(sample, "#gallery label:nth-of-type(9) img")
    assert "--label=7" in page.find("#command").text
    page.find("#direction_1").send_keys(Keys.END)
    moved = page.changed(seven)
    Select(page.find("#label")).select_by_visible_text("1")
    page.changed(moved)
    assert "moved" in page.find("#shown").text


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_and_asks_no_other_host(unconditional, browser, width):
    browser.get_log("performance"), browser.get_log("browser")
    page = Page(browser, unconditional, width)
    page.find("summary").click()
    page.until(
        lambda: browser.execute_script("return document.querySelector('details img').naturalWidth")
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = {each["request"]["url"] for each in sent}
    assert {
        unconditional.page,
        f"{unconditional.page}explore.js",
        f"{unconditional.page}training.gif",
    } < urls
    assert all(url.startswith((unconditional.page, "data:")) for url in urls)
    assert browser.get_log("browser") == []  # nor did the content policy refuse anything


def test_ctrl_c_ends_it_and_the_page_says_so(conditional, browser):
    page = Page(browser, conditional)
    conditional.process.send_signal(signal.SIGINT)
    _, log = conditional.process.communicate(timeout=60)
    assert conditional.process.returncode == 0, log
    assert "Traceback" not in log
    page.find("#direction_0").send_keys(Keys.HOME)
    page.until(lambda: "The server does not respond" in page.find("#message").text)
