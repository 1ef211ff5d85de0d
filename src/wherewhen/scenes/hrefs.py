"""Where the files lie that a catalog names, and which of them are not fetched.

A catalog is somebody else's text. It may name files on public hosts, and a local one those beside and below it or, by
their whole path, rasters of this machine; but never hosts of this machine's network, and a remote one no local file:
whoever reads a catalog does not mean to open those.
"""

import ipaddress
import os.path
import re
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

_WEB = ("http", "https")
_STORES = {"s3": "/vsis3", "gs": "/vsigs"}  # scheme -> GDAL's file system
_SECONDS, _LARGEST = 60, 2**28  # of a document


@dataclass(frozen=True)
class Origin:
    """The catalog, which decides what its hrefs may reach.

    Args:
        href: Absolute path or http(s) URL of it.
    """

    href: str

    @classmethod
    def of(cls, catalog: str | Path) -> "Origin":
        """The origin of what a user calls a catalog."""
        return cls(str(catalog) if is_remote(str(catalog)) else str(Path(catalog).absolute()))

    def resolve(self, href: str, base: str) -> str:
        """An absolute path, or a URL of http(s), s3 or gs.

        Args:
            href: As it is written.
            base: Path or URL of the document it is written in.

        Raises:
            ValueError: It may not be followed; the message says why.
        """
        if re.search(r"[\\\s\x00-\x1f]", href.strip() if is_remote(base) or "://" in href else ""):
            raise ValueError(f"{href!r} is no URL; write it without blanks and backslashes")
        parts = urlsplit(href)
        scheme = parts.scheme.lower()
        if scheme in ("", "file") and not is_remote(base):
            return self._local(url2pathname(parts.path) if scheme else href, base)
        if scheme == "file":
            raise ValueError(f"{href} names a file of this machine, which a remote catalog may not; fetch the catalog")
        if scheme in _STORES:
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", parts.netloc):
                raise ValueError(f"{href} names no bucket; write {scheme}://BUCKET/KEY")
            return href
        url = urljoin(base, href) if is_remote(base) else href
        if urlsplit(url).scheme.lower() not in _WEB:
            raise ValueError(f"{href} is neither a path nor http, https, s3 or gs; give the catalog such hrefs")
        self._check_host(url)
        return url

    def _local(self, path: str, base: str) -> str:
        if path.startswith("/vsi"):
            raise ValueError(f"{path} is one of GDAL's own file systems; give a path or a URL")
        if os.path.isabs(path):  # noqa: PTH117  (as text, for `normpath`)
            return os.path.normpath(path)
        folder = os.path.dirname(self.href) if not is_remote(self.href) else ""  # noqa: PTH120
        found = os.path.normpath(os.path.join(os.path.dirname(base), path))  # noqa: PTH118, PTH120
        if not Path(found).is_relative_to(folder):
            raise ValueError(
                f"{path} leaves the catalog's folder {folder}; give the catalog above it, or move the file"
            )
        return found

    def _check_host(self, url: str) -> None:
        """Refuse a host of this machine or its network, unless the catalog lies there."""
        host = urlsplit(url).hostname or ""
        if is_remote(self.href) and host == urlsplit(self.href).hostname:
            return
        if not host or any(_inward(address) for address in _addresses(host)):
            raise ValueError(f"{url} is on this machine or its network; only a catalog of the same host may name it")


def is_remote(href: str) -> bool:
    """Whether it is an http(s) URL."""
    return urlsplit(href).scheme.lower() in _WEB


def as_gdal(href: str) -> str:
    """What GDAL calls the file of a resolved href."""
    if is_remote(href):
        return f"/vsicurl/{href}"
    parts = urlsplit(href)
    if parts.scheme in _STORES:
        return f"{_STORES[parts.scheme]}/{parts.netloc}{parts.path}"
    return href


def read_text(href: str, origin: Origin) -> str:
    """The document at a resolved href; a redirection is checked like an href.

    Raises:
        ValueError: It cannot be read; the message names it.
    """
    try:
        if not is_remote(href):
            return Path(href).read_text(encoding="utf-8")
        opener = urllib.request.build_opener(_Redirect(lambda url: origin.resolve(url, href)))
        with opener.open(urllib.request.Request(href, headers={"User-Agent": "wherewhen"}), timeout=_SECONDS) as answer:
            content: bytes = answer.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST // 2**20} MiB")
        return content.decode()
    except (OSError, ValueError) as error:
        raise ValueError(f"{href} cannot be read: {error}") from error


class _Redirect(urllib.request.HTTPRedirectHandler):
    def __init__(self, check: Callable[[str], str]) -> None:
        self.check = check

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        self.check(args[-1])
        return super().redirect_request(*args)


def _addresses(host: str) -> list[str]:
    """IP addresses of a host; none where its name is not known here, as behind a proxy."""
    try:
        return sorted({str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None)})
    except (OSError, UnicodeError):
        return []


def _inward(address: str) -> bool:
    """Whether an address is not of the public internet: loopback, link-local, private."""
    ip = ipaddress.ip_address(address)
    return not ip.is_global or ip.is_multicast
