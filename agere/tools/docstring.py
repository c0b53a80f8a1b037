"""What a docstring says of a function and of its parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple


class Described(NamedTuple):
    """What was found.

    Attributes:
        text: of the function: what stands outside of all sections.
        parameters: descriptions by name.
    """

    text: str
    parameters: dict[str, str]


def read_docstring(docstring: str | None, names: Collection[str]) -> Described:
    """Any thread. Read a docstring in Google's, NumPy's or Sphinx's style.

    Args:
        docstring: as it stands in ``__doc__``.
        names: the parameters of the function. The style that tells most of them is the docstring's.
    """
    if not docstring or not docstring.strip():
        return Described("", {})
    import griffe

    best: tuple[tuple[int, int], Described] | None = None
    for parse in (griffe.parse_google, griffe.parse_numpy, griffe.parse_sphinx):
        sections = parse(griffe.Docstring(docstring), warnings=False)
        found = Described(_text(sections), _parameters(sections))
        score = (len(found.parameters.keys() & set(names)), len(sections))
        if best is None or score > best[0]:
            best = score, found
    return best[1] if best is not None else Described(docstring, {})


def _text(sections: list[Any]) -> str:
    parts = []
    for section in sections:
        if section.kind.value == "text":
            parts.append(section.value.strip())
        elif section.kind.value == "admonition":  # "Note:" and the like: meant for whoever calls
            parts.append(f"{section.title or section.value.kind}: {section.value.description.strip()}")
    return "\n\n".join(part for part in parts if part)


def _parameters(sections: list[Any]) -> dict[str, str]:
    found = {}
    for section in sections:
        if section.kind.value in ("parameters", "other parameters"):
            for parameter in section.value:
                for name in parameter.name.split(","):  # NumPy lets parameters share a description
                    if parameter.description.strip():
                        found[name.strip().lstrip("*")] = " ".join(parameter.description.split())
    return found
