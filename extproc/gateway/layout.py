"""A gateway's file as routes and clusters. A model with one provider is translated by the listener's own stream; one
with several by a filter of its cluster, for each attempt anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..headers import MODEL_HEADER, ROUTE_HEADER
from ..providers import PROVIDERS
from ..reference import config as reference
from ..route import RouteError
from ..route.merge import merge
from ..route.model import checked, split_endpoint
from ..route.text import choose, shown
from ..route.text import read as read_text
from .envoy import Destination, Made, Wanted, endpoint_parts, manager_of, matching, metadata, written
from .file import FileError, GatewayFile, NamedModel, NamedProvider, said
from .known import OPERATIONS, KnownProvider, base_path, known

RETRIED = [429, 500, 502, 503, 504]
"""Answers after which the next provider of a list is asked."""
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Place:
    """Where a model goes: a provider of the file, and its name there, empty for the name that the client said."""

    provider: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.model else self.provider


@dataclass(frozen=True)
class Layout:
    """What the file comes to."""

    config: dict[str, Any]
    """A bootstrap for Envoy, with the addresses of the reference configuration but for the listener's."""
    listen: tuple[str, int]
    models: dict[str, list[Place]]
    """Every name and pattern, the most particular first as far as the file has it so."""
    secrets: list[str]
    """The environment variables, and files by their paths, that routes name."""
    samples: dict[str, str]
    """A provider of the file -> a name by which a client reaches a model of its."""
    routes: dict[str, dict[str, Any]]
    """By name, all that the sidecar is told of each destination."""

    @property
    def hosts(self) -> set[str]:
        """Whom Envoy connects to."""
        clusters = self.config["static_resources"]["clusters"][:-1]
        places = [place for cluster in clusters for place in cluster["load_assignment"]["endpoints"]]
        ends = [end["endpoint"]["address"]["socket_address"] for place in places for end in place["lb_endpoints"]]
        return {end["address"] for end in ends}

    def yaml(self, maker: str) -> str:
        """The bootstrap as a file."""
        serve = f"extproc serve --secrets '{','.join(self.secrets)}'" if self.secrets else "extproc serve"
        return written(self.config, maker, [f"start the sidecar beside it, with the keys in its environment: {serve}"])


def lay_out(file: GatewayFile, where: str = "extproc.yaml") -> Layout:
    """Raises FileError, which begins with *where*."""
    return _Plan(file, where).layout()


@dataclass
class _Host:
    """A provider, ready to be a destination."""

    host: str
    port: int
    tls: bool
    level: dict[str, Any]


