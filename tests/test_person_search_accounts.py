"""Users of the page: the file, the passwords, the tokens, and the command that writes it."""

import json
import stat

import pytest

from person_search.accounts import users as users_module
from person_search.accounts.account import Account
from person_search.accounts.passwords import (
    Cost,
    hash_password,
    hash_token,
    is_password,
    make_token,
)
from person_search.accounts.users import Users
from person_search.accounts.users_file import (
    Token,
    User,
    UsersError,
    changed_users,
    read_users,
    with_token,
)
from person_search.cli import main
from person_search.commands import user as user_command

CHEAP = Cost(n=16, p=1)


@pytest.fixture(autouse=True)
def cheap_strangers(monkeypatch):
    """What a name that is not there is compared with."""
    monkeypatch.setattr(
        users_module, "hash_password", lambda text, cost=CHEAP: hash_password(text, CHEAP)
    )


def add(path, name, role="viewer", password="secret", cameras=None):
    with changed_users(path) as users:
        users[name] = User(Account(name, role, cameras), hash_password(password, CHEAP))


def test_roles_contain_each_other():
    viewer, admin = Account("v", "viewer"), Account("a", "admin")
    assert viewer.may("viewer") and not viewer.may("editor") and not viewer.may("admin")
    assert all(admin.may(role) for role in ("viewer", "editor", "admin"))
    with pytest.raises(ValueError, match="got role 'root'; expected one of viewer, editor, admin"):
        Account("x", "root")


def test_a_password_is_kept_as_a_hash_with_a_salt_of_its_own():
    kept = hash_password("sécret", CHEAP)
    assert kept.startswith("scrypt$16$8$1$") and "sécret" not in kept
    assert kept != hash_password("sécret", CHEAP)
    assert is_password("sécret", kept) and not is_password("secret", kept)
    with pytest.raises(ValueError, match="is damaged; set it anew"):
        is_password("x", "md5$1$2$3$4$5")
    with pytest.raises(ValueError, match="empty"):
        hash_password("")


def test_the_known_answer_of_scrypt():
    """RFC 7914, section 12: "password" with the salt "NaCl", N 1024, r 8, p 16, 64 bytes."""
    import base64

    expected = bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
    salt, found = (base64.b64encode(part).decode() for part in (b"NaCl", expected))
    assert is_password("password", f"scrypt$1024$8$16${salt}${found}")


def test_the_file_is_its_owners_alone_and_says_nothing_secret(tmp_path):
    path = tmp_path / "users.json"
    add(path, "ann", "admin")
    token = make_token()
    with changed_users(path) as users:
        users["ann"] = with_token(users["ann"], Token("api", hash_token(token), 5.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "secret" not in text and token not in text
    path.chmod(0o644)
    with pytest.raises(UsersError, match="others may read it; run: chmod 600"):
        read_users(path)


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "users.json"
    add(path, "ann")
    before = path.read_bytes()
    with pytest.raises(RuntimeError), changed_users(path) as users:
        users.clear()
        raise RuntimeError
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"users.json", ".users.json.lock"}


TOKEN = {"label": "api", "sha256": "ab" * 32, "made": 5.0}


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: said.update(version=2),
        lambda said: said["users"]["ann"].update(role="god"),
        lambda said: said["users"]["ann"].update(cameras="yard"),
        lambda said: said["users"]["ann"].update(expires=5),
        lambda said: said["users"]["ann"].pop("cameras"),
        lambda said: said["users"].update({"a b": said["users"]["ann"]}),
        lambda said: said["users"]["ann"].update(password=None),
        lambda said: said["users"]["ann"]["tokens"].append({"label": "api"}),
        lambda said: said["users"]["ann"].update(tokens=[{**TOKEN, "sha256": None}]),
        lambda said: said["users"]["ann"].update(tokens=[{**TOKEN, "sha256": "ab"}]),
        lambda said: said["users"]["ann"].update(tokens=[{**TOKEN, "label": 5}]),
        lambda said: said["users"]["ann"].update(tokens=[{**TOKEN, "made": "now"}]),
    ],
)
def test_what_is_not_understood_lets_nobody_in(damage, tmp_path):
    path = tmp_path / "users.json"
    add(path, "ann")
    said = json.loads(path.read_text())
    damage(said)
    path.write_text(json.dumps(said))
    with pytest.raises(UsersError, match=r"users\.json is no file of users, or damaged"):
        read_users(path)


def test_users_are_checked_and_the_file_is_read_anew(tmp_path):
    path = tmp_path / "users.json"
    token = make_token()
    add(path, "ann", "editor", cameras=frozenset({"yard"}))
    users = Users.open(path)
    assert users.check("ann", "secret") == Account("ann", "editor", frozenset({"yard"}))
    assert users.check("ann", "guess") is None and users.check("bob", "secret") is None
    assert users.by_token(token) is None
    stamp = users.stamp("ann")
    with changed_users(path) as found:
        found["ann"] = with_token(found["ann"], Token("api", hash_token(token), 0.0))
    assert users.by_token(token).name == "ann" and users.by_token("ps_guess") is None
    assert users.stamp("ann") == stamp  # a token more ends no login
    add(path, "ann", "viewer")
    assert users.stamp("ann") != stamp and users.named("ann").role == "viewer"
    with changed_users(path) as found:
        del found["ann"]
    assert users.named("ann") is None and users.stamp("ann") == ""


