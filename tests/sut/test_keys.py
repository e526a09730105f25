from pathlib import Path

import pytest

from base.errors import UserError
from sut.keys import main
from sut.wire.keys import make_key, read_key


def test_a_key_is_this_users_alone_and_reads_as_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_key(path)
    assert key == read_key(path)
    other = tmp_path / "other"
    make_key(other)
    assert read_key(other) != key
    assert key.callback("", key.client_public.encode())
    assert not key.callback("", key.server_public.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("{}", "server_public"),
        ("\x00\xff", "holds no key"),
        (
            '{"server_public":"a","server_secret":"a","client_public":"a",'
            '"client_secret":"a"}',
            "holds no key",
        ),
        (
            '{"server_public":"%s","server_secret":"%s","client_public":"%s",'
            '"client_secret":"%s"}' % (("'" * 40,) * 4),
            "holds no key",
        ),
    ],
)
def test_what_is_no_key_is_reported(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(UserError, match=message):
        read_key(path)


def test_a_missing_key_is_reported_with_the_way_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file.*mlperf-sut keys"):
        read_key(tmp_path / "none")


def test_the_command_never_writes_over_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    assert main([str(path)]) == 0
    before = path.read_bytes()
    assert main([str(path)]) == 2
    assert "File exists" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([]) == 2
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0


def test_the_command_ends_by_the_table_of_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none" / "key")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["/proc/key"]) in (2, 3)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a key"
    make_key(path)
    path.chmod(mode)
    with pytest.raises(UserError, match=rf"mode 0{mode:o}\).*chmod 600 '.*a key'"):
        read_key(path)
    path.chmod(0o400)
    read_key(path)


def test_a_key_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text('{"x": ' + "[" * 5000)
    path.chmod(0o600)
    with pytest.raises(UserError, match="holds no key"):
        read_key(path)
