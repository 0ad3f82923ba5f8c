"""The attacker who has, or had, an account: rights that are gone, files of users that are damaged.

Without a server: what the door asks its parts.
"""

import asyncio

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr
from helpers_door import PASSWORD, make_users, token_of

from demo.door import guard
from demo.door.bodies import Refused
from demo.door.callers import Asker, set_asker
from demo.door.logins import Logins
from demo.door.sessions import MOST_OF_ONE, Pages
from person_search.accounts.account import Account

FORM = {"content-type": "application/x-www-form-urlencoded"}


def sign_in(logins, name="ann", password=PASSWORD):
    """Sign in; return what a browser sends from then on."""
    body = f"username={name}&password={password}".encode()
    status, headers, _ = asyncio.run(logins.come_in(FORM, body, "here", False))
    assert status == 200
    return {"cookie": "; ".join(v.partition(";")[0] for n, v in headers if n == "set-cookie")}


def failing(*_):
    raise OSError(28, "No space left on device")


# Rights that are gone while something waits.


@pytest.mark.parametrize("change", ["role", "password", "gone"])
@pytest.mark.parametrize("kind", ["cookie", "token"])
def test_an_event_that_waited_does_not_run_with_rights_that_are_gone(kind, change):
    users = make_users(ann="admin", bob="viewer")
    logins = Logins(users, 7860, lambda *_: None)
    headers = (
        sign_in(logins) if kind == "cookie" else {"authorization": f"Bearer {token_of('ann')}"}
    )
    account = logins.account_of(headers, False)
    still = logins.recheck(headers, account)
    assert account.role == "admin" and still()
    changed = make_users(ann="viewer" if change == "role" else "admin")
    users._users.pop("ann")
    assert not still()
    if change != "gone":
        users._users |= changed._users
    # Of a token its hash is what counts, not the password beside it.
    assert still() == (kind == "token" and change == "password")


def test_the_guard_asks_again(monkeypatch):
    ran, scope = [], {}
    function = guard.guarded(lambda: ran.append(1))
    monkeypatch.setattr(guard, "current_scope", lambda: scope)
    monkeypatch.setattr(guard, "refusal_of", lambda *_: "")
    set_asker(scope, Asker("user ann", Account("ann", "admin"), lambda: False))
    with pytest.raises(gr.Error, match="not signed in any more"):
        function()
    set_asker(scope, Asker("user ann", Account("ann", "admin"), lambda: True))
    function()
    assert ran == [1]


# A log that cannot be written.


def test_nobody_comes_in_unlogged_and_everybody_goes_out():
    logins = Logins(make_users(ann="admin"), 7860, lambda *_: None)
    headers = sign_in(logins)
    assert logins.account_of(headers, False)
    logins._record = failing
    with pytest.raises(Refused, match="the log cannot be written") as refused:
        sign_in(logins)
    assert refused.value.status == 503 and "No space" not in refused.value.message
    status, _, _ = asyncio.run(logins.go_out(headers, False))
    assert status == 303 and logins.account_of(headers, False) is None


# Sessions of the page.


def test_an_owner_has_so_many_sessions_of_the_page_and_no_more():
    pages = Pages()
    assert pages.may_use("hers", "ann")
    for n in range(MOST_OF_ONE + 3):
        assert pages.may_use(f"p{n}", "bob")
    assert pages.may_use("p0", "bob")  # used again: not the next one to go
    assert pages.surplus("bob") == ["p1", "p2", "p3"] and pages.surplus("ann") == []
    assert pages.may_use("p1", "ann", take=False) and not pages.may_use("p4", "ann")
    assert not pages.may_use("hers", "bob")
    pages.forget("hers")
    pages.forget("nothing")
    assert pages.may_use("hers", "bob") and pages.surplus("nobody") == []
