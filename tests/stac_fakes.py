"""Generated STAC items over local GeoTIFFs, in the ways in which catalogs write bands."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

WHEN = "2020-07-01T10:10:10Z"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(
    name: str, assets: Mapping[str, dict[str, Any]], *, version: str = "1.1.0", **properties: Any
) -> dict[str, Any]:
    """An item whose properties hold a datetime unless told otherwise; `collection` becomes its collection."""
    collection = properties.pop("collection", None)
    return {
        "type": "Feature", "stac_version": version, "stac_extensions": [], "id": name, "geometry": None, "links": [],
        "properties": {"datetime": WHEN} | properties, "assets": dict(assets),
    } | ({"collection": collection} if collection else {})  # fmt: skip


def asset(href: str | Path, **fields: Any) -> dict[str, Any]:
    return {"href": str(href), "type": COG, "roles": ["data"]} | fields


def bands_10(names: Sequence[str], common: Sequence[str] = (), **raster: Any) -> dict[str, Any]:
    """`eo:bands` and `raster:bands` of STAC 1.0; fields of `raster` are the same for all bands."""
    told = [{"name": name} for name in names]
    for one, word in zip(told, common, strict=False):
        one["common_name"] = word
    return {"eo:bands": told} | ({"raster:bands": [raster for _ in names]} if raster else {})


def bands_11(names: Sequence[str], common: Sequence[str] = (), **raster: Any) -> dict[str, Any]:
    """`bands` of STAC 1.1."""
    told: list[dict[str, Any]] = [{"name": name} for name in names]
    for one, word in zip(told, common, strict=False):
        one["eo:common_name"] = word
    fields = {field if field == "nodata" else f"raster:{field}": value for field, value in raster.items()}
    return {"bands": [one | fields for one in told]}


def collection_of(path: Path, *items: dict[str, Any], **more: Any) -> Path:
    """Write an item collection."""
    return write_json(path, {"type": "FeatureCollection", "features": list(items)} | more)


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


class Handler(SimpleHTTPRequestHandler):
    """Serves files, parts of them where a range is asked for, and redirections; notes what was asked for."""

    asked: list[str] = []  # noqa: RUF012  (of the class, which the server makes anew for each request)
    moved: dict[str, str] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path in self.moved:
            self.send_response(302)
            self.send_header("Location", self.moved[self.path])
            self.end_headers()
            return
        path = Path(self.translate_path(self.path))
        if "Range" not in self.headers or not path.is_file():
            super().do_GET()
            return
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        whole = path.read_bytes()
        part = whole[int(first) : int(last or len(whole)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, type[Handler]]]:
    """Address of a server of a folder on this machine, and its handler."""
    fresh = type("Fresh", (Handler,), {"asked": [], "moved": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(fresh, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", fresh
        finally:
            server.shutdown()
            thread.join()
