import hashlib
import json
from pathlib import Path

from calibration.prompts import Prompts
from calibration.record import make_record
from calibration.source import load_source
from record.folder import write_json
from tests.calibration.made_up import write_checkpoint


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
