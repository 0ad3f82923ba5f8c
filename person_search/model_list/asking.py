"""Ask a server for a file, and know a web page or other text where it came in its place."""

import http.client
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from html.parser import HTMLParser
from typing import IO, Any

START_BYTES = 512
"""Of a file, which tell text from weights: every format of these has other bytes among them."""

_LFS = "version https://git-lfs"
_DRIVE_FORM = "download-form"
"""Of the form by which Google Drive asks to confirm that no large file is scanned for viruses."""


class NotFetchedError(ConnectionError):
    """A source did not give the file, and asking it again would not help."""


class PageError(NotFetchedError):
    """A source gave a web page, or other text, in place of the file."""

    def __init__(self, url: str, text: str) -> None:
        """Keep the page.

        Args:
            url: where redirects ended.
            text: of the page, HTML or not.
        """
        self.url, self.page = url, _Page(text)
        host = urllib.parse.urlsplit(url).netloc
        super().__init__(
            f"{name_text(text)} came in place of the file, from {host}: "
            "it may ask to log in or to accept terms, or have had too many downloads today; open "
            "the address in a browser"
        )

    def confirmed_url(self) -> str | None:
        """Return where Google Drive's form to confirm a download leads; None without that form.

        Raises:
            NotFetchedError: if it leads to where the connection is not encrypted, unlike this one.
        """
        form = self.page.form
        if form is None:
            return None
        address = urllib.parse.urljoin(self.url, form["action"])
        _check_step(self.url, address)
        return f"{address}?{urllib.parse.urlencode(self.page.fields)}"


class _Page(HTMLParser):
    """The title of a page, and Google Drive's form in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = ""
        self.form: dict[str, str] | None = None
        self.fields: dict[str, str] = {}
        self._is_title = self._is_form = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look for the form and its fields."""
        values = {name: value or "" for name, value in attrs}
        self._is_title = tag == "title"
        if tag == "form" and values.get("id") == _DRIVE_FORM and values.get("action"):
            self.form, self._is_form = values, True
        elif tag == "input" and self._is_form and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Leave the title or the form."""
        self._is_title = False
        if tag == "form":
            self._is_form = False

    def handle_data(self, data: str) -> None:
        """Keep the title, in one line."""
        if self._is_title:
            self.title = " ".join(data.split())[:100]


def is_text(start: bytes) -> bool:
    """Say whether the first bytes of a file, `START_BYTES` of them, are text; none are not."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.reason != "unexpected end of data":
            return False
        text = start[: error.start].decode("utf-8-sig")
    return bool(text) and not any(
        unicodedata.category(letter)[0] == "C" for letter in text if letter not in " \t\r\n\f"
    )


def name_text(text: str) -> str:
    """Say what a text is that lies in a file's place."""
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith(_LFS):
        return "a pointer of Git LFS, without what it points to,"
    if text.startswith("<"):
        title = _Page(text).title
        return f"a web page, {title!r}," if title else "a web page"
    return f"text, {one_line(text, 100)!r},"


def one_line(text: object, longest: int = 200) -> str:
    """Return what a server said in one line, without what would steer a terminal."""
    words = " ".join(str(text).split())
    return "".join(letter for letter in words if letter.isprintable())[:longest]


def _check_step(before: str, after: str) -> None:
    """Refuse to go from an address to another that is less safe, or no server's."""
    scheme = after.partition(":")[0].lower()
    if before.lower().startswith("https:") and scheme != "https":
        raise NotFetchedError(f"it was redirected to {one_line(after)}, which is not encrypted")
    if scheme not in ("http", "https"):
        raise NotFetchedError(f"it was redirected to {one_line(after)}, which is no server")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https, from an encrypted connection to such ones alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,  # type: ignore[override]
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_step(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    def http_error_416(
        self, req: Any, fp: http.client.HTTPResponse, code: int, msg: str, headers: Message
    ) -> http.client.HTTPResponse:
        """Give the answer to a request for a part that the file does not have: no error here."""
        return fp


_OPENER = urllib.request.build_opener(_Redirects)


def ask(url: str, headers: dict[str, str], timeout_s: float) -> http.client.HTTPResponse:
    """Send a request; proxies of the environment are used.

    Args:
        url: with http or https.
        headers: of the request.
        timeout_s: seconds to wait for a connection, and for each next byte.

    Returns:
        The answer, of which the body is not read yet, with a status below 400, or 416 where the
        file does not have the part that was asked for.

    Raises:
        urllib.error.HTTPError: for another status.
        NotFetchedError: if it is redirected to where the connection is not encrypted, or the
            address is of another kind, such as of a file.
        OSError: if the server cannot be reached.
    """
    if url.partition(":")[0].lower() not in ("http", "https"):
        raise NotFetchedError(f"{one_line(url)} is no address of a server, http or https")
    known = {"User-Agent": "person-search", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=known | headers)
    answer: http.client.HTTPResponse = _OPENER.open(request, timeout=timeout_s)
    return answer
