from pathlib import Path

import pytest
from safetensors import SafetensorError

from base.errors import Aborted, UserError
from calibration.draft import check_new, new_folder


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out) as draft:
        (draft / "file").touch()
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["file"]


def _fail(out: Path, error: BaseException) -> None:
    with new_folder(out) as draft:
        (draft / "file").touch()
        raise error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (UserError("bad"), UserError),
        (OSError(28, "No space left on device"), Aborted),
        (SafetensorError("No space\nleft on device"), Aborted),
    ],
    ids=repr,
)
def test_nothing_stays_of_what_failed(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    with pytest.raises(raised) as caught:
        _fail(tmp_path / "out", error)
    assert list(tmp_path.iterdir()) == []
    if not isinstance(error, KeyboardInterrupt | UserError):
        assert "out: cannot be written: No space left on device" in str(caught.value)


def test_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="exists; name a new folder"), new_folder(out):
        out.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        check_new(tmp_path)
    with pytest.raises(UserError, match=r"none: no such folder; make it first"):
        check_new(tmp_path / "none" / "out")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="exists"):
        check_new(tmp_path / "link")
