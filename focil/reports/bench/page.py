"""What `make bench` times in a real browser, in milliseconds.

From a key press on the explorer's slider to the new picture on the screen, and from a click on Learn to the
tasks that were learned.
"""

import statistics
from pathlib import Path

from focil.reports.bench.browser import BrowserError, chromium
from focil.reports.explorer.plans import NETWORKS
from focil.reports.explorer.serve import EXPLORER, free_port, serving, voila

# Resolves two frames after the page's picture has changed and is decoded, to the milliseconds since the key
# press that follows.
WATCH = """() => { window.redrawn = new Promise(resolve => {
    const old = [...document.querySelectorAll("img")].at(-1).src;
    let start = 0;
    document.addEventListener("keydown", () => { start = performance.now(); }, {once: true, capture: true});
    const watcher = new MutationObserver(async () => {
        const picture = [...document.querySelectorAll("img")].at(-1);
        if (!picture || picture.src === old) return;
        watcher.disconnect();
        await picture.decode();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));
    });
    watcher.observe(document.body, {childList: true, subtree: true, attributes: true});
}); }"""

# Resolves to the milliseconds from the next click to the status line of the first task, and of all five.
FOLLOW = """() => { window.learned = new Promise(resolve => {
    let start = 0, first = 0;
    document.addEventListener("click", () => { start = performance.now(); }, {once: true, capture: true});
    const watcher = new MutationObserver(() => {
        const said = [...document.querySelectorAll("[role=status]")].map(line => line.textContent);
        const now = performance.now() - start;
        if (start && !first && said.some(text => / of 5 learned/.test(text))) first = now;
        if (!said.some(text => text.startsWith("5 tasks of 5 learned"))) return;
        watcher.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve([first, performance.now() - start])));
    });
    watcher.observe(document.body, {childList: true, subtree: true, characterData: true});
}); }"""


def redraws(repeats: int = 9) -> None:
    """Median and slowest redraw of the explorer at 20 tasks, by backbone."""
    try:
        with chromium() as browser:
            port = free_port()
            with serving(
                *voila(EXPLORER, port, Path("outputs"), open_browser=False), f"http://127.0.0.1:{port}/"
            ) as url:
                page = browser.new_page(viewport={"width": 1200, "height": 1000})
                page.goto(url)
                page.wait_for_selector("[role=status]", timeout=60_000)
                for network in NETWORKS:
                    times = _times(page, network, repeats)
                    print(f"  {network:34}{statistics.median(times):8.0f}   slowest {max(times):.0f}")
                first, last = _live(page)
                print(f"  {'a live run: its first task':34}{first:8.0f}   all five {last:.0f}")
    except BrowserError as error:
        print(f"  not timed: {error}")


def _live(page) -> tuple[float, float]:
    """From a click on Learn to the first task, and to all five, on the screen."""
    page.get_by_role("tab", name="Watch it learn").click()
    page.wait_for_timeout(5000)  # the page has read the images meanwhile
    page.evaluate(FOLLOW)
    page.get_by_role("button", name="Learn", exact=True).click()
    return tuple(page.evaluate("window.learned"))


def _times(page, network: str, repeats: int) -> list[float]:
    page.get_by_label("Backbone").select_option(network)
    page.wait_for_timeout(2000)
    slider = page.get_by_role("slider", name="Sparsity")
    slider.focus()
    times = []
    for turn in range(repeats + 1):
        page.evaluate(WATCH)
        slider.press("ArrowLeft" if turn % 2 else "ArrowRight")
        times.append(page.evaluate("window.redrawn"))
    return times[1:]  # the first is not counted
