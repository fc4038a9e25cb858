"""The shape of one level's metadata: what may stand in it, checked once, before the levels are laid over each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from ..capabilities import Capabilities
from ..costs import prices
from ..costs.counted import Cost
from ..headers import CREDENTIAL_HEADERS, HOP_BY_HOP, may_be_forwarded
from ..names import plain
from ..providers import CONF_NAMES, DIALECTS, PROVIDERS, STATEFUL, STATELESS
from .text import RouteError, choose, shown

ENVOY_OWNS = {
    "timeout": "the route's `timeout`, `retry_policy.per_try_timeout` and the cluster's `connect_timeout`",
    "max_stream_duration_ms": "the route's `max_stream_duration.max_stream_duration`",
    "keepalive": "the cluster's `common_http_protocol_options.max_requests_per_connection` (1: no keepalive)",
    "keepalive_timeout": "the cluster's `common_http_protocol_options.idle_timeout`",
    "keepalive_pool": "the cluster's `circuit_breakers.thresholds[].max_connections`",
    "ssl_verify": "the cluster's `transport_socket` (`validation_context` of its `UpstreamTlsContext`)",
    "balancer": "the cluster's `lb_policy` and the route's `hash_policy`",
    "instances": "the cluster's `load_assignment.endpoints[]`, each with metadata of its own",
    "weight": "the endpoint's `load_balancing_weight`",
    "priority": "the locality's `priority` in `load_assignment.endpoints[]`",
    "fallback_strategy": "the route's `retry_policy` (`retry_on`, `retry_priority` of kind previous_priorities)",
    "checks": "the cluster's `health_checks` and `outlier_detection`",
    "retries": "the route's `retry_policy.num_retries`",
    "max_retries": "the route's `retry_policy.num_retries`",
}
"""Attributes of ``ai-proxy`` and ``ai-proxy-multi`` whose matter is Envoy's, and the field to set there."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NOT_AUTH = HOP_BY_HOP | {"host", "content-length", "content-type", "content-encoding", "accept-encoding", "expect"}


def _dialect(value: Any) -> Any:
    """Hyphens do as well as underscores (D16)."""
    name = value.replace("-", "_") if isinstance(value, str) else value
    if name not in DIALECTS:
        raise ValueError(f"unknown dialect {shown(value)}{choose(name, DIALECTS)}")
    return name


def _provider(value: Any) -> Any:
    name = value.replace("_", "-") if isinstance(value, str) else value
    if not isinstance(name, str) or name not in PROVIDERS:
        raise ValueError(f"unknown provider {shown(value)}{choose(name, PROVIDERS)}")
    return name


def _text(value: Any) -> Any:
    """A number that was meant as a name, such as a project's."""
    return str(value) if type(value) is int else value


_AUTH_WAYS = ("header", "query", "gcp", "aws")


def _auth(value: Any) -> Any:
    if value == "none":
        return {"none": True}
    if not isinstance(value, dict):
        raise ValueError("expected `none` or a mapping with header, query, gcp or aws")
    if "none" in value:
        raise ValueError("unknown key 'none'; for no credential say `auth: none`")
    # `gcp: {}` and `aws: {}` say that the environment knows.
    named = value.get("header") or value.get("query") or "gcp" in value or "aws" in value
    if not named and not set(value).difference(_AUTH_WAYS):
        raise ValueError("names no credential; give header, query, gcp or aws, or `auth: none`")
    signs = [name for name in ("gcp", "aws") if name in value]
    if isinstance(header := value.get("header"), dict) and any(str(name).lower() == "authorization" for name in header):
        signs.append("header.authorization")
    if len(signs) > 1:
        raise ValueError(f"{' and '.join(signs)} would both set the header authorization; give one of them")
    return value


def _header_names(headers: dict[str, str]) -> dict[str, str]:
    seen = set()
    for name in headers:
        lower = name.lower()
        if not _TOKEN.match(name):
            raise ValueError(f"{shown(name)} is not a header's name")
        if lower in _NOT_AUTH or lower.startswith("x-extproc-"):
            raise ValueError(f"{name} is not a credential's header: it is set by the gateway or by Envoy")
        if lower in seen:
            raise ValueError(f"{name} is given twice: the case of a header's name says nothing")
        seen.add(lower)
    return headers


def split_endpoint(text: str) -> SplitResult:
    """*text* in its parts. Raises ValueError with what is wrong; the text may hold a key and is not repeated."""
    if any(ord(char) <= 0x20 or ord(char) >= 0x7F for char in text):
        raise ValueError("holds spaces, control or non-ASCII characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected https://host[:port][/path][?query], or http://")
    if port == 0:
        raise ValueError("its port must be between 1 and 65535")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials belong into auth, not into the endpoint")
    if parts.fragment:
        raise ValueError("a `#` has no place in it")
    return parts


