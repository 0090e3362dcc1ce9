"""Google Cloud Storage on loopback: TensorFlow's own gs:// client, over TLS, against an emulator.

TensorFlow accepts only Google's address for gs://, but its libcurl respects HTTPS_PROXY and
CURL_CA_BUNDLE. This server is therefore a proxy: asked for a tunnel to googleapis.com, it answers
itself, with its own certificate and gcp-storage-emulator's handlers. It has no permissions, quotas
or rate limits; a test sets `Server.fault` to answer as Google documents.
"""

from __future__ import annotations

import contextlib
import http.server
import logging
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme
from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

_HOSTS = ("www.googleapis.com", "storage.googleapis.com")
TOKEN = "a-token-for-tests"


class _Request(emulator.Request):
    """Treats an empty upload, such as a directory marker's, as empty and not as absent."""

    @property
    def data(self):
        return super().data or b""


emulator.Request = _Request


class Server(http.server.ThreadingHTTPServer):
    """A threaded HTTPS proxy with an object store; it serves until it is closed."""

    daemon_threads = True

    def __init__(self, certificate: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.certificate = certificate
        self.storage = Storage(use_memory_fs=True)
        self.one_at_a_time = threading.Lock()
        self.fault: Callable[[_Handler], int | None] = lambda request: None
        """Request -> the HTTP status to refuse it with; None to serve it."""

    def handle_error(self, request, address) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # from a client that was killed
            super().handle_error(request, address)

    def put(self, bucket: str, name: str, content: bytes) -> None:
        resource = objects._make_object_resource("", bucket, name, "text/plain", str(len(content)))
        self.storage.create_file(bucket, name, content, resource)

    def files(self, bucket: str) -> dict[str, bytes]:
        """All objects of a bucket, without directory markers."""
        names = [item["name"] for item in self.storage.get_file_list(bucket)[0]]
        return {n: self.storage.get_file(bucket, n) for n in names if not n.endswith("/")}


class _Handler(emulator.RequestHandler):
    protocol_version = "HTTP/1.1"  # its clients wait for "100 Continue" before an upload

    def __init__(self, request, address, server: Server) -> None:
        self.remote = server
        super().__init__(server.storage, request, address, server)

    def do_CONNECT(self) -> None:  # noqa: N802
        self.send_response(200)
        self.end_headers()
        self.connection = self.remote.certificate.wrap_socket(self.connection, server_side=True)
        self.request = self.connection
        self.setup()
        self.handle_one_request()
        self.connection.close()

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.close_connection = True

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Location":  # the emulator does not know TLS
            value = value.replace("http://", "https://", 1)
        super().send_header(keyword, value)

    def _serve(self, method: str) -> None:
        if self.headers["Transfer-Encoding"]:
            del self.headers["Content-Length"]  # libcurl sends both headers; the first one counts
        with self.remote.one_at_a_time:
            status = self.remote.fault(self)
            if status is None and self.headers["Authorization"] != f"Bearer {TOKEN}":
                status = 401
            if status is not None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(status, b"")
            elif self.path.endswith("/storageLayout"):  # unknown to the emulator
                self._answer(200, b'{"hierarchicalNamespace": {"enabled": false}}')
            else:
                emulator.Router(self).handle(method)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:  # noqa: N802
        self._serve("GET")

    def do_POST(self) -> None:  # noqa: N802
        self._serve("POST")

    def do_PUT(self) -> None:  # noqa: N802
        self._serve("PUT")

    def do_DELETE(self) -> None:  # noqa: N802
        self._serve("DELETE")


@contextlib.contextmanager
def serving(directory: Path, *names: str) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with buckets of these `names`, and variables that direct TensorFlow to it."""
    authority = trustme.CA()
    bundle = directory / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*_HOSTS).configure_cert(context)
    logging.getLogger("api.object").setLevel(logging.CRITICAL)
    with Server(context) as server:
        for bucket in names:
            buckets.create_bucket(bucket, server.storage)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        proxy = f"http://127.0.0.1:{server.server_port}"
        try:
            yield (
                server,
                {
                    **dict.fromkeys(("https_proxy", "HTTPS_PROXY"), proxy),
                    **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
                    **dict.fromkeys(("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(bundle)),
                    "GOOGLE_AUTH_TOKEN_FOR_TESTING": TOKEN,
                },
            )
        finally:
            server.shutdown()
            thread.join()
