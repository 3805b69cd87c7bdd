"""Numbers, formulas and sizes as people read them."""

import re
from math import isfinite, isnan

from markupsafe import Markup, escape


def number(value: float) -> str:
    """Three significant digits, or a whole number, with a true minus sign; empty for NaN."""
    value = float(value)
    if isnan(value):
        return ""
    if not isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:.0f}".replace("-", "−")
    if not 1e-3 <= abs(value) < 1e4:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits}·10^{int(exponent)}".replace("-", "−")
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def typeset(text: str) -> Markup:
    """Escaped text with ``x^y`` and ``x_inf`` as super- and subscripts, ``code`` as code."""
    marked = str(escape(text))
    marked = re.sub(r"``(.+?)``", r"<code>\1</code>", marked)
    marked = re.sub(r"\^\(([^()<>]+)\)", r"<sup>\1</sup>", marked)
    marked = re.sub(r"\^([-+−]?[\w.]+(?:/\d+)?)(?<!\.)", r"<sup>\1</sup>", marked)
    marked = re.sub(r"\b([a-z])_inf\b", r"\1<sub>∞</sub>", marked)
    marked = re.sub(r"(?<=<sup>).*?(?=</sup>)", lambda found: found[0].replace("-", "−"), marked)
    marked = re.sub(r"(?<![\w.&#;)-])-(?=[\d.∞])", "−", marked)
    marked = re.sub(r"(?<=\d)\.\.(?=\d)", "–", marked)
    for plain, sign in (("&gt;=", "≥"), ("&lt;=", "≤"), (" inf ", " ∞ ")):
        marked = marked.replace(plain, sign)
    return Markup(marked)


def memory(megabytes: float) -> str:
    """MiB as '640 MiB' or '3.1 GiB'."""
    if isnan(megabytes):
        return "–"
    return f"{megabytes:.0f} MiB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GiB"
