"""The explorer and JupyterLab in a real browser."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from focil.__main__ import main
from focil.reports.explorer import images, planning, plans
from focil.reports.explorer.saved import SavedRun
from focil.reports.explorer.serve import EXPLORER, ServeError, free_port, serving, voila

LOCAL = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
NAME_OF_FOCUS = (
    "(e => e.getAttribute('aria-label') || (e.labels && e.labels.length && e.labels[0].textContent) || "
    "e.textContent)(document.activeElement)"
)
# The commands behind the menu, each awaited: a click comes to nothing while the kernel is not there yet.
RUN_ALL_AND_SAVE = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const { context, sessionContext } = app.shell.currentWidget;
    await context.ready;
    await sessionContext.ready;
    const ran = await app.commands.execute("notebook:run-all-cells");
    await context.save();
    return ran;
}"""
MLP = "MLP 784-300-100 (28 x 28 pixels)"


@pytest.fixture(scope="module")
def served(ran, tmp_path_factory):
    """The explorer's page beside outputs with one finished run."""
    root = tmp_path_factory.mktemp("page")
    (root / "notebooks").mkdir()
    shutil.copy2(EXPLORER, root / "notebooks")
    (root / "outputs").symlink_to(ran)
    port = free_port()
    command, environment = voila(
        root / "notebooks" / EXPLORER.name, port, root / "outputs", open_browser=False
    )
    with serving(command, environment, f"http://127.0.0.1:{port}/") as url:
        yield url


