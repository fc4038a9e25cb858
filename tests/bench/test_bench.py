"""The benchmark runs and has no figure for what is wrong; the page is what its results say. No timing is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.processes import envoy_binary
from extproc.exchange.outgoing import delayed
from extproc.reference import config
from extproc.server.h2 import frames
from extproc.server.h2.messages import prefixed

BENCH = Path(__file__).parent.parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import aigw  # noqa: E402
import envoys  # noqa: E402
import held  # noqa: E402
import hotspots  # noqa: E402
import payloads  # noqa: E402
import peers  # noqa: E402
import plots  # noqa: E402
import record  # noqa: E402
import replay  # noqa: E402
import report  # noqa: E402
import sidecar  # noqa: E402
from load import Generator, Spec  # noqa: E402
from machine import Wrong  # noqa: E402
from rig import TWO_STREAMS, Rig  # noqa: E402
from targets import judged  # noqa: E402

TO = payloads.TO_OPENAI
pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


@pytest.fixture(scope="module")
def scripts(rig: Rig) -> dict[str, record.Script]:
    return record.record(rig, TO, sidecar.bodies(TO, large=False))


def spec(rig: Rig, model: str, **more: Any) -> Spec:
    body = rig.folder() / "body"
    body.write_bytes(payloads.chat(TO.upstream, model, stream="whole" not in model))
    complete = payloads.complete(TO.upstream, "whole" not in model).decode()
    return Spec(rig.provider().port, TO.upstream, str(body), complete, seconds=0.3, **more)


# ---- the load generator and the mock provider


@pytest.mark.parametrize("model", ["gpt-whole", "gpt-burst-20"])
def test_the_generator_counts_whole_answers(rig: Rig, model: str) -> None:
    figures = Generator(spec(rig, model, connections=2)).result()
    assert figures["exchanges"] > 0
    assert ("first_p50_ms" in figures) == ("burst" in model)


def test_paced_streams_keep_their_pace(rig: Rig) -> None:
    figures = Generator(spec(rig, "gpt-paced-500x50", connections=3, rate=50.0)).result()
    assert 0 < figures["events"] < 100


def test_a_status_other_than_200_is_no_figure(rig: Rig) -> None:
    with pytest.raises(Wrong, match="500 Internal"):
        Generator(spec(rig, "gpt-broken")).result()


def test_an_answer_that_is_not_whole_is_no_figure(rig: Rig) -> None:
    told = spec(rig, "gpt-whole")
    with pytest.raises(Wrong, match="not whole"):
        Generator(Spec(**{**told.__dict__, "complete": "another end"})).result()


def test_a_stream_that_ends_early_is_no_figure(rig: Rig) -> None:
    with pytest.raises(Wrong):
        Generator(spec(rig, "gpt-broken", rate=50.0)).result()


# ---- the recording and its replay


WHOLE = ["request_headers", "request_body", "response_headers", "response_body"]


def test_a_recording_is_what_envoy_sends(rig: Rig, scripts: dict[str, record.Script]) -> None:
    assert [step.name for step in scripts["1 KB chat"].steps(0) if step.name] == WHOLE
    body = {"1 KB chat": payloads.chat(TO.client, "gpt-whole")}
    names = [(step.slot, step.name) for step in record.record(rig, TO, body, TWO_STREAMS)["1 KB chat"].steps(0)]
    router, translator = ([name for slot, name in names if slot == number and name] for number in (0, 1))
    assert router == ["request_headers", "request_body", "response_headers"]
    assert translator == WHOLE
    assert len(scripts["stream"].steps(50)) == len(scripts["stream"].steps(0)) + 50


@pytest.mark.parametrize("transport", ["h2", "grpcio"])
@pytest.mark.rows("F13")
def test_a_recording_can_be_replayed(rig: Rig, scripts: dict[str, record.Script], transport: str) -> None:
    server = rig.sidecar(transport)
    with sidecar.connected(server) as client:
        assert replay.closed(client, scripts["1 KB chat"].steps(0), 4, exchanges=10)[0] == 10
        assert replay.closed(client, scripts["stream"].steps(20), 4, exchanges=5)[0] == 5
    row = held.paced(server, scripts["stream"], 5, 0.3)
    assert row["streams"] == 5 and row["delay_p99_ms"] > 0
    server.stop()


def test_what_each_message_takes_is_told_by_the_sidecar_itself(rig: Rig, scripts: dict[str, record.Script]) -> None:
    took = hotspots.spent(rig, scripts["1 KB chat"].steps(0), rounds=1, seconds=0.2)
    assert set(took) == set(report.MESSAGES) and all(0 < us < 1_000_000 for us in took.values())


def test_what_hangs_is_beside_the_streams(rig: Rig, scripts: dict[str, record.Script]) -> None:
    found = {"chat": scripts["1 KB chat"], "stream": scripts["stream"]}
    row = held.beside_hanging(rig, found, "h2", 0.3, 5, 3)
    ((way, streams, hanging, *delays),) = report.of_hanging({"beside_hanging": [row]})[1]
    assert way.startswith("the sidecar alone, h2") and (streams, hanging) == ("5", "3") and len(delays) == 6
    assert row["delay_p99_ms_with"] > 0


def test_what_asks_for_patience_is_no_answer() -> None:
    said = b"".join(prefixed(answer) for answer in (delayed(30.0).encoded(), b"\x0a\x00", b"\x1a\x00"))
    assert record._tags([(frames.DATA, 0, 1, said)]) == {1: [0x0A, 0x1A]}
    client = replay.Client.__new__(replay.Client)
    exchange = replay.Exchange([record.Step(0, (), 0x0A, False, "request_headers")], 0.0)
    client._advance(exchange, 0, record.DELAYED)
    assert exchange.at == 0
    with pytest.raises(Wrong, match="first byte 0x1a"):
        client._advance(exchange, 0, 0x1A)


def test_an_answer_of_another_kind_is_no_figure(rig: Rig, scripts: dict[str, record.Script]) -> None:
    """A sidecar without the key refuses: an immediate response in the place of the body's."""
    server = rig.sidecar("h2", environ={"OPENAI_API_KEY": ""})
    with sidecar.connected(server) as client, pytest.raises(Wrong, match="first byte"):
        replay.closed(client, scripts["1 KB chat"].steps(0), 1, exchanges=1)
    server.stop()


