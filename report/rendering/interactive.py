"""The timeline with zoom, hover and replicas to choose, inside the page.

The page carries uPlot (`uplot/`, the release file as it is published, with its license)
and one script of our own. Nothing is loaded from elsewhere: the page's content security
policy allows this one script by its digest and nothing else. All data is JSON that the
script writes with `textContent`, so a name in it cannot act.

Curves are sent as 16-bit numbers between the panel's least and greatest value, in
base64. Those of single replicas are averaged over as many bins as keep the page small.
"""

import base64
import hashlib
import json
from importlib import resources
from typing import Any

import numpy as np

from report.reading.samples import FloatArray
from report.rendering.timeline_panels import Panel, panels, spans
from report.timeline.analysis import Analysis

_MOST_VALUES = 150_000
"""Values of single replicas in a page: about 0.4 MB."""
_UNKNOWN = 0xFFFF
_LARGEST = 0xFFFE
_FEWEST_BINS = 4


def live_data(analysis: Analysis) -> str | None:
    """Return the data of the timeline as JSON for a page; None: there is too little."""
    series = analysis.series
    if series.bins < _FEWEST_BINS:
        return None
    shown = panels(analysis)
    names = analysis.inputs.names
    values = len(names) * len(shown) * series.bins
    step = max(1, int(np.ceil(values / _MOST_VALUES)))
    data = {
        "bins": series.bins,
        "width": series.width_s,
        "step": step,
        "replicas": names,
        "hosts": [analysis.inputs.hosts[host] for host in analysis.inputs.host],
        "panels": [_panel(panel, step, len(names)) for panel in shown],
        "spans": [
            {
                "begin": round(one.begin_s, 2),
                "end": round(one.end_s, 2),
                "words": one.words,
                "burst": one.burst,
            }
            for one in spans(analysis)
        ],
    }
    # No text in a script element may look like its end, or like a comment.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script() -> str:
    """Return the script of the page: uPlot, then ours."""
    here = resources.files("report.rendering")
    parts = [
        (here / "uplot" / "LICENSE").read_text().strip(),
        (here / "uplot" / "uPlot.iife.min.js").read_text().strip(),
        (here / "templates" / "timeline.js").read_text().strip(),
    ]
    return f"/* uPlot:\n{parts[0]}\n*/\n{parts[1]}\n{parts[2]}\n"


def style() -> str:
    """Return uPlot's style sheet."""
    here = resources.files("report.rendering")
    return (here / "uplot" / "uPlot.min.css").read_text().strip()


def digest(text: str) -> str:
    """Return the digest by which a content security policy allows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _panel(panel: Panel, step: int, replicas: int) -> dict[str, Any]:
    # One replica is what the curves of all show.
    rows = _decimated(panel.rows, step) if replicas > 1 else panel.rows[:0]
    curves = np.array([curve.values for curve in panel.curves])
    return {
        "label": panel.label,
        "names": [curve.name for curve in panel.curves],
        "curves": _packed(curves),
        "each": panel.each,
        "rows": _packed(rows),
        "limit": None if panel.limit is None else round(panel.limit, 4),
        "limitName": panel.limit_name,
    }


def _decimated(rows: FloatArray, step: int) -> FloatArray:
    """Return the mean of every `step` bins, of what is known."""
    if step == 1 or not len(rows):
        return rows
    room = -rows.shape[1] % step
    padded = np.pad(rows, ((0, 0), (0, room)), constant_values=np.nan)
    groups = padded.reshape(len(rows), -1, step)
    known = ~np.isnan(groups)
    number = known.sum(axis=2)
    total = np.where(known, groups, 0.0).sum(axis=2)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _packed(rows: FloatArray) -> dict[str, Any]:
    """Return rows as 16-bit numbers in base64, with the range that they cover."""
    known = rows[~np.isnan(rows)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    span = (high - low) or 1.0
    places = np.round((np.nan_to_num(rows, nan=low) - low) / span * _LARGEST)
    whole = np.where(np.isnan(rows), _UNKNOWN, places).astype("<u2")
    return {
        "low": low,
        "high": low + span,
        "rows": [base64.b64encode(row.tobytes()).decode() for row in whole],
    }