@dataclass
class _Plan:
    file: GatewayFile
    where: str
    made: Made = field(default_factory=Made)
    alone: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The routes that the listener's stream translates, by their names: what each says beyond its provider."""
    common: dict[str, Any] = field(default_factory=dict)
    places: dict[str, _Host] = field(default_factory=dict)
    models: dict[str, NamedModel] = field(default_factory=dict)

    def layout(self) -> Layout:
        file = self.file
        if not file.providers:
            raise FileError(f"{self.where}: providers: none is named, and none was found")
        self.common = {"losses": "report", **said(file)}
        self.places = {name: self.place(name, entry) for name, entry in file.providers.items()}
        models = self.models = file.models or self.by_names()
        resolved = {name: self.resolve(name) for name in models}
        lines = {name: self.line(name, model, resolved[name]) for name, model in models.items()}
        self.made.models = lines
        self.made.wanted.sort(key=lambda wanted: wanted.placement != "named")
        host, _, port = file.listen.rpartition(":")
        listen = (host.strip("[]"), int(port))
        config = self.made.config()
        address = {"socket_address": {"address": listen[0], "port_value": listen[1]}}
        config["static_resources"]["listeners"][0]["address"] = address
        self.unknown(config)
        routes = dict(self.routes())
        named = sorted({name for level in routes.values() for name in _references(level)})
        return Layout(config, listen, resolved, named, dict(self.samples(resolved)), routes)

    def routes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for wanted in self.made.wanted:
            for number, target in enumerate(wanted.targets):
                yield (wanted.name if len(wanted.targets) == 1 else f"{wanted.name}[{number}]"), target.level

    def unknown(self, config: dict[str, Any]) -> None:
        """What the sidecar is told before it knows a request's model."""
        says = {key: value for key, value in self.common.items() if key in ("losses", "prefixes", "other_paths")}
        for host in manager_of(config)["route_config"]["virtual_hosts"]:
            host["routes"][-1]["metadata"] = metadata(says)

    # ---- providers

    def place(self, name: str, entry: NamedProvider) -> _Host:
        at = f"{self.where}: providers.{name}"
        row = PROVIDERS[entry.provider or name.replace("_", "-")]
        level = {"provider": row.name, **known(row.name).level, **said(entry)}
        level["auth"] = self.auth(row.name, entry, level)
        conf = level.get("provider_conf", {})
        host = row.host_for({name: value for name, value in conf.items() if "${" not in value})
        url = entry.url or level.get("override", {}).get("endpoint", "")
        if not url and (host is None or "{" in host):
            given = ", ".join(re.findall(r"\{(\w+)\}", row.regional_host or "")) if row.regional_host else ""
            needs = f"provider_conf: {{{given}: ...}}, or url" if given else "url, where it is served"
            raise FileError(f"{at}: needs {needs}")
        found = (host or "", 443, True)
        if url:
            found = endpoint_parts(url)
            if entry.url:
                level |= self.endpoint(row.name, entry.url, level)
        try:
            checked(level, at)
        except RouteError as error:
            raise FileError(str(error)) from None
        return _Host(*found, level)

    def auth(self, provider: str, entry: NamedProvider, level: dict[str, Any]) -> Any:
        """The credential: as given, else as the provider usually takes one."""
        if entry.auth.model_fields_set:
            return level["auth"]
        usual: Any = level.get("auth")
        if usual is None:
            text = PROVIDERS[provider].auth
            usual = checked({"auth": read_text(text, provider)}, provider)["auth"] if text != "none" else "none"
        if not entry.key:
            return usual
        if usual == "none":
            return {"header": {"Authorization": f"Bearer {entry.key}"}}
        return _each(usual, lambda value: _REFERENCE.sub(lambda _: entry.key, value))

    def endpoint(self, provider: str, url: str, level: dict[str, Any]) -> dict[str, Any]:
        """What a base *url* means for the route. With a path of its own it serves one API."""
        parts = split_endpoint(url)
        row = PROVIDERS[provider]
        dialect = level.get("upstream") or next(iter(row.dialects))
        operation = OPERATIONS.get(dialect, "")
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        usual = {
            base_path(provider, name) for name in row.dialects if name == dialect or not row.dialects[name].explicit
        }
        if dialect == "anthropic_messages":
            path = path.removesuffix("/v1")
        override = dict(level.get("override", {}))
        if (path in usual or not path or not operation) and not parts.query:
            return {"override": {**override, "endpoint": origin}}
        whole = path if path.endswith(operation) else path + operation
        query = f"?{parts.query}" if parts.query else ""
        return {"upstream": dialect, "override": {**override, "endpoint": f"{origin}{whole}{query}"}}

    # ---- models

    def by_names(self) -> dict[str, NamedModel]:
        """Where the file names no models: each provider's own by their names and behind its name, those that it was
        seen to have, and anything else to the first."""
        found: dict[str, list[str]] = {}
        providers = self.file.providers
        for name, entry in providers.items():
            sample = _known(name, entry).sample
            listed = entry.models or ([sample] if sample else [])
            found |= {model: [name] for model in listed if model not in found and "*" not in model}
        for name, entry in providers.items():
            found |= {pattern: [name] for pattern in _known(name, entry).patterns if pattern not in found}
        found |= {f"{name}/*": [f"{name}/*"] for name in providers}
        found["*"] = [next(iter(providers))]
        return {name: NamedModel(use=uses) for name, uses in found.items()}

    def resolve(self, name: str, seen: tuple[str, ...] = ()) -> list[Place]:
        """The places that the model *name* is asked for at, in order."""
        at = f"{self.where}: models.{name[:48]}"
        if name in seen:
            raise FileError(f"{at}: leads back to itself: {' -> '.join((*seen, name))}")
        found: list[Place] = []
        for use in self.models[name].use:
            provider, slash, rest = use.partition("/")
            if use not in self.places and use in self.models and use != name:
                found += self.resolve(use, (*seen, name))
            elif provider not in self.places or (slash and not rest):
                names = [*self.places, *(key for key in self.models if "*" not in key and key != name)]
                raise FileError(f"{at}: {shown(use)} is neither a provider nor a model{choose(provider, names)}")
            else:
                if "*" in rest and "*" not in name:
                    raise FileError(f"{at}: the `*` in {shown(use)} stands for nothing: the name has none")
                found.append(Place(provider, rest))
        return list(dict.fromkeys(found))

    def line(self, name: str, model: NamedModel, targets: list[Place]) -> dict[str, Any]:
        """The line of *name* in the list of models. Enters the route that it needs."""
        about = {key: getattr(model, key) for key in ("name", "owned_by", "created") if getattr(model, key)}
        about.setdefault("owned_by", targets[0].provider if len(targets) == 1 else "gateway")
        own = self.own(name)
        if len(targets) > 1:
            self.several(name, targets, own)
            return about
        (target,) = targets
        sent = {"model": target.model} if target.model and target.model != name else {}
        return {**sent, **about, "route": self.single(name, target, own)}

    def own(self, name: str) -> dict[str, Any]:
        """What is said of the model *name*, over what is said of the one that it is another name for."""
        model = self.models[name]
        (use, *more) = model.use
        alias = not more and use != name and use not in self.places and use in self.models
        return merge(self.own(use), said(model)) if alias else said(model)

    def level(self, target: Place, own: dict[str, Any]) -> dict[str, Any]:
        """All that is said of *target*: for all, over it of the provider, over that the model's *own*."""
        return merge(merge(self.common, self.places[target.provider].level), own)

    def single(self, name: str, target: Place, own: dict[str, Any]) -> str:
        """The name of the route by which the listener's stream translates for *target*. A model that wants something of
        its *own* has one of its own."""
        route = target.provider if not own else _as_name(f"{target.provider}.{name}")
        number = 1
        while self.alone.get(route, own) != own:
            number += 1
            route = f"{_as_name(f'{target.provider}.{name}')[:56]}_{number}"
        if route not in self.alone:
            self.alone[route] = own
            level = self.level(target, own)
            wanted = Wanted(route, [_matching(ROUTE_HEADER, {"exact": route})], [])
            wanted.targets = [self.destination(target, level)]
            wanted.alone("named")
            self.made.wanted.append(wanted)
        return route

    def several(self, name: str, targets: list[Place], own: dict[str, Any]) -> None:
        """A route of its own for *name*, whose cluster goes from one of *targets* to the next."""
        before, star, after = name.partition("*")
        pattern = {"safe_regex": {"regex": f"{re.escape(before)}.*{re.escape(after)}"}}
        wanted = Wanted(_as_name(f"model.{name}"), [_matching(MODEL_HEADER, pattern if star else {"exact": name})], [])
        for rank, target in enumerate(targets):
            if "*" in target.model:
                at = f"{self.where}: models.{name[:48]}"
                raise FileError(f"{at}: of several, each model is named in full: {target} is not")
            level = self.level(target, own)
            if target.model:
                level["options"] = {**level.get("options", {}), "model": target.model}
            wanted.targets.append(self.destination(target, level, rank))
        wanted.retries = len(targets) - 1
        wanted.codes = list(RETRIED)
        failover = reference.cluster("any_provider")
        wanted.cluster = {key: failover[key] for key in ("outlier_detection", "common_lb_config")}
        self.made.wanted.append(wanted)

    def destination(self, target: Place, level: dict[str, Any], rank: int = 0) -> Destination:
        place = self.places[target.provider]
        return Destination(place.host, place.port, place.tls, level, priority=rank)

    def samples(self, resolved: dict[str, list[Place]]) -> Iterator[tuple[str, str]]:
        """A model's name that leads to each provider, where one is known."""
        for provider, entry in self.file.providers.items():
            wanted = _known(provider, entry).sample
            exact = [name for name in resolved if "*" not in name]
            names = [wanted, f"{provider}/{wanted}", *exact] if wanted else exact
            found = next((name for name in names if _leads(resolved, name) == provider), None)
            if found is not None:
                yield provider, found


