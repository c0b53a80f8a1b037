"""The notebook among the examples: it runs from top to bottom, and is stored as it ran."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.local_llm import MODEL_TIMEOUT

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def outputs(notebook: Any) -> str:
    """What the code cells show, as one text."""
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(str(output.get("text", output.get("data", {}).get("text/plain", output))) for output in shown)


def check(notebook: Any) -> None:
    """It has run from top to bottom, and came out as it should, whatever the model's words were."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    shown = outputs(notebook)
    assert '<Question "Shall I ask the model' in shown
    assert re.search(r"commander notebook .*ACTIVE\n +\w+ answer .*ACTIVE", shown)
    assert re.search(r"stopped after \d+ ms", shown)
    assert "cancelled" in shown
    assert "COMPLETED" in shown


def test_the_stored_notebook_has_run_and_names_no_machine() -> None:
    notebook = read()
    nbformat.validate(notebook)  # type: ignore[no-untyped-call]
    check(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\\\", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.leaves("fds", "loops")  # nbclient's
@pytest.mark.timeout(2 * MODEL_TIMEOUT)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    pytest.importorskip(
        "xllamacpp", reason="the embedded model needs the package xllamacpp: pip install 'agere[local]'"
    )
    notebook = read()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(notebook, timeout=MODEL_TIMEOUT, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    check(notebook)
