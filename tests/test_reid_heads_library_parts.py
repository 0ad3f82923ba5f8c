import pytest

from reid_heads.library_parts import Library, MissingPartError

# Any installed package will do.
PYTEST = Library("pytest", known="0.1", adapter="a/parts.py", install="pip install pytest==0.1")


class Server:
    _port = 7


def test_a_part_that_is_there():
    assert PYTEST.part(Server(), "_port") == PYTEST.part(Server, "_port") == 7
    assert PYTEST.part("pytest", "raises") is pytest.raises


@pytest.mark.parametrize(
    ("owner", "name", "what"),
    [
        (Server(), "_gone", f"{__name__}.Server._gone"),
        (Server, "_gone", f"{__name__}.Server._gone"),
        ("pytest", "_gone", "pytest._gone"),
        ("pytest.gone", "_servers", "pytest.gone._servers"),
    ],
)
def test_a_missing_part_says_what_to_install(owner, name, what):
    with pytest.raises(MissingPartError) as error:
        PYTEST.part(owner, name)
    assert str(error.value) == (
        f"a/parts.py leans on {what}, which pytest {pytest.__version__} does not have; it is known "
        "to work with 0.1: pip install pytest==0.1"
    )


def test_a_library_that_is_not_installed():
    library = Library("no-such-thing", known="1", adapter="a.py", install="pip install it")
    with pytest.raises(MissingPartError, match=r"which no-such-thing \(not installed\) does not"):
        library.part("no_such_thing", "x")