def _known(name: str, entry: NamedProvider) -> KnownProvider:
    """By the name that the file gives it: who speaks for OpenAI has OpenAI's models."""
    return known(name if name in PROVIDERS else entry.provider)


def _leads(resolved: dict[str, list[Place]], name: str) -> str | None:
    """The provider that a request for *name* is sent to first."""
    fits = [pattern for pattern in resolved if pattern == name or ("*" in pattern and _fits(pattern, name))]
    best = max(fits, key=lambda pattern: (pattern == name, len(pattern)), default="")
    return resolved[best][0].provider if best else None


def _matching(header: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"prefix": "/", "headers": [matching(header, value)]}


def _as_name(text: str) -> str:
    """*text* as the name of a route."""
    return _NOT_A_NAME.sub("_", text.replace("*", "any"))[:60]


def _fits(pattern: str, name: str) -> bool:
    before, _, after = pattern.partition("*")
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """*value* with each text in it changed."""
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _references(value: Any) -> Iterator[str]:
    """The variables, and the files by their paths, that *value* refers to."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _references(item)
            if key == "gcp" and "service_account_json" not in _mapping(item):
                yield "GCP_SERVICE_ACCOUNT"
            if key == "aws":
                yield from ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
                yield from (path for path in [_mapping(item).get("credentials_file")] if path and "${" not in path)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str):
        yield from (name.removeprefix("file:") for name in _REFERENCE.findall(value))
