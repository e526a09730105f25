"""Every decoder and parser of foreign bytes and files, with valid input for each."""

from pathlib import Path

from tests.fuzz.inputs import data_set_targets, model_targets, other_targets
from tests.fuzz.options import option_targets
from tests.fuzz.run_folder import run_folder_targets
from tests.fuzz.state_targets import state_targets
from tests.fuzz.target import Target
from tests.fuzz.wire import wire_targets


def all_targets(folder: Path) -> list[Target]:
    """Return every target; `folder` takes the files that they read."""
    return [
        *wire_targets(folder),
        *run_folder_targets(folder),
        *option_targets(folder),
        *data_set_targets(folder),
        *model_targets(folder),
        *other_targets(folder),
        *state_targets(folder),
    ]