def _endpoint(text: str) -> str:
    # References are resolved later, and then it is split again.
    if "${" not in text:
        split_endpoint(text)
    return text


def _quirks(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if name not in Capabilities.__struct_fields__:
            raise ValueError(f"unknown quirk {shown(name)}{choose(name, Capabilities.__struct_fields__)}")
    return value


def _conf(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name not in CONF_NAMES:
            raise ValueError(f"unknown key {shown(name)}{choose(name, sorted(CONF_NAMES))}")
    return value


def _prefix(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError("a prefix is empty or starts with `/`")
    return value.rstrip("/")


def _rooted(value: Any) -> Any:
    """``root`` laid before the prefix of every API, those that are not named included."""
    if not isinstance(value, dict) or "root" not in value:
        return value
    root, own = value["root"], {str(name).replace("-", "_"): prefix for name, prefix in value.items() if name != "root"}
    if not isinstance(root, str) or (root and not root.startswith("/")):
        raise ValueError("`root` is empty or starts with `/`")
    named = {**dict.fromkeys(DIALECTS, ""), **own}
    return {name: root.rstrip("/") + prefix if isinstance(prefix, str) else prefix for name, prefix in named.items()}


def _namespace(value: str) -> str:
    if not value or value == "extproc":
        raise ValueError("expected a namespace other than extproc, where the counts stand anyway")
    return value


def _pattern(value: str) -> str:
    """A name that goes on, or how such names begin, with a ``*`` behind it. A ``*`` alone would be no list."""
    name = plain(value)
    if len(name.rstrip("*")) < 2 or "*" in name[:-1]:
        raise ValueError(f"{shown(value)} is no name, and no beginning of names such as x-tenant-*")
    return name


def _forwarded_header(value: str) -> str:
    name = _pattern(value)
    if name in CREDENTIAL_HEADERS:
        raise ValueError(f"{name} is a credential: what the upstream is to have stands in auth")
    if not name.endswith("*") and not may_be_forwarded(name):
        raise ValueError(f"{name} is set by the gateway or by Envoy")
    return name


def _endpoints(value: Any) -> Any:
    return {"all": list(STATELESS + STATEFUL), "none": []}.get(value, value) if isinstance(value, str) else value


def _endpoint_name(value: Any) -> Any:
    if value not in STATELESS + STATEFUL:
        raise ValueError(f"unknown endpoint {shown(value)}{choose(value, STATELESS + STATEFUL)}, or say all or none")
    return value


_ENDPOINTS = {
    "anyOf": [{"enum": ["all", "none"]}, {"type": "array", "items": {"enum": [*STATELESS, *STATEFUL]}}],
}
EndpointName = Annotated[str, BeforeValidator(_endpoint_name)]
DialectName = Annotated[str, BeforeValidator(_dialect)]
Count = Annotated[int, Field(ge=1, le=2**53)]


def _about(text: str) -> Any:
    """What docs/configuration.md says of a member, and an editor that knows the schema of extproc.yaml."""
    return Field(description=text)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Gcp(_Part):
    """An access token of Google Cloud, for a service account's key (D8-D11)."""

    service_account_json: Annotated[str, _about("The key of a service account, as JSON.")] = "${GCP_SERVICE_ACCOUNT}"
    max_ttl: Annotated[Count, _about("How many seconds a token is used at most; left out: as long as it is good.")] = 1
    expire_early_secs: Annotated[
        int, Field(ge=0, le=2**53), _about("How many seconds before its end a token is renewed.")
    ] = 60


class Aws(_Part):
    """A signature of AWS. Without keys of its own: those of the profile, else of the environment, else of the default
    profile in the shared credentials file."""

    access_key_id: Annotated[str, _about("The id of the key.")] = ""
    secret_access_key: Annotated[str, _about("The key.")] = ""
    session_token: Annotated[str, _about("What goes with a key that is good for a while.")] = ""
    credentials_file: Annotated[str, _about("A file of profiles, in place of the shared one.")] = ""
    profile: Annotated[str, _about("The profile in that file.")] = ""
    region: Annotated[
        str,
        _about(
            "The region that is signed for; left out: `provider_conf.region`, else `AWS_REGION` or "
            "`AWS_DEFAULT_REGION` of the sidecar's environment."
        ),
    ] = ""
    service: Annotated[str, _about("The service that is signed for; left out: `bedrock`.")] = ""


class Auth(_Part):
    """How the upstream knows us. Values may refer to ``${ENV}`` and ``${file:/path}``."""

    none: Literal[True] | None = None
    gcp: Annotated[
        Gcp,
        _about(
            "`Authorization: Bearer` with an access token of Google Cloud, for a service account's key: "
            "see [credentials](providers.md#credentials)."
        ),
    ] = Gcp()
    aws: Annotated[
        Aws,
        _about(
            "A Signature Version 4 of the request as it is sent. Without keys of its own those of the "
            "profile, else of the environment, else of the default profile: see "
            "[credentials](providers.md#credentials)."
        ),
    ] = Aws()
    header: Annotated[
        dict[str, str],
        AfterValidator(_header_names),
        _about("Headers that the upstream gets, in place of the client's."),
    ] = {}
    query: Annotated[
        dict[str, str],
        _about("Parameters that the upstream gets, in place of the client's and of the endpoint's."),
    ] = {}


class LlmOptions(_Part):
    """Settings under one name, whatever the dialect calls them."""

    max_tokens: Annotated[
        Count, _about("A limit that always replaces the client's, whatever the upstream calls it.")
    ] = 1


class Override(_Part):
    endpoint: Annotated[
        str,
        AfterValidator(_endpoint),
        _about(
            "The upstream's URL, when it is not the provider's own; its path and query are used, the "
            "connection is Envoy's."
        ),
    ] = ""
    llm_options: Annotated[LlmOptions, _about("Settings under one name, whatever the upstream calls them.")] = (
        LlmOptions()
    )
    request_body: Annotated[
        dict[DialectName, dict[str, Any]],
        _about("Members to lay into the body, by the upstream's API; they fill what the client left out."),
    ] = {}
    request_body_force_override: Annotated[bool, _about("They also replace what the client said.")] = False


def _members(value: list[str]) -> list[str]:
    if any(not name or "." in name for name in value):
        raise ValueError("expected names of JSON members, without dots: one counts wherever it stands")
    return value


class Logging(_Part):
    """What the sidecar logs of each exchange (D18-D20): ``summaries``, models, times and counts; ``payloads``, the
    bodies on both sides; ``redact``, names of JSON members whose values never are. ``span_content``: a trace's span
    shows what was asked and answered."""

    summaries: Annotated[bool, _about("Models, times and counts.")] = False
    payloads: Annotated[bool, _about("The bodies as the client and as the provider saw them.")] = False
    span_content: Annotated[bool, _about("What was asked and answered, in the span of a trace.")] = False
    redact: Annotated[
        list[str], AfterValidator(_members), _about("Names of JSON members whose values are never logged.")
    ] = []


Variable = Literal[
    "request_type", "request_llm_model", "llm_model", "llm_time_to_first_token", "apisix_upstream_response_time",
    "llm_prompt_tokens", "llm_completion_tokens", "llm_total_tokens", "llm_cache_read_input_tokens",
    "llm_cache_creation_input_tokens", "llm_reasoning_tokens", "llm_stream", "llm_has_tool_calls", "llm_tool_count",
    "llm_end_user_id",
]  # fmt: skip
VARIABLES: tuple[str, ...] = get_args(Variable)
"""What an access log can show of an exchange by the names that APISIX's users know."""


def _variables(value: Any) -> Any:
    return list(VARIABLES) if value == "all" else value


def _cost(value: Any) -> Any:
    if not isinstance(value, (str, dict)):
        raise ValueError("expected the name of a count, an expression, or a mapping of weights")
    Cost(value)
    return value


def _prices(value: Any) -> Any:
    if isinstance(value, dict):
        try:
            prices.own(value)
        except prices.PriceError as error:
            raise ValueError(str(error).removeprefix("prices: ")) from None
    elif value != TABLE:
        raise ValueError(f"expected {TABLE}, or a mapping with {', '.join(prices.PRICED)}: USD for a million tokens")
    return value


TABLE = "table"
"""The prices of the table."""
_PRICES = {"anyOf": [{"const": TABLE}, {"type": "object"}]}


COSTS_NAMESPACE = "io.envoy.ai_gateway"
"""Where ``metadata.costs`` go, if ``metadata.namespace`` does not say."""


class Metadata(_Part):
    """What else goes into Envoy's dynamic metadata. ``costs``: name there -> a count, or what it is computed by;
    ``variables``: of ``VARIABLES``, or the word ``all``."""

    namespace: Annotated[str, AfterValidator(_namespace), _about("The namespace that `costs` go to.")] = COSTS_NAMESPACE
    costs: Annotated[
        dict[str, Annotated[str | dict[str, Any], BeforeValidator(_cost)]],
        _about(
            "Names under which counts of tokens go there too, each with a count, or with how it is "
            "weighed or computed: see [costs](envoy.md#costs)."
        ),
    ] = {}
    variables: Annotated[
        list[Variable],
        BeforeValidator(_variables),
        _about(
            "What the access log can show by the names that APISIX's users know; `all` for all of them: "
            "see [what the access log can show](envoy.md#what-the-access-log-can-show)."
        ),
    ] = []


class Forward(_Part):
    """What of a client's request also goes to the upstream, by name or by a name's beginning, as ``x-tenant-*``."""

    headers: Annotated[
        list[Annotated[str, AfterValidator(_forwarded_header)]],
        _about("Names of headers, or how such names begin, as `x-tenant-*`. Known credentials never go on."),
    ] = []
    query: Annotated[
        list[Annotated[str, AfterValidator(_pattern)]],
        _about("Names of parameters, or how such names begin."),
    ] = []


class Level(_Part):
    """What one level (route, cluster or endpoint) says; what it leaves out it says nothing about."""

    provider: Annotated[
        str,
        BeforeValidator(_provider),
        _about("Who hosts; required, at some level. [providers.md](providers.md) has them all."),
    ] = ""
    provider_conf: Annotated[
        dict[str, Annotated[str, BeforeValidator(_text)]],
        AfterValidator(_conf),
        _about(
            "What the provider's path is made of: `project_id`, `region`, `deployment`, `api_version`. "
            "See [providers.md](providers.md)."
        ),
    ] = {}
    client: Annotated[
        DialectName,
        _about(
            "The client's API; left out, it is told from the path (`/v1/chat/completions`, "
            "`/v1/messages`, `/v1/responses`)."
        ),
    ] = ""
    upstream: Annotated[
        DialectName,
        _about(
            "Which of the provider's APIs; left out, the client's own if the provider speaks it, else the "
            "provider's first."
        ),
    ] = ""
    auth: Annotated[
        Auth,
        BeforeValidator(_auth),
        _about(
            "How the upstream knows us, with `${VARIABLE}` or `${file:/path}` for secrets; `none` when "
            "Envoy adds the credential. Never merged between levels."
        ),
    ] = Auth()
    options: Annotated[
        dict[str, Any],
        _about("Members of the upstream's body, in place of the client's; `model` is the model that is asked for."),
    ] = {}
    override: Annotated[Override, _about("What is said in place of the provider's or the client's.")] = Override()
    losses: Annotated[
        Literal["allow", "report", "reject"], _about("What becomes of losses: see [losses.md](losses.md).")
    ] = "allow"
    quirks: Annotated[
        dict[str, Any],
        AfterValidator(_quirks),
        _about("What this server cannot do, by the names of [models.md](models.md#what-can-be-said-of-a-model)."),
    ] = {}
    max_request_bytes: Annotated[
        Count,
        _about("The largest body of a request on this route (413 beyond it); left out: as the sidecar's setting says."),
    ] = 1
    max_response_bytes: Annotated[
        Count,
        _about(
            "The largest answer on this route, by its announced length or counted as it comes: see "
            "[errors](envoy.md#errors)."
        ),
    ] = 1
    prefixes: Annotated[
        dict[DialectName, Annotated[str, AfterValidator(_prefix)]],
        BeforeValidator(_rooted),
        _about(
            "By the client's API, behind which prefix alone it is recognised on this host, empty for "
            'none: `{anthropic_messages: /anthropic, openai_chat: ""}` takes `/anthropic/v1/messages` and '
            "`/v1/chat/completions`, and answers 404 to both elsewhere. An API that is not named is "
            "recognised behind any prefix; `root` stands before all of them, `{root: /llm, "
            "anthropic_messages: /anthropic}` serves `/llm/v1/chat/completions` and "
            "`/llm/anthropic/v1/messages`, as `rootPrefix` of Envoy AI Gateway does. The router role "
            "reads them from the route that Envoy matched before the model was known, such as the last "
            "one of `deploy/envoy.yaml`."
        ),
    ] = {}
    other_paths: Annotated[
        Literal["pass", "refuse"],
        _about(
            "What becomes of requests that are no LLM API's on a listener with the router role: `pass` "
            "lets them go where Envoy's routes lead, `refuse` answers 404. Read where `prefixes` is."
        ),
    ] = "pass"
    forward: Annotated[
        Forward,
        _about(
            "What of a client's request also goes to the upstream: see [what goes to a "
            "provider](envoy.md#what-goes-to-a-provider)."
        ),
    ] = Forward()
    policies: Annotated[
        list[dict[str, Any]],
        _about(
            "What looks at requests and answers, in this order, whatever APIs they speak; each a mapping "
            'of one name to its members: `[{tool_filter: {deny: ["run_*"]}}]`. [policies.md](policies.md) '
            "has them all."
        ),
    ] = []
    usage: Annotated[
        Literal["always", "asked"],
        _about(
            "`always`: a stream of the Chat API whose client did not ask for its counts is asked for them "
            "upstream, for the log, the metrics and limits on tokens, and the chunk that holds them is "
            "not shown to that client; `asked`: only who asks has counts. A client's own "
            "`stream_options.include_usage`, true or false, stays."
        ),
    ] = "always"
    duration: Annotated[
        Literal["never", "asked", "always"],
        _about(
            "Whether the head of a client's answer says in `x-extproc-duration` what the sidecar took, in "
            "milliseconds: `asked` where the request has a header of that name, whatever its value. It is "
            "the time in which the sidecar had the messages of this exchange in hand until it wrote that "
            "head: request and head of a stream, request and body of a whole answer; not what Envoy, the "
            "network or a service asked by a policy took. With failover it is that of the attempt that "
            "answered. An upstream never sees the header, and its own never reaches a client."
        ),
    ] = "never"
    endpoints: Annotated[
        list[EndpointName],
        BeforeValidator(_endpoints),
        WithJsonSchema(_ENDPOINTS),
        _about(
            "Which of the provider's other endpoints clients may use; left out: those that keep nothing there. See "
            "[everything else of an API](providers.md#everything-else-of-an-api)."
        ),
    ] = []
    logging: Annotated[
        Logging,
        _about(
            "What the sidecar itself logs of each exchange, where its `--records` say where to. See "
            "[observability.md](observability.md)."
        ),
    ] = Logging()
    metadata: Annotated[Metadata, _about("What else goes into Envoy's dynamic metadata.")] = Metadata()
    prices: Annotated[
        Any,
        BeforeValidator(_prices),
        WithJsonSchema(_PRICES),
        _about(
            "By which an exchange's cost in USD is told: `table`, or prices of the route's own, USD for a "
            "million tokens. See [costs](envoy.md#costs)."
        ),
    ] = TABLE


_PARTS: dict[tuple[str, ...], type[_Part]] = {
    (): Level,
    ("auth",): Auth,
    ("auth", "gcp"): Gcp,
    ("auth", "aws"): Aws,
    ("override",): Override,
    ("override", "llm_options"): LlmOptions,
    ("forward",): Forward,
    ("logging",): Logging,
    ("metadata",): Metadata,
}
_EXPECTED = {
    "string_type": "expected text (quote it)",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "model_type": "expected a mapping",
}
_MAX_PROBLEMS = 3


def checked(values: dict[str, Any], level: str) -> dict[str, Any]:
    """*values* as ``Level`` understands them, only those that were given. Raises RouteError."""
    try:
        return Level.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        problems = list(dict.fromkeys(_problems(error, level)))
    more = len(problems) - _MAX_PROBLEMS
    text = "; ".join(problems[:_MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
    raise RouteError(text)


def _problems(error: ValidationError, level: str) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        where = tuple(str(part) for part in item["loc"])
        if where[-1:] == ("[key]",) and item["type"] != "extra_forbidden":
            where = where[:-1]
        context = item.get("ctx", {})
        path = f"{level}: {'.'.join(where)[:120]}"
        match item["type"]:
            case "extra_forbidden":
                yield f"{level}: {_unknown(where)}"
            case "value_error":
                yield f"{path}: {context['error']}"
            case "literal_error":
                yield f"{path}: choose one of: {context['expected'].replace(chr(39), '').replace(' or ', ', ')}"
            case "greater_than_equal":
                yield f"{path}: expected at least {context['ge']}"
            case other:
                yield f"{path}: {_EXPECTED.get(other, 'expected a value of another kind')}"


def _unknown(where: tuple[str, ...]) -> str:
    """What to say about a key that no one knows."""
    *parents, name = where
    if not parents and (field := ENVOY_OWNS.get(name)):
        return f"{name}: this is Envoy's; set {field}"
    part = _PARTS.get(tuple(parents), Level)
    known = [field for field in part.model_fields if field != "none"]
    prefix = "".join(f"{parent}." for parent in parents)
    return f"unknown key {shown(prefix + name)}{choose(name, known)}"
