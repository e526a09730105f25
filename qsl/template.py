"""The prompt of MLPerf's summarization task."""

TEMPLATE = (
    "Summarize the following news article in 128 tokens. Please output the summary"
    " only, without any other text.\n\nArticle:\n{input}\n\nSummary:"
)


def prompt(article: str) -> str:
    """Return the text that the model is given for `article`."""
    return TEMPLATE.replace("{input}", article)
