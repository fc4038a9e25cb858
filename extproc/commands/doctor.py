"""``extproc doctor``: is this gateway well, and what is to be written where it is not."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from ..wire import base_url
from .base import Command
from .launch import USUAL


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Asks a running gateway: whether it answers, its models, its clock, a short question to each model by OpenAI's "
        "and by Anthropic's API, whole and streamed (a few tokens each), and, where they are named, Envoy's admin "
        "interface and the sidecar's: what Envoy says about the sidecar, whether its configuration is right, and which "
        "version runs."
    )
    usual = os.environ.get("EXTPROC_URL") or USUAL
    where = f"left out: EXTPROC_URL, or {USUAL}"
    parser.add_argument("url", nargs="?", type=base_url, default=usual, metavar="URL", help=where)
    admin = "Envoy's admin interface, as http://127.0.0.1:9901"
    parser.add_argument("--admin", type=base_url, metavar="URL", help=admin)
    sidecar = "the sidecar's admin port, as 127.0.0.1:9902: its version and health; left out: EXTPROC_ADMIN"
    own = os.environ.get("EXTPROC_ADMIN") or None
    parser.add_argument("--sidecar", type=base_url, default=own, metavar="ADDRESS", help=sidecar)
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="left out: one of each owner")
    parser.add_argument("--no-requests", action="store_true", help="ask no model: costs nothing, says less")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(%(default)s)")
    parser.set_defaults(run=_doctor)


COMMAND = Command(
    "doctor",
    "ask a running gateway what is wrong with it",
    arguments,
    ["extproc doctor", "extproc doctor http://127.0.0.1:10000 --admin http://127.0.0.1:9901 --model gpt-5.4-mini"],
    ["0 nothing is wrong", "1 something is: each line says what to do", "2 wrong usage"],
)
_STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


def _doctor(args: argparse.Namespace) -> int:
    from ..demo.screen import Screen
    from ..doctor import Patient, examine
    from ..version import version

    patient = Patient(args.url, args.admin or "", list(args.model), not args.no_requests, args.sidecar or "")
    found = []
    said = ""
    screen = Screen(sys.stdout)
    if args.format == "text":
        screen.line(f"extproc {version()} asks {patient.url}", "dim")
    for looked in examine(patient):
        found.append(looked)
        if args.format == "text":
            screen.line(f"{looked.grade:<6}{looked.what}", _STYLES[looked.grade])
            if looked.then and looked.then != said:
                screen.line(f"      -> {looked.then}")
            said = looked.then
    if args.format == "json":
        print(json.dumps([asdict(looked) for looked in found], indent=2))
    return 1 if any(looked.grade == "wrong" for looked in found) else 0
