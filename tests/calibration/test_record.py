"""None"""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors import SafetensorError

from base.errors import Aborted, UserError
from calibration.prompts import Prompts
from calibration.record import check_new, make_record, new_folder
from calibration.source import load_source
from record.folder import write_json
from tests.calibration.made_up import write_checkpoint


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


def test_the_record_tells_how_and_from_what(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    prompts = Prompts(tokens=[[1, 2], [3]], rows=7, sha256="ab")
    record = make_record(load_source(folder), prompts, "CPU", {"torch": "2"})
    write_json(tmp_path / "calibration.json", record)
    message = json.loads((tmp_path / "calibration.json").read_text())
    assert message["calibration_set"] == {
        "sha256": "ab",
        "rows": 7,
        "samples": 2,
        "tokens": 3,
    }
    assert message["source_sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("config.json", "model.safetensors", "tokenizer.json")
    }
    assert (message["device"], message["versions"]) == ("CPU", {"torch": "2"})
    # It travels with the checkpoint.
    assert str(tmp_path) not in json.dumps(message)
