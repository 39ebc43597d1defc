"""Protection of a local WSGI application against requests that web pages from elsewhere send through a browser."""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


def local_only(application: WSGIApplication) -> WSGIApplication:
    """Return an application that refuses requests which a page from elsewhere may have sent.

    `Host` shows a foreign name that resolves to 127.0.0.1 (DNS rebinding); `Origin` and `Sec-Fetch-Site` show a request
    across origins. Any port is accepted in `Host`, since an SSH tunnel may end at another one.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if refusal := _refusal(environ):
            body = f"{refusal}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response("403 Forbidden", headers)
            return [body]
        return application(environ, start_response)

    return guarded


def _refusal(environ: WSGIEnvironment) -> str | None:
    """Return why a request is refused; None if it is not."""
    host = environ.get("HTTP_HOST", "")
    if not _LOCAL.fullmatch(host):
        return "Host must be localhost, 127.0.0.1 or [::1]; open the address that qar dashboard has printed"
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return "Origin must be the dashboard itself; open the address that qar dashboard has printed"
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and environ.get("HTTP_SEC_FETCH_SITE") in (
        "cross-site",
        "same-site",
    ):
        return "changes must come from the dashboard itself; open the address that qar dashboard has printed"
    return None
