"""Made-up articles, with every character that a file form could trip over."""

import random
from collections.abc import Iterator

_WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
]
_ODD = (
    *("\u2028", "\u2029", "\x7f", "\x1f", "\t", '"quoted"', "back\\slash", "é", "日本"),
    *("😀", "/", "\x08\x0c", "{input}", "<|im_end|>", "%s", "\r\n"),
)


def articles(count: int) -> Iterator[dict[str, str]]:
    """Yield rows with article, highlights and id; the same ones each time."""
    chance = random.Random(7)
    for i in range(count):
        words = [chance.choice(_WORDS) for _ in range(chance.randint(5, 40))]
        article = f"{' '.join(words)} number {i} {chance.choice(_ODD)} end."
        lines = [
            f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} {i} ."
            for _ in range(chance.randint(1, 3))
        ]
        yield {
            "article": article,
            "highlights": "\n".join(lines),
            "id": f"{i:040x}",
        }
