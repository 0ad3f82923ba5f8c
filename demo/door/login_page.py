"""The page that asks for name and password: no script, nothing from elsewhere."""

import base64
import hashlib
from html import escape

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{display:grid;place-items:center;min-height:90vh;margin:0}
form{display:grid;gap:.75rem;width:min(20rem,90vw)}
h1{font-size:1.4rem;margin:0}
label{display:grid;gap:.25rem}
input,button{font:inherit;padding:.5rem;border:1px solid #8888;border-radius:.4rem}
button{background:#2563eb;color:#fff;cursor:pointer}
p{margin:0;color:#c2410c}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def login_page(mistake: str = "") -> str:
    """Return the page.

    Args:
        mistake: what was wrong with the last try.
    """
    said = f'<p role="alert">{escape(mistake)}</p>' if mistake else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Person search</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>"
        '<form method="post" action="login"><h1>Person search</h1>'
        '<label>Name <input name="username" autocomplete="username" required autofocus></label>'
        '<label>Password <input name="password" type="password" autocomplete="current-password" '
        f"required></label>{said}<button>Sign in</button></form></main></body></html>"
    )
