from __future__ import annotations

import json

import pytest

from extproc.importers import ImportFailed, convert


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[1]", "expected an object"),
        ("{", "neither JSON nor YAML"),
        ("", "expected an object"),
        ('{"uri": "/"}', "neither ai-proxy nor"),
        ('{"plugins": {"ai-proxy": {"provider": "nobody"}}}', "'nobody' is none of"),
        ('{"plugins": {"ai-proxy-multi": {}}}', "instances: there is none"),
        ('{"plugins": {"ai-proxy": {"provider": "openai", "auth": 1}}}', "not as its schema has it"),
        ('{"plugins": {"ai-proxy": {"provider": "openai", "override": {"endpoint": "ftp://x"}}}}', "override.endpoint"),
    ],
)
def test_what_cannot_be_read(document: str, message: str) -> None:
    with pytest.raises(ImportFailed, match=message):
        convert("apisix", document.encode())


@pytest.mark.parametrize("kind", ["apisix", "aigw"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a: " + "{a: " * 900 + "1" + "}" * 900,
        "a: !!python/object:os.system x",
        "a: 2024-13-45",
        "x0: &x0 [1]\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 20)),
        "a: &a {b: *a}",
        json.dumps({"routes": 3}),
        json.dumps({"list": [1, None]}),
        json.dumps({"services": [{"routes": "x"}]}),
    ],
    ids=range(9),
)
def test_odd_input_is_an_error_of_one_line(kind: str, text: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        convert(kind, text.encode())
    assert "\n" not in str(caught.value)
