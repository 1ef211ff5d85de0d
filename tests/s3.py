"""A local S3 server with an empty bucket `archive`: import both fixtures."""

import urllib.request
from collections.abc import Iterator

import pytest

moto = pytest.importorskip("moto.server", reason="the S3 server of the tests is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty bucket, and keys in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for method, path in (("POST", "/moto-api/reset"), ("PUT", "/archive")):
        urllib.request.urlopen(urllib.request.Request(address + path, method=method)).close()
