"""Pictures of a report for the docs: `python -m tests.report.screenshots PAGE FOLDER`."""

import base64
import io
import sys
from pathlib import Path

from PIL import Image

from tests.report.runs import browser, opened

SHOWN = {360: "light", 800: "dark", 1400: "light"}  # width -> scheme
HEIGHT = 1500
COLOURS = 128  # of a picture: it is a third as large


def main(page: Path, folder: Path) -> None:
    """Write `report-WIDTH.png`, the upper part of the page at each width."""
    for width, scheme in SHOWN.items():
        with browser(scheme=scheme) as driver:
            metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            opened(driver, page)
            shot = base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
            picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS)
            picture.save(folder / f"report-{width}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