@pytest.fixture(scope="module")
def page(served, browser):
    """The page, once it has run; `complaints` collects its console errors and requests to other hosts."""
    opened = browser.new_page(viewport={"width": 1200, "height": 1000})
    opened.set_default_timeout(90_000)
    opened.complaints = []
    opened.on("console", lambda message: message.type == "error" and opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    asked = opened.complaints.append
    opened.on("request", lambda request: request.url.startswith(LOCAL) or asked(request.url))
    opened.goto(served, wait_until="domcontentloaded")
    opened.wait_for_selector("[role=status]")
    yield opened
    opened.close()


def settled(page, words):
    """The visible status line, once it contains `words`."""
    line = page.locator("[role=status]:visible").filter(has_text=words)
    line.last.wait_for()
    return line.last.inner_text()


def test_the_page_loads_without_a_complaint_and_without_the_picture_for_readers_without_a_kernel(page):
    assert page.complaints == []
    assert page.locator("img").count() == 1  # the widgets' own
    picture = page.locator("img:visible")
    assert picture.get_attribute("alt").startswith("Task 20 still trains")
    assert picture.evaluate("picture => picture.complete && picture.naturalWidth > 500")


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1000, 800)])
def test_controls_and_picture_are_side_by_side_on_the_first_screen(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(300)
    picture = page.locator("img:visible").bounding_box()
    names = "Backbone", "Sparsity", "Tasks planned", "Allocation", "Seed"
    boxes = [
        page.get_by_label(name, exact=True).locator("visible=true").first.bounding_box() for name in names
    ]
    for box in boxes:
        assert box["y"] + box["height"] <= height and box["x"] + box["width"] <= picture["x"]
    assert picture["y"] + 0.5 * picture["height"] < height and picture["width"] > 0.5 * width
    assert page.evaluate("scrollY") == 0


def test_controls_are_above_the_picture_on_a_telephone(page):
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(300)
    picture, seed = (
        place.bounding_box()
        for place in (page.locator("img:visible"), page.get_by_label("Seed").locator("visible=true"))
    )
    assert seed["y"] + seed["height"] <= picture["y"] < 900 and picture["x"] + picture["width"] <= 400
    page.set_viewport_size({"width": 1200, "height": 1000})


def test_every_control_is_reached_by_tab_and_has_a_name(page):
    page.get_by_role("tab", name="Play with sparsity").focus()
    reached = []
    for _ in range(9):
        reached.append(page.evaluate(NAME_OF_FOCUS))
        page.keyboard.press("Tab")
    for name in ("Backbone", "Sparsity", "Tasks planned", "Allocation"):
        assert name in reached, reached


def test_a_slider_moves_and_picture_and_numbers_become_the_package_s(page):
    before = page.locator("img:visible").get_attribute("src")
    slider = page.get_by_role("slider", name="Sparsity")
    slider.focus()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    plan = planning.plan("mlp", (1, 28, 28), 20, 0.91, "planned", 0)
    assert settled(page, plans.summary(plan, "planned")) == plans.summary(plan, "planned")
    expected = re.findall(r"<t[dh](?: [^>]*)?>(.*?)</t[dh]>", plans.planned(MLP, 0.91, 20, "planned", 0))
    cells = page.locator(".focil-table th, .focil-table td").all_text_contents()
    assert cells == [html.unescape(cell) for cell in expected]
    assert page.locator("img:visible").get_attribute("src") != before


def test_another_backbone_and_allocation(page):
    page.get_by_label("Backbone").select_option("ResNet18 (32 x 32 pixels, colour)")
    page.get_by_label("Allocation").locator("visible=true").select_option("independent")
    plan = planning.plan("resnet18", (3, 32, 32), 20, 0.91, "independent", 0)
    assert settled(page, "one random draw") == plans.summary(plan, "independent")


def test_it_learns_while_one_watches_stops_and_says_what_cannot_be(page, ran):
    there = sorted(ran.rglob("*"))
    page.get_by_role("tab", name="Watch it learn").click()
    assert settled(page, "Press Learn").startswith("Press Learn, or move a control")
    page.get_by_role("button", name="Learn", exact=True).click()
    settled(page, "5 tasks of 5 learned")
    assert page.locator("img:visible").get_attribute("alt").startswith("After 5 of 5 tasks, experts: ")
    assert page.get_by_text("equal, 4 times").is_visible()
    page.get_by_role("button", name="Sweep sparsity").click()
    settled(page, "of 8 sparsities learned")
    page.get_by_role("button", name="Stop").click()
    assert page.locator("img:visible").first.get_attribute("alt").startswith("Sparsity 0.5")
    rate = page.get_by_role("slider", name="Learning rate")
    rate.focus()
    rate.press("End")
    page.locator("[role=alert]:visible").filter(has_text="a learning rate of 10 is too high").wait_for()
    page.get_by_label("Tasks", exact=True).locator("visible=true").select_option("2")
    rate.press("Home")
    settled(page, "2 tasks of 2 learned")
    assert page.complaints == [] and sorted(ran.rglob("*")) == there


def test_a_run_is_looked_into_by_keyboard(page, ran):
    page.get_by_role("tab", name="Play with sparsity").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_label("Result", exact=True).select_option("mine/seed-0")
    page.get_by_text("Accuracy in %, by what is known").first.wait_for()
    settled(page, "Test image 0 shows")
    index = page.get_by_label("Test image")
    index.fill("7")
    index.press("Enter")
    told = re.search(r'<p role="status">(.*?)</p>', images.asked(SavedRun(ran / "mine" / "seed-0"), 7))[1]
    shown = settled(page, "Test image 7 shows")
    assert shown == html.unescape(told)
    page.get_by_text("Which connections they own").click()
    assert page.locator("img:visible").count() == 2
    assert all(picture.get_attribute("alt") for picture in page.locator("img").all())
    assert page.complaints == []


def test_nothing_is_wider_than_a_narrow_window(page):
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.set_viewport_size({"width": 1200, "height": 1000})


def test_jupyterlab_runs_a_teaching_notebook_without_an_error(browser, tmp_path):
    notebook = tmp_path / "notebooks" / "02-sparse-experts.ipynb"
    notebook.parent.mkdir()
    stripped = nbformat.read(EXPLORER.parent / notebook.name, as_version=4)
    for cell in stripped.cells:
        cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
    nbformat.write(stripped, notebook)
    port = free_port()
    lab = ["lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    lab += ["--IdentityProvider.token=", f"--notebook-dir={notebook.parent}"]
    lab += ["--KernelManager.transport=ipc", "--LabApp.news_url="]
    lab += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--expose-app-in-browser"]
    folders = "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_DIR"
    environment = os.environ | {name: str(tmp_path / name) for name in folders}
    command = [sys.executable, "-m", "jupyter", *lab]
    with serving(command, environment, f"http://127.0.0.1:{port}/lab") as url:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(90_000)
        page.goto(f"{url}/tree/{notebook.name}", wait_until="domcontentloaded")
        page.locator(".jp-MarkdownCell h1").first.wait_for()
        assert page.evaluate(RUN_ALL_AND_SAVE)
        page.close()
    cells = nbformat.read(notebook, as_version=4).cells
    ran = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    outputs = [output for cell in ran for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_a_server_that_ends_is_an_error_in_words():
    with (
        pytest.raises(ServeError, match="ended"),
        serving([sys.executable, "-c", "raise SystemExit(3)"], {}, f"http://127.0.0.1:{free_port()}/"),
    ):
        pass


def test_the_page_s_server_listens_on_the_loopback_address_only():
    command, environment = voila(EXPLORER, 8866, Path("outputs"), open_browser=True)
    assert "--Voila.ip=127.0.0.1" in command and "--no-browser" not in command
    subprocess.run([*command[:3], "--version"], capture_output=True, env=environment, check=True)


def test_the_command_explore_serves_the_explorer(monkeypatch):
    started = []

    def run(command, *, env, check):
        started.append((command, env))

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["explore", "--no-browser", "--port", "8901"]) == 0
    assert started == [voila(EXPLORER, 8901, Path("outputs"), open_browser=False)] and EXPLORER.is_file()
