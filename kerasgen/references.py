"""The papers of ``references.bib``; algorithms, data sources and metrics name them by key."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from types import MappingProxyType


@cache
def references() -> MappingProxyType[str, str]:
    """Every entry of ``references.bib`` as it stands there, by its key."""
    text = (resources.files("kerasgen") / "references.bib").read_text("utf-8")
    found = re.finditer(r"^@\w+\{(\S+),\n.*?^\}", text, re.M | re.S)
    return MappingProxyType({entry[1]: entry[0] for entry in found})
