"""What a server answers: an error, and whether it may pass; or a file, which part and version."""

import datetime
import email.utils
import http.client
import re
import time
import urllib.error

from person_search.model_list.asking import NotFetchedError, ask, one_line

_AGAIN = (408, 429, 500, 502, 503, 504)
"""Statuses of servers that may answer otherwise a little later."""


class AskAgainError(Exception):
    """An attempt failed that may go well later."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        """Keep for how long a server asks to wait, if it does."""
        super().__init__(what)
        self.wait_s = wait_s


def open_answer(url: str, headers: dict[str, str], timeout_s: float) -> http.client.HTTPResponse:
    """Ask for a file; what cannot be reached at all is not asked again, as without a network.

    Args:
        url: with http or https.
        headers: of the request.
        timeout_s: seconds to wait for a connection, and for each next byte.

    Returns:
        An answer with a file or a part of one: its status is 200, 206 or 416.

    Raises:
        AskAgainError: if the server may answer otherwise a little later.
        NotFetchedError: if it will not.
    """
    try:
        answer = ask(url, headers, timeout_s)
    except NotFetchedError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise _explain(error) from error
    except http.client.HTTPException as error:
        said = one_line(error) or type(error).__name__
        raise AskAgainError(f"its answer is none of HTTP ({said})") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        what = f"it cannot be reached ({one_line(said)})"
        if isinstance(reason, TimeoutError | ConnectionResetError):
            raise AskAgainError(what) from error
        raise NotFetchedError(what) from error
    # An address that is none, such as one that a redirect leads to.
    except ValueError as error:
        raise NotFetchedError(f"its address cannot be asked ({one_line(error)})") from error
    if answer.status not in (200, 206, 416):
        with answer:
            raise NotFetchedError(f"it answered {answer.status} {one_line(answer.reason)}")
    return answer


def _explain(error: urllib.error.HTTPError) -> Exception:
    """Say what an answer of an error means."""
    if 300 <= error.code < 400:
        return NotFetchedError(f"it answered {error.code}, and leads in a circle or nowhere")
    status = f"it answered {error.code} {one_line(error.reason)}"
    if error.code in _AGAIN:
        return AskAgainError(status, _retry_after(error))
    if error.code in (401, 403):
        return NotFetchedError(
            f"{status}: it asks to log in or to accept terms; open it in a browser"
        )
    if error.code in (404, 410):
        return NotFetchedError(f"{status}: the file is not there any more")
    return NotFetchedError(status)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that a server asks to wait; None where it does not say."""
    text = (error.headers.get("Retry-After") or "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
        # Without a zone it is that of Greenwich, as HTTP has it.
        return max(
            0.0, until.replace(tzinfo=until.tzinfo or datetime.UTC).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None


def first_byte(answer: http.client.HTTPResponse) -> int | None:
    """Return where the part begins that an answer has; None if it does not say."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def version_of(answer: http.client.HTTPResponse) -> str:
    """Return what a server calls this version of the file; "" if nothing that can be relied on."""
    tag = answer.headers.get("ETag", "")
    # A weak one stands for several versions.
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