# ---- through Envoy


def test_requests_go_through_envoy_in_both_ways(rig: Rig) -> None:
    through = envoys.ways(rig, ["h2"])
    names = ["no-op h2, two streams", "no-op h2, translator only", "full h2", "full h2, two streams"]
    assert [way.name for way in through] == ["direct", "Envoy alone", *names, "full h2, translator only"]
    asked = [envoys.scenarios()[0], envoys.scenarios()[3]]
    rows = envoys.requests(rig, through, asked, rounds=1, seconds=0.2, say=lambda text: None)
    assert len(rows) == len(through) * len(asked)
    assert all(row["per_second"] > 0 for row in rows)
    broken = envoys.Scenario("broken", payloads.chat(TO.client, "gpt-broken"))
    with pytest.raises(Wrong, match=r"full h2: wrong: .*500"):
        envoys.requests(rig, through[-3:-2], [broken], rounds=1, seconds=0.2, say=lambda text: None)


# ---- beside Envoy AI Gateway


def test_envoy_takes_the_filters_of_the_other_gateway(tmp_path: Path) -> None:
    to = ("127.0.0.1", 1)
    upstreams = {"api.openai.com": to, "api.anthropic.com": to}
    made = aigw.layout(config.rewrite(config.reference(), sidecar="/run/aigw.sock", upstreams=upstreams))
    file = config.write(made, tmp_path / "envoy.json")
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    names = {item["name"] for item in made["static_resources"]["clusters"]}
    assert names == {"openai", "anthropic", "extproc"}


PROGRAM = """#!/bin/sh
echo 'error: config version mismatch: expected "v9.8.7", got "".' >&2
exit 1
"""


def test_the_other_gateway_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "extproc"
    program.write_text(PROGRAM)
    monkeypatch.setenv(aigw.VARIABLE, str(program))
    with pytest.raises(Wrong, match="is no program"):
        aigw.binary()
    program.chmod(0o755)
    found = aigw.binary()
    assert found is not None and aigw.version(found, tmp_path) == "v9.8.7"
    assert aigw.filter_config("v9.8.7")["version"] == "v9.8.7"
    program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(Wrong, match="does not say its version"):
        aigw.version(found, tmp_path)
    monkeypatch.delenv(aigw.VARIABLE)
    assert aigw.binary() is None


