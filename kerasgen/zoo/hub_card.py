"""The README of a model on a hub: front matter in YAML, use, evaluation, what to cite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kerasgen.evaluation import cards
from kerasgen.evaluation.key_metrics import sort_of
from kerasgen.models.algorithm import algorithm_of


def front_matter(record: dict[str, Any], licence: str | None) -> dict[str, Any]:
    """What a hub reads of a model: library, licence, tags, and key metrics as ``model-index``.

    Args:
        record: content of ``metrics.json``.
        licence: SPDX identifier; None: nothing is said.
    """
    config = record["config"]
    kind = algorithm_of(config["algorithm"]).kind
    found = record["candidates"][record["candidate"]]["metrics"]
    metrics = [
        {
            "type": name,
            "name": key.title,
            "value": key.factor * found[name]["value"],
            "args": {
                "error": key.factor * found[name]["error"],
                "real_against_real": key.factor * found[name]["floor"],
            },
        }
        for name, key in sort_of(found).metrics.items()
        if name in found and found[name]["value"] is not None
    ]
    source = config["data"]["source"]
    result = {
        "task": {"type": "other", "name": f"generation of {kind.noun}"},
        "dataset": {"type": source, "name": source},
        "metrics": metrics,
    }
    tags = ["kerasgen", "generative-model", "high-energy-physics", config["algorithm"]]
    return {
        "library_name": "keras",
        **({"license": licence} if licence else {}),
        "tags": tags,
        "model-index": [{"name": config["recipe"], "results": [result]}],
    }


def yaml_lines(value: Any, indent: str = "") -> Iterator[str]:
    """Lines of YAML: mappings and lists in block form, texts and numbers as JSON has them."""
    pairs = value.items() if isinstance(value, dict) else ((None, x) for x in value)
    for key, inner in pairs:
        start = f"{indent}-" if key is None else f"{indent}{key}:"
        if isinstance(inner, dict | list):
            yield start
            yield from yaml_lines(inner, f"{indent}  ")
        else:
            yield f"{start} {scalar(inner)}"


def scalar(value: Any) -> str:
    """A text or number in YAML 1.1, where a number with an exponent needs a point."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text


def hub_card(
    record: dict[str, Any], card: str | None, load: str, cited: str, licence: str | None
) -> str:
    """The text of ``README.md``.

    Args:
        record: content of ``metrics.json``.
        card: text of the card in the zoo; None: the model is none of the zoo.
        load: what ``kerasgen.load`` takes.
        cited: BibTeX of what to cite.
        licence: SPDX identifier; None: nothing is said.
    """
    config = record["config"]
    if card is None:
        title = f"# {config['recipe']}\n\n{config['description']}\n"
        card = f"{title}\n{cards.model_card(record)}\n"
    return "\n".join([
        "---", *yaml_lines(front_matter(record, licence)), "---", "",
        without_far_links(card).strip(), "", "## Use", "",
        "With kerasgen and its extra `[hub]`:", "",
        "```python", "import kerasgen", "",
        f"model = kerasgen.load({json.dumps(load)})",
        "events = kerasgen.generate(model, events=1, seed=7)", "```", "",
        "## What to cite", "", "```bibtex", cited.strip(), "```", "",
    ])  # fmt: skip


def without_far_links(card: str) -> str:
    """A card whose links to other folders, which are not beside it on a hub, are plain text."""
    text = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", card)
    return text.replace(f"{cards.BEGIN}\n\n", "").replace(f"{cards.END}\n\n", "")
