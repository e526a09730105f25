import hashlib
import json
from pathlib import Path

import pytest

from qsl.articles import Article, draw_edge

EXPECTED = Path(__file__).parents[1] / "expected" / "edge_draw.json"


@pytest.mark.integration
def test_the_edge_set_is_drawn_as_the_benchmarks_script_draws_it() -> None:
    articles = [Article(article=str(i), summary="") for i in range(13_368)]
    drawn = [int(item.article) for item in draw_edge(articles)]
    expected = json.loads(EXPECTED.read_text())
    assert drawn[:10] == expected["first"]
    assert drawn[-3:] == expected["last"]
    ids = b"".join(row.to_bytes(4, "little") for row in drawn)
    assert hashlib.sha256(ids).hexdigest() == expected["sha256"]
