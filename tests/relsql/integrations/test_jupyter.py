"""The magic of notebooks."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def notebook() -> InteractiveShell:
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "relsql")
    return shell


def test_a_file_is_opened_and_cells_run(notebook: InteractiveShell, shop: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UsageError, match="no database is open.*%relsql FILE"):
        notebook.run_line_magic("relsql", "SHOW MODELS")
    assert notebook.run_line_magic("relsql", str(shop)) is None
    assert "functions of models attached" in capsys.readouterr().out
    assert notebook.run_line_magic("relsql", "SHOW MODELS").fetchall()[0][:2] == ("churn", 1)
    scored = notebook.run_cell_magic("relsql", "", "SELECT count(predict_churn(customer_id))\nFROM customers;\n")
    assert scored.fetchall() == [(60,)]


def test_a_connection_of_the_notebook_is_used(notebook: InteractiveShell, shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE TEMP TABLE mine AS SELECT 7 AS x")
        notebook.user_ns["con"] = con
        notebook.run_line_magic("relsql", "con")
        assert notebook.run_line_magic("relsql", "FROM mine").fetchall() == [(7,)]
