"""The part of the page that says how programs use it.

Gradio has a panel of its own for that; it names buttons without a name and greys text until it is
hard to read, and offers languages and services that nothing here is tested with.
"""

import inspect
from collections.abc import Callable, Sequence
from html import escape

_EXAMPLE = """from gradio_client import Client, handle_file

client = Client("<span data-address>http://127.0.0.1:7860/</span>")
picture = handle_file("picture.jpg")
answer = client.predict(image=picture, person=1, api_name="/search")
for match in answer["matches"]:
    print(match["rank"], match["similarity"], match["camera"], match["time"])"""


def api_panel(endpoints: Sequence[Callable]) -> str:
    """Return a closed panel with an example and a line for each endpoint.

    Args:
        endpoints: The functions behind them, bound, whose docstrings say what they do.
    """
    lines = "".join(map(_line, endpoints))
    return (
        '<details class="ps-api"><summary>For programs: the API</summary>'
        '<p class="ps-hint">From Python, with the package gradio_client:</p>'
        f'<pre tabindex="0" aria-label="An example in Python">{_EXAMPLE}</pre>'
        f"<dl>{lines}</dl>"
        '<p class="ps-hint">docs/api.md describes arguments and answers.</p></details>'
    )


def _line(endpoint: Callable) -> str:
    arguments = ", ".join(inspect.signature(endpoint).parameters)
    said = (inspect.getdoc(endpoint) or "").partition("\n")[0]
    return (
        f"<div><dt><code>/{escape(endpoint.__name__)}({escape(arguments)})</code></dt>"
        f"<dd>{escape(said)}</dd></div>"
    )
