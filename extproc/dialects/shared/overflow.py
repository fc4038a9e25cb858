"""How vendors say that a request does not fit the context: agents act on it, each on the words of its own API.

Two things are told apart. The prompt alone is too long: an agent shortens its conversation. Or the prompt fits, but not
together with the tokens that may be answered: an agent asks for fewer of them. A ``max_tokens`` that is above what the
model can answer with is neither, and so is a limit of tokens a minute.

The words are read by kind, not by vendor; the sentences that they were taken from stand in the tests.
"""

from __future__ import annotations

import re
from typing import Final

from ...frozen import Frozen

CODE: Final = "context_length_exceeded"
"""OpenAI's code for both."""

_S = r"(?:[^.]|\.(?=\d))"
"""A character of a sentence; a point in a number ends none."""
_PROMPT: Final = r"(?:prompt|inputs?|context|conversation|messages?|sequence)"

_CODES: Final = re.compile(
    r"context_?(?:length|window|size|limit)_?exceeded|exceeds?_context_(?:length|window|size)"
    r"|model_max_prompt_tokens_exceeded|(?:prompt|input|context)_?too_?(?:long|large)|exceed_context_size_error"
    r"|tokens_limit_reached"
)
_NOT: Final = re.compile(
    r"per (?:min|minute|day|hour|second)\b|\btp[md]\b|rate.?limit|please wait|(?:string|array) too long|file size"
    r"|request body|\A(?!.*\btokens?\b).*(?:image|audio)",
    re.DOTALL,
)
"""A limit of another kind, whatever else is said. Those of images and sounds are told in bytes or pixels; where tokens
are counted, theirs are a part of the prompt's."""

_SAID: Final = re.compile(
    rf"\b{_PROMPT}(?: tokens?)?(?: text| length| size)?(?: is| are| was)? too (?:long|large)"
    r"|\btoo many (?:input |prompt )?tokens"
    rf"|\bmaximum context length{_S}{{0,30}} (?:is|of)\b"
    r"|\bmax(?:imum)? (?:prompt|input|sequence) (?:length|tokens|characters)\b"
    r"|\brange of input length\b"
    rf"|\bcontext (?:length|window|size){_S}{{0,40}}\b(?:exceed|overflow)"
    rf"|\b(?:exceed|overflow|longer than|larger than|greater than|too large for|beyond)\w*{_S}{{0,80}}"
    r"\bcontext (?:length|window|size|limit)"
    r"|\bcontext (?:length|window|size) (?:limit )?(?:exceeded|overflow)"
    r"|\bcontext (?:length|window|size)(?: of)?(?: is)? only \d|\bcontext the overflow|\bcontext overflow"
    rf"|\bexceed\w*{_S}{{0,40}}\bmodel(?:'s)? context\b"
    rf"|\b(?:prompt|input|(?<!stop )sequence){_S}{{0,60}}\b(?:exceed|longer than|larger than|greater than)\w*"
    rf"{_S}{{0,40}}\b(?:limit|max\w*|length|n_ctx)"
    r"|\btokens in (?:the )?request (?:is |are )?(?:more|greater|larger) than"
    rf"|\btoken limit exceeded{_S}{{0,40}}\b{_PROMPT}\b|\btotal message size \d+ exceeds limit"
    r"|\b(?:prompt|input) of \d[\d,]* tokens exceeds?\b"
    rf"|\b(?:prompt|input) token count (?:is|of) {_S}{{0,60}}\bsupports\b"
    rf"|\b(?:prompt|input) (?:has|contains) \d[\d,]* tokens{_S}{{0,40}}\bsupports\b"
    rf"|\bexceed\w*{_S}{{0,30}}\b(?:input|prompt) (?:length|tokens)\b"
    r"|\bexceeded model token limit|\binput tokens exceed"
    r"|(?<!output )(?<!completion )(?<!new )(?<!maximum )\btokens?(?: count| in (?:the|your) \w+)?"
    rf"{_S}{{0,40}}\bexceed\w*{_S}{{0,30}}\b"
    r"(?:max\w* (?:allowed|of|context|input|message|model|prompt|sequence)|available context|model(?:'s)? limit)"
    rf"|\bmessages resulted in \d{_S}{{0,20}}\btokens"
    r"|\breduce the (?:length|number|size) of (?:the |your )?(?:input |prompt )?(?:messages|prompt|input)\b"
    r"(?! (?:file|image))"
    r"|\bcurrent length is \d+ while limit is \d+"
    r"|\binput length and `?max_tokens`? exceed context limit"
    r"|`?inputs`? (?:tokens \+|must have less than)"
    r"|\btokens to keep from the initial prompt is greater"
    r"|\btotal number of tokens in the prompt cannot exceed"
    # Chinese: input, context, prompt; exceeds, over its length, too long.
    r"|(?:\u8f93\u5165|\u4e0a\u4e0b\u6587|\u63d0\u793a|prompt)[^\u3002]{0,24}"
    r"(?:\u8d85\u8fc7|\u8d85\u51fa|\u8d85\u957f|\u8fc7\u957f|\u592a\u957f)"
)

