"""What this program knows, as tables."""

from __future__ import annotations

from extproc import dialects, settings
from tests.support.command_line import Run


def test_dialects_prints_the_matrix_and_who_speaks_what(run: Run) -> None:
    done = run("dialects")
    lines = [line.split() for line in done.out.decode().splitlines()]
    names = list(dialects.REGISTRY)
    assert done.status == 0 and lines[0] == ["client", "\\", "upstream", *names]
    matrix = {line[0]: dict(zip(names, line[1:], strict=True)) for line in lines[1 : 1 + len(names)]}
    assert all(matrix[name][name] == "passes" for name in names)
    assert matrix["anthropic_messages"]["openai_chat"] == matrix["openai_chat"]["anthropic_messages"] == "translates"
    assert matrix["openai_chat"]["openai_embeddings"] == matrix["openai_embeddings"]["openai_chat"] == "-"
    assert matrix["openai_embeddings"]["vertex_predict"] == "translates"
    assert matrix["vertex_predict"]["openai_embeddings"] == "-"
    assert ["anthropic", "anthropic_messages", "/v1/messages", "max_tokens"] in lines


def test_settings_lists_every_flag_and_variable(run: Run) -> None:
    done = run("settings")
    lines = done.out.decode().splitlines()
    assert done.status == 0
    assert [line.split()[:2] for line in lines] == [[item.flag, item.variable] for item in settings.ALL]
