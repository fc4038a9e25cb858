from __future__ import annotations

from typing import Any

import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.exchange.attributes import NO_METADATA, Attributes
from extproc.exchange.incoming import FILTER, Incoming, read
from extproc.route import RouteError, compile_route

LEAF = ".filter_metadata['extproc']['route']"
ANNOTATION = "xds.route_metadata.filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']"
TEXT = "{provider: openai, auth: none}"


def attributes(values: dict[str, Any]) -> Attributes:
    message = ProcessingRequest()
    message.attributes[FILTER].update(values)
    return Attributes(read(message.SerializeToString()))


def test_a_message_without_attributes() -> None:
    found = Attributes(Incoming())
    assert found.attempt is None
    assert found.text("request.path") == ""


@pytest.mark.parametrize(("value", "attempt"), [(0.0, 0), (3.0, 3), ("2", 2)])
def test_the_attempt(value: Any, attempt: int) -> None:
    assert attributes({"upstream.request_attempt_count": value}).attempt == attempt


def test_levels_stand_in_their_order() -> None:
    found = attributes(
        {
            f"xds.upstream_host_metadata{LEAF}": "c",
            f"xds.route_metadata{LEAF}": "a",
            f"xds.cluster_metadata{LEAF}": "b",
        }
    )
    assert found.levels() == ["a", "b", "c"]


def test_a_level_may_be_silent_and_either_quote_will_do() -> None:
    double = LEAF.replace("'", '"')
    assert attributes({f"xds.cluster_metadata{double}": "b", "xds.route_name": "x"}).levels() == [None, "b", None]


def test_the_leaf_wins_over_the_annotation_and_that_over_all_of_the_metadata() -> None:
    whole = 'filter_metadata { key: "extproc" value { fields { key: "route" value { string_value: "w" } } } }'
    values = {"xds.route_metadata": whole, ANNOTATION: "annotation", f"xds.route_metadata{LEAF}": "leaf"}
    assert attributes(values).levels()[0] == "leaf"
    del values[f"xds.route_metadata{LEAF}"]
    assert attributes(values).levels()[0] == "annotation"
    del values[ANNOTATION]
    assert attributes(values).levels()[0] == "w"


STRUCT = (
    'filter_metadata {{ key: "extproc" value {{ fields {{ key: "{key}" value {{ struct_value {{ '
    'fields {{ key: "provider" value {{ string_value: "openai" }} }} '
    'fields {{ key: "auth" value {{ string_value: "none" }} }} }} }} }} }} }}'
)
FLAT = (
    'filter_metadata { key: "extproc" value { fields { key: "provider" value { string_value: "openai" } } '
    'fields { key: "auth" value { string_value: "none" } } '
    'fields { key: "options" value { struct_value { fields { key: "temperature" value { string_value: "0.5" } } '
    'fields { key: "max_tokens" value { number_value: 5 } } } } } } }'
)


@pytest.mark.parametrize("prefix", ["", "goo.gle/debugonly ", "goo.gle/debugproto   ", "\ngoo.gle/debugstr\t"])
@pytest.mark.parametrize("text", [STRUCT.format(key="route"), FLAT], ids=["under-route", "flat"])
def test_the_struct_form(prefix: str, text: str) -> None:
    levels = attributes({"xds.route_metadata": prefix + text}).levels()
    route = compile_route(levels)
    assert route.provider.name == "openai"
    if text is FLAT:
        assert route.options == {"temperature": 0.5, "max_tokens": 5}


def gateway(resources: str) -> str:
    fields = f'fields {{ key: "resources" value {{ {resources} }} }}'
    return f'filter_metadata {{ key: "envoy-gateway" value {{ {fields} }} }}'


def test_the_annotation_is_read_from_all_of_the_metadata() -> None:
    """Envoy Gateway's EnvoyExtensionPolicy (v1.9) takes no path below ``xds.route_metadata``."""
    annotation = f'key: "extproc" value {{ string_value: "{TEXT}\\n" }}'
    of_route = f'key: "annotations" value {{ struct_value {{ fields {{ {annotation} }} }} }}'
    text = gateway(f"list_value {{ values {{ struct_value {{ fields {{ {of_route} }} }} }} }}")
    assert attributes({"xds.route_metadata": text}).levels() == [f"{TEXT}\n", None, None]
    assert attributes({"xds.route_metadata": text}).is_annotated


@pytest.mark.parametrize("resources", ["list_value { }", "list_value { values { struct_value { } } }"])
def test_a_route_without_the_annotation(resources: str) -> None:
    with pytest.raises(RouteError, match="no route metadata"):
        attributes({"xds.route_metadata": gateway(resources)}).levels()


def test_other_namespaces_are_not_ours() -> None:
    other = 'filter_metadata { key: "other" value { fields { key: "route" value { string_value: "x" } } } }'
    with pytest.raises(RouteError) as raised:
        attributes({"xds.route_metadata": other}).levels()
    assert str(raised.value) == NO_METADATA


def test_metadata_that_cannot_be_read_says_how_to_ask_for_it() -> None:
    with pytest.raises(RouteError, match=r"endpoint: .*xds\.upstream_host_metadata\.filter_metadata"):
        attributes({"xds.upstream_host_metadata": "filter_metadata {"}).levels()


def test_a_mapping_where_a_string_should_be() -> None:
    with pytest.raises(RouteError, match=r"cluster: .*one string"):
        attributes({f"xds.cluster_metadata{LEAF}": "CelMap value"}).levels()


def test_a_mapping_is_read_from_all_of_the_metadata_if_that_came_too() -> None:
    values = {f"xds.route_metadata{LEAF}": "CelMap value", "xds.route_metadata": STRUCT.format(key="route")}
    assert attributes(values).levels()[0] == {"provider": "openai", "auth": "none"}


def test_no_metadata_at_all() -> None:
    with pytest.raises(RouteError, match="no route metadata came"):
        attributes({"request.path": "/v1/messages"}).levels()


def test_whose_text_it_is() -> None:
    assert attributes({ANNOTATION: TEXT}).is_annotated
    assert not attributes({f"xds.route_metadata{LEAF}": TEXT}).is_annotated
    assert not attributes({"xds.route_metadata": FLAT}).is_annotated and not attributes({}).is_annotated
