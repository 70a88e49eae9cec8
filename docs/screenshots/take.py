"""Pictures of a report's page for the README: `python docs/screenshots/take.py runs/quickstart/report/index.html`.

Needs Chromium. Writes desktop.png, dark.png, figures.png and phone.png beside this file.
"""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

GAP = 16
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = (1280, 1080)
PHONE = (390, 844)
"""CSS pixels. A window cannot be as narrow as a phone, so pictures are taken of frames in a page."""


def main(index: Path) -> None:
    """Take every picture."""
    shoot(index, "desktop", DESKTOP, ["verdict"])
    shoot(index, "figures", DESKTOP, ["standing"])
    shoot(index, "dark", DESKTOP, ["curves"], dark=True)
    shoot(index, "phone", PHONE, ["verdict", "curves", "samples"])


def shoot(index: Path, name: str, size: tuple[int, int], places: list[str], *, dark: bool = False) -> None:
    """The page at each of `places` in a frame of `size` CSS pixels, side by side in one picture."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}")
    page = html.escape(index.resolve().as_uri())
    gap = GAP if len(places) > 1 else 0
    frames = "".join(
        f'<iframe src="{page}#{place}" style="border:0;width:{size[0]}px;height:{size[1]}px"></iframe>'
        for place in places
    )
    window = (len(places) * (size[0] + gap) + gap, size[1] + 2 * gap)
    path = Path(__file__).with_name(f"{name}.png")
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frames.html"
        style = f"margin:{gap}px;background:#ccc;display:flex;gap:{gap}px"
        frame.write_text(f'<!doctype html><body style="{style}">{frames}</body>', encoding="utf-8")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-dev-shm-usage", "--allow-file-access-from-files",
             f"--user-data-dir={folder}/profile", f"--window-size={window[0]},{window[1]}",
             "--virtual-time-budget=4000", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
             f"--screenshot={path}", frame.as_uri()],
            check=True, capture_output=True, timeout=180,
        )  # fmt: skip
    shown = Image.open(path).convert("RGB")
    # few colours make a small file; this way of choosing them keeps the recipes' own
    few = shown.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: take.py INDEX.html")
    main(Path(sys.argv[1]))
