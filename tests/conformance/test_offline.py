from __future__ import annotations

from extproc.conformance.features import BY_NAME, HELLO
from extproc.conformance.judge import Reported
from extproc.conformance.offline import Offline
from extproc.conformance.sides import AskedSide, AskingSide
from extproc.llm.losses import Action


def test_an_exchange() -> None:
    client, provider = AskingSide("openai_chat", "claude-opus-4-8"), AskedSide("anthropic_messages")
    call, _ = client.asks(BY_NAME["seed"].request)
    seen = Offline("openai_chat").ask(call, provider, lambda request: provider.answers(request, HELLO))
    assert seen.received is not None and seen.received.path == "/v1/messages"
    assert Reported("seed", Action.DROPPED) in seen.reported
    assert seen.head.status == 200 and b"Hello, world." in seen.body


def test_a_refusal_asks_nobody() -> None:
    client, provider = AskingSide("openai_chat", "claude-opus-4-8"), AskedSide("anthropic_messages")
    call, _ = client.asks(BY_NAME["audio"].request)
    seen = Offline("openai_chat").ask(call, provider, lambda request: provider.answers(request, HELLO))
    assert seen.received is None and seen.head.status == 400 and b'"error"' in seen.body