_N = r"(\d[\d,_]*)"
_MAX: Final = r"max_(?:completion_|new_|output_)?tokens"
_INPUT = (
    rf"{_N} input tokens", rf"{_N} (?:tokens )?(?:from|in) the (?:input )?(?:messages|prompt)", rf"> {_N} - ({_N})",
    rf"length and `?max_tokens`? exceed context limit: {_N} \+", rf"{_N} of text input", rf"{_N} `?inputs`? tokens",
    rf"prompt (?:contains|has|is)(?: at least)? {_N}", rf"prompt token count of {_N}",
    rf"(?<!maximum )(?<!max )\b(?:prompt|input)(?: tokens?| length| token count)? ?[(=:]* ?{_N}",
)  # fmt: skip
_OUTPUT = (
    rf"too large: {_N}", rf"{_N} (?:tokens )?(?:for|in) the (?:completion|output)",
    rf"{_N} (?:output|completion) tokens",
    rf"exceed context limit: \d+ \+ {_N} >", rf"{_N} `?max_new_tokens`?", rf"{_MAX}`? ?(?:of |[(=:]+)? ?{_N}",
)  # fmt: skip
_LIMIT = (
    rf"maximum context length (?:is|of) {_N}", rf"must be <= {_N}", rf"exceed context limit: \d+ \+ \d+ > {_N}",
    rf"context (?:length|window|size|limit)(?: is| of)?(?: only)? ?\(?{_N}", rf"> {_N} - ",
)  # fmt: skip


class Overflow(Frozen):
    """A request that does not fit; the counts as far as the message tells them."""

    input_tokens: int | None = None
    max_tokens: int | None = None
    limit: int | None = None

    @property
    def prompt_fits(self) -> bool:
        """Only the answer that may come does not fit behind it."""
        if self.input_tokens is None or self.max_tokens is None or self.limit is None:
            return False
        return self.input_tokens < self.limit < self.input_tokens + self.max_tokens


def read_overflow(message: str, code: str | None = None) -> Overflow | None:
    """What *message* and *code* of an error say; ``None`` if they say something else."""
    text = message.lower()
    named = code is not None and _CODES.search(code.lower()) is not None
    if not named and (_NOT.search(text) or not (_SAID.search(text) or _CODES.search(text))):
        return None
    parts = [_found((rf"{_N} of tool input",), text), _found((rf"{_N} of image input",), text)]
    input_tokens = _found(_INPUT, text)
    if input_tokens is not None:
        input_tokens += sum(part for part in parts if part is not None)
    return Overflow(input_tokens, _found(_OUTPUT, text), _found(_LIMIT, text))


def _found(patterns: tuple[str, ...], text: str) -> int | None:
    for pattern in patterns:
        found = re.search(pattern, text)
        if found is not None:
            digits = re.sub(r"\D", "", found[found.lastindex or 0])
            return int(digits[:15]) if digits else None
    return None
