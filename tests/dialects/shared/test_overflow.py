"""Sentences of vendors, as they were seen."""

from __future__ import annotations

import pytest

from extproc.dialects.shared.overflow import Overflow, read_overflow

PROMPT = [
    "request (40000 tokens) exceeds the available context size (32768 tokens), try increasing it",
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "The input (300000 tokens) is longer than the model's context length (262144 tokens).",
    "Prompt too long: 33000 tokens exceeds max context window of 32768 tokens",
    "prompt too long; exceeded max context length by 10 tokens",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]",
    "invalid params, context window exceeds limit (2013)",
    "prompt token count of 74000 exceeds the limit of 72000",
    "Input is too long for requested model.",
    "prompt of 140000 tokens exceeds 131072",
    "prompt is too long: 215000 tokens > 200000 maximum",
    "messages: prompt is too long: 215000 tokens > 200000 maximum",
    "This model's maximum context length is 32768 tokens. However, your request has 40000 input tokens. Please reduce"
    " the length of the input messages.",
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "The prompt is too long: 270000, model maximum context length: 262143",
    "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
    "Prompt exceeds max length",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    "too many tokens: total number of tokens in the prompt cannot exceed 128000",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length"
    " of only 4096 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter"
    " input",
    "The decoder prompt (length 40961) is longer than the maximum model length of 40960. Make sure that `max_model_len`"
    " is no smaller than the number of text tokens.",
    "Unable to submit request because the input token count is 1100000 but model only supports up to 1048576. Reduce the"
    " input token count and try again.",
    "Please reduce the length of the messages or completion.",
    "Total tokens of image and text exceed max message tokens. Request id: 0217",
    "The sum of prompt length (3000.0), query length (0) should not exceed max_num_tokens (2048)",
    "You passed 5000 input tokens and requested 0 output tokens. However, the model's context length is only 4096 tokens",
    "Your request's token count 140000 exceeded the maximum of 128000",
    "The messages resulted in 140000 tokens, max is 128000",
    "the number of tokens in your request (150000) exceeds the maximum allowed (131072)",
    "tokens in prompt (150000) exceed model context (128000)",
    "input text is too long",
    "Your messages are too long",
    "the max input characters is 20000",
    "输入长度超过模型最大长度限制",
    "Prompt 超长",
    "Sequence length 9000 exceeds max position embeddings",
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens (139000 of text"
    " input, 500 of image input, 500 in the output).",
    "Please reduce the length of the messages or completion. Current length is 20000 while limit is 8192",
    "Context size has been exceeded.",
    "Invalid request: total message size 2177340 exceeds limit 2097152",
    "The total number of tokens (150000) exceeds the model limit of 128000",
    "prompt (9000 tokens) exceeds n_ctx (8192)",
    "Input token length too long",
    "Token limit exceeded: prompt has 9000 tokens, max is 8192",
    "tokens in request more than max tokens allowed",
    "input length 40000 exceeds the maximum length 32768",
    "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 42000"
    " tokens: 40000 tokens from the input messages and 2000 tokens for the completion.",
]
BOTH = [
    ("'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 32768 tokens"
     " and your request has 9000 input tokens (64000 > 32768 - 9000).", (9000, 64000, 32768)),
    ("This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (6000 in the messages,"
     " 64000 in the completion). Please reduce the length of the messages or completion.", (6000, 64000, 65536)),
    ("This endpoint's maximum context length is 200000 tokens. However, you requested about 230000 tokens (30000 of text"
     " input, 5000 of tool input, 195000 in the output).", (35000, 195000, 200000)),
    ("Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 41000"
     " tokens: 9000 tokens from the input messages and 32000 tokens for the completion.", (9000, 32000, 32768)),
    ("This model's maximum context length is 32768 tokens. However, you requested 32000 output tokens and your prompt"
     " contains at least 9000 input tokens, for a total of at least 41000 tokens.", (9000, 32000, 32768)),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens and 2000 `max_new_tokens`",
     (3000, 2000, 4096)),
    ("max_tokens (5000) + prompt tokens (3000) exceeds context window (4096)", (3000, 5000, 4096)),
    ("prompt (3000 tokens) plus max_tokens (5000) exceed the context window of 4096", (3000, 5000, 4096)),
    ("the total tokens 8000 (prompt 3000 + max_tokens 5000) exceed context length 4096", (3000, 5000, 4096)),
    ("This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens (30000 of text"
     " input, 500 of image input, 109500 in the output).", (30500, 109500, 131072)),
    ("input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000, decrease input length or"
     " `max_tokens` and try again", (190000, 64000, 200000)),
]  # fmt: skip
# ruff: noqa: E501
NEITHER = [
    "max_tokens: 300000 > 128000, which is the maximum allowed number of output tokens for claude-opus-4-8",
    "max_tokens is too large: 300000. This model supports at most 16384 completion tokens, whereas you provided 300000.",
    "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must"
    " be reduced in order to run successfully.",
    "Invalid 'messages[0].content': string too long. Expected a string with maximum length 1048576",
    "image too large", "Rate limit exceeded", "You exceeded your current quota, please check your plan",
    "quota gone", "Overloaded", "KV cache exhausted", "", "the model does not exist", "tools: Tool names must be unique",
    "temperature: range: 0..1", "messages.0: all messages must have non-empty content",
    "Request body too large", "This request would exceed the rate limit for your organization of 40,000 input tokens"
    " per minute", "invalid params, function name too long",
    "The value of max_tokens exceeds the maximum of 8192", "maximum output tokens exceeds max allowed 8192",
    "The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens value that is"
    " lower", "Too many tokens, please wait before trying again.", "stop sequences exceed the maximum of 4",
    "Invalid 'messages': array too long. Expected an array with maximum length 2048",
    "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum", "Reduce the size of the input image",
]  # fmt: skip


@pytest.mark.parametrize("message", PROMPT)
def test_a_prompt_that_is_too_long(message: str) -> None:
    found = read_overflow(message)
    assert found is not None and not found.prompt_fits
    assert read_overflow(f"litellm.BadRequestError: {message}") is not None


@pytest.mark.parametrize(("message", "counts"), BOTH)
def test_a_prompt_that_fits_but_not_with_the_answer(message: str, counts: tuple[int, int, int]) -> None:
    found = read_overflow(message)
    assert found == Overflow(*counts)
    assert found.prompt_fits


@pytest.mark.parametrize("message", NEITHER)
def test_what_is_something_else(message: str) -> None:
    assert read_overflow(message) is None


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error", "PROMPT_TOO_LONG",
                                  "model_max_prompt_tokens_exceeded", "context_window_exceeded", "tokens_limit_reached",
                                  "ContextWindowExceededError", "InvalidParameter.InputTooLong"])  # fmt: skip
def test_a_code_says_it_whatever_the_message_is(code: str) -> None:
    assert read_overflow("no", code) is not None
    assert read_overflow("no", "string_above_max_length") is None
