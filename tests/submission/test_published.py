import json
from pathlib import Path

from record.folder import RunFolder
from submission.published import publish
from tests.submission.trees import edit, unpack


def test_host_names_and_paths_are_not_published(tmp_path: Path) -> None:
    run = unpack(tmp_path / "tree").result("Server").performance
    edit(run.config, "path: repeated_13368.json", "path: /home/me/repeated_13368.json")
    edit(run.replicas, '"node-1"', '"secret.example.org"')
    edit(run.settings, '"tokenizer": null', '"tokenizer": "/home/me/tokenizer.json"')
    event = {"t_ns": 1, "kind": "rejoin", "node": "secret.example.org", "cause": "?"}
    run.events.write_text(json.dumps(event) + "\n")
    there = RunFolder(tmp_path / "there")
    publish(run, there.path)
    for path in there.path.iterdir():
        text = path.read_text()
        assert "secret" not in text, path
        assert "/home/me" not in text, path
    assert '"node": "node-1"' in there.events.read_text()
    assert "path: repeated_13368.json" in there.config.read_text()
