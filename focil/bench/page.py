"""What `make bench` times in a real browser.

From a key press on the explorer's slider to the new picture on the screen.
"""

import statistics
from pathlib import Path

from focil.bench.browser import BrowserError, chromium
from focil.reports.explorer.serve import EXPLORER, free_port, serving, voila
from focil.reports.explorer.views import NETWORKS

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
    except BrowserError as error:
        print(f"  not timed: {error}")


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
