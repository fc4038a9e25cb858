"""Where each of several workers listens."""

from __future__ import annotations

from ..settings import SettingError, Settings

MAX_WORKERS = 256


def spread(settings: Settings) -> list[list[str]]:
    """The addresses of each worker. Worker number i listens on the i-th port from that of ``--listen``, and on a Unix
    socket with i before the suffix; port 0 stays 0. Raises SettingError."""
    addresses, count = settings.listen.split(","), settings.workers
    if count == 1:
        return [addresses]
    if count > MAX_WORKERS:
        raise SettingError(f"--workers: {count} is more than {MAX_WORKERS}")
    made = [[_nth(address, number) for address in addresses] for number in range(count)]
    seen: set[str] = set()
    for address in (each for one in made for each in one if not each.endswith(":0")):
        if address in seen:
            raise SettingError(f"--listen: {settings.listen} leads to {address} twice with {count} workers")
        seen.add(address)
    return made


def _nth(address: str, number: int) -> str:
    if address.startswith("unix:"):
        folder, slash, name = address.rpartition("/")
        if not slash:
            folder, name = "unix:", address.removeprefix("unix:")
        stem, dot, suffix = name.rpartition(".")
        return f"{folder}{slash}{stem}.{number}.{suffix}" if dot and stem else f"{folder}{slash}{name}.{number}"
    host, _, text = address.rpartition(":")
    port = int(text)
    if port and port + number > 65535:
        raise SettingError(f"--workers: worker {number} of {address} would listen on port {port + number}")
    return f"{host}:{port + number if port else 0}"