def test_its_tables_say_what_ours_costs_of_its_own() -> None:
    def row(way: str, envoy_us: float, **more: Any) -> dict[str, Any]:
        figures = {
            f"{name}{end}": 1.0 for name in ("per_second", "p50_ms", "p99_ms") for end in ("", "_least", "_most")
        }
        return {"scenario": "1 KB chat", "way": way, "envoy_us": envoy_us, **figures, **more}

    def paced(way: str, us: float) -> dict[str, Any]:
        more = {"envoy_us_per_event": 1.0, "added_p50_ms": 0.1, "added_p99_ms": 0.2}
        return {"way": way, "streams": 64, "sidecar_us_per_event": us, **more}

    requests = [row("full h2", 60.0, sidecar_us=40.0), row(aigw.NAME, 100.0, sidecar_us=100.0)]
    events = [paced("full h2", 20.0), paced(aigw.NAME, 80.0), {"way": "full h2", "streams": 250, "failed": "late"}]
    results = {"aigw": {"requests": requests, "paced": events, "rss_kb": {"full h2": 2048}}}
    assert [cells[-2:] for cells in report.of_aigw(results)[1]] == [["0.50", "2.00"], ["1.00", "-"]]
    assert [cells[-1] for cells in report.of_aigw_paced(results)[1]] == ["0.25", "1.00", "-"]
    requests += [row("Envoy alone", 10.0), row("no-op h2, translator only", 40.0, sidecar_us=20.0)]
    spent = {"request_headers": 1.0, "request_body": 20.0, "response_headers": 2.0, "response_body": 10.0}
    profile = report.of_spent({**results, "spent": {"1 KB chat": spent}})[1]
    assert [cells[1:] for cells in profile] == [
        ["no-op h2, translator only", "10.0", "30.0", "20.0", *["-"] * 5, "60.0", "0.30"],
        ["full h2", "10.0", "50.0", "40.0", "7.00", "1.00", "20.0", "2.00", "10.0", "100", "0.50"],
        [aigw.NAME, "10.0", "90.0", "100", *["-"] * 5, "200", "1.00"],
    ]
    assert report.of_aigw({})[1] == report.of_spent({})[1] == [] and report.of_the_machine_then({}) == "(not measured)"


# ---- the report


def test_the_page_is_what_the_results_say() -> None:
    command = [sys.executable, str(BENCH / "report.py"), "--check"]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


def test_the_report_follows_the_results() -> None:
    results = json.loads(report.RESULTS.read_text("utf-8"))
    results["machine"]["cpu"] = "another machine"
    assert "another machine" in report.written(results)[report.PAGE]


@pytest.mark.rows("F13")
def test_targets_are_judged_not_assumed() -> None:
    assert {each.verdict for each in judged({})} == {"-"}

    def verdict(us: float) -> str:
        rows = [{"case": "stream event", "transport": "h2", "cpu_us": us}]
        return next(each.verdict for each in judged({"sidecar": rows}) if "per stream event" in each.name)

    assert (verdict(19.9), verdict(20.1)) == ("yes", "**no**")


def test_what_is_said_against_another_gateway_is_a_ratio_of_one_run() -> None:
    def row(way: str, us: float, per_second: float) -> dict[str, object]:
        return {"scenario": "1 KB chat", "way": way, "envoy_us": us, "sidecar_us": us, "per_second": per_second}

    def verdicts(us: float, per_second: float) -> list[str]:
        rows = [row("full h2", us, per_second), row("Envoy AI Gateway", 100, 1000)]
        paced = [
            {"way": way, "streams": 64, "sidecar_us_per_event": cost}
            for way, cost in (("full h2", us), ("Envoy AI Gateway", 100.0))
        ]
        found = judged({"aigw": {"requests": rows, "paced": paced}})
        return [each.verdict for each in found if "Envoy AI Gateway" in each.name and each.verdict != "-"]

    assert verdicts(30, 2000) == ["yes", "yes", "yes"]
    assert verdicts(70, 1000) == ["**no**", "**no**", "**no**"]


def test_each_way_of_ours_has_a_row_beside_other_gateways() -> None:
    seen = {(name, "there"): [{"per_second": 10.0, "p50_ms": 1.0}] for name in ("h2", "h2, two streams", "LiteLLM")}
    rows = [peers.row_of(name, "there", seen, {"LiteLLM": 1024}) for name, _ in seen]
    assert [row.get("ratio") for row in rows] == [None, None, 1.0]


def test_streams_above_a_number_that_did_not_hold_do_not_count() -> None:
    rows = [{"streams": streams, "holds": streams != 500} for streams in (64, 250, 500, 1000)]
    assert held.most(rows) == 250


def test_plots_are_well_formed() -> None:
    from xml.etree import ElementTree

    for svg in (
        plots.lines("a & b", "x", "y", {"one": [(1, 0.5), (10, 50)]}, ("5 ms", 5)),
        plots.bars("c < d", [("one", 10.0), ("two", 5.0)], "/s"),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