@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_text("{")])
def test_without_its_file_nobody_is_let_in_until_it_is_back(harm, tmp_path):
    path = tmp_path / "users.json"
    add(path, "ann")
    users, kept = Users.open(path), path.read_bytes()
    harm(path)
    assert users.check("ann", "secret") is None and users.named("ann") is None
    assert users.fault
    path.write_bytes(kept)
    path.chmod(0o600)
    assert users.check("ann", "secret") is not None and not users.fault


def test_one_user_without_a_file_may_do_everything():
    users = Users.single("ann", "secret", CHEAP)
    assert users.check("ann", "secret") == Account("ann", "admin")
    assert users.check("ann", "x") is None and users.by_token("ps_x") is None


@pytest.fixture
def cheap(monkeypatch):
    monkeypatch.setattr(
        user_command, "hash_password", lambda text, cost=CHEAP: hash_password(text, CHEAP)
    )


def test_the_command_adds_changes_lists_and_removes(tmp_path, monkeypatch, capsys, cheap):
    path = str(tmp_path / "users.json")
    monkeypatch.setenv("A_PASSWORD", "three plain words")
    given = ["--users", path, "--password-env", "A_PASSWORD"]
    assert main(["user", "add", "ann", "--role", "admin", *given]) == 0
    assert main(["user", "add", "bob", "--camera", "yard", "--camera", "", *given]) == 0
    assert main(["user", "add", "bob", *given]) == 2
    assert "there is a user 'bob' already" in capsys.readouterr().err
    assert main(["user", "list", "--users", path]) == 0
    listed = capsys.readouterr().out
    assert "ann\tadmin\tcameras: all" in listed and "bob\tviewer\tcameras: '', yard" in listed
    assert main(["user", "change", "bob", "--role", "editor", "--users", path]) == 0
    assert main(["user", "change", "bob", "--all-cameras", "--users", path]) == 0
    assert read_users(tmp_path / "users.json")["bob"].account == Account("bob", "editor")
    before = read_users(tmp_path / "users.json")["bob"].password
    assert main(["user", "password", "bob", *given]) == 0
    assert read_users(tmp_path / "users.json")["bob"].password != before
    assert main(["user", "remove", "bob", "--users", path]) == 0
    assert main(["user", "remove", "bob", "--users", path]) == 2
    assert "there is no user 'bob'; there are: ann" in capsys.readouterr().err


def test_the_command_shows_a_token_once_and_takes_it_back(tmp_path, capsys):
    path = tmp_path / "users.json"
    add(path, "ann")
    asked = ["user", "token", "ann", "--label", "night", "--users", str(path)]
    assert main(asked) == 0
    token = capsys.readouterr().out.strip()
    users = Users.open(path)
    assert users.by_token(token).name == "ann"
    assert main(asked) == 2 and "a token 'night' already" in capsys.readouterr().err
    assert main([*asked, "--remove"]) == 0
    assert users.by_token(token) is None
    assert main([*asked, "--remove"]) == 2 and "has no token 'night'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "a b"], "expected 1 to 100 letters"),
        (["add", "ann", "--password-env", "SHORT"], "the password has 5 letters; expected 8"),
        (["change", "ann"], "nothing to change"),
        (["password", "ann"], "No such file|there is no"),
    ],
)
def test_the_command_refuses(words, message, tmp_path, monkeypatch, capsys):
    import re

    monkeypatch.setenv("SHORT", "short")
    assert main(["user", *words, "--users", str(tmp_path / "users.json")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "users.json").exists()


def test_who_was_added_while_a_password_was_typed_stays(tmp_path, monkeypatch, capsys, cheap):
    path = tmp_path / "users.json"

    def type_it(prompt):
        add(path, "ann", "admin")
        return "three plain words"

    monkeypatch.setattr(user_command.getpass, "getpass", type_it)
    assert main(["user", "add", "ann", "--users", str(path)]) == 2
    assert "there is a user 'ann' already" in capsys.readouterr().err
    assert read_users(path)["ann"].account.role == "admin"


def test_a_password_typed_twice_must_be_the_same(tmp_path, monkeypatch, capsys):
    answers = iter(["three plain words", "three plain wordz"])
    monkeypatch.setattr(user_command.getpass, "getpass", lambda prompt: next(answers))
    assert main(["user", "add", "ann", "--users", str(tmp_path / "u.json")]) == 2
    assert "the two passwords differ" in capsys.readouterr().err
