"""Files that tell how fast a machine is, to be carried to another and read there."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from benchvise.core.errors import UserError
from benchvise.core.protocol.results import LinearTime, MachineProfile, RestTime
from benchvise.core.workspace.atomic_files import workspace_path, write_text

FORMAT, VERSION = "benchvise machine profile", 2
MAX_BYTES = 64 << 20

_REMEDY = "Write it anew on that machine with `benchvise profile --out FILE`."
_PLAIN = {"str": str, "int": int, "float": float, "bool": bool}

T = TypeVar("T", LinearTime, RestTime)


def load_profile(path: str | Path) -> MachineProfile:
    """Raises UserError for a file that is not there, no profile, damaged, or of another version."""
    where = Path(path).expanduser()
    try:
        if where.stat().st_size > MAX_BYTES:
            raise _refused("The file is too large to be a machine profile", where)
        stored = json.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"The machine profile cannot be read: {error.strerror}", where=str(where), remedy="Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refused("The machine profile is damaged: it is not JSON", where) from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise _refused("The file is no machine profile", where)
    if stored.get("version") != VERSION:
        found = stored.get("version")
        raise _refused(f"The machine profile is of version {found}; version {VERSION} can be read", where)
    try:
        return replace(_parsed(stored), file=str(where))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(f"The machine profile is damaged: {error}", where) from error


def save_profile(profile: MachineProfile, path: str | Path) -> MachineProfile:
    """Write the file and name it in the profile. Raises OutputError."""
    where = Path(path).expanduser()
    write_text(where, _as_text(profile))
    return replace(profile, file=str(where))


def keep_profile(profile: MachineProfile, workspace: str) -> MachineProfile:
    """Keep it in the workspace, in place of an older one of the same machine and name. Raises OutputError."""
    name = hashlib.sha256(f"{profile.machine}\n{profile.key}".encode()).hexdigest()[:16]
    return save_profile(profile, _folder(workspace) / f"{name}.json")


def kept_profiles(workspace: str) -> tuple[MachineProfile, ...]:
    """All profiles of the workspace that can be read, by name."""
    found: list[MachineProfile] = []
    folder = _folder(workspace)
    for file in folder.glob("*.json") if folder.is_dir() else ():
        with suppress(UserError):
            found.append(load_profile(file))
    return tuple(sorted(found, key=lambda profile: (profile.machine, profile.file)))


def _folder(workspace: str) -> Path:
    return workspace_path(workspace) / "profiles" / "machines"


def _as_text(profile: MachineProfile) -> str:
    plain = asdict(profile)
    del plain["file"]
    return json.dumps({"format": FORMAT, "version": VERSION, **plain}, indent=1) + "\n"


def _parsed(stored: Mapping[str, Any]) -> MachineProfile:
    linears = tuple(_record(LinearTime, entry) for entry in stored["linears"])
    rests = tuple(_record(RestTime, entry) for entry in stored["rests"])
    if not linears or not rests:
        raise ValueError("it holds no timings")
    own = {f.name: f.type for f in fields(MachineProfile) if f.name not in ("linears", "rests", "file")}
    plain: dict[str, Any] = {name: _value(name, stored[name], str(kind)) for name, kind in own.items()}
    return MachineProfile(**plain, linears=linears, rests=rests)


def _record(kind: type[T], entry: Mapping[str, Any]) -> T:
    found: dict[str, Any] = {
        field.name: _value(field.name, entry[field.name], str(field.type)) for field in fields(kind)
    }
    return kind(**found)


def _value(name: str, value: object, kind: str) -> object:
    """Raises ValueError for a value of another kind, and for numbers that are no sizes and no times."""
    wanted = _PLAIN[kind]
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise ValueError(f"'{name}' is {value!r}, not of type {kind}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        least = 0 if name in ("context", "prompt") else math.ulp(0.0)
        if not math.isfinite(value) or value < least:
            raise ValueError(f"'{name}' is {value!r}")
    return value


def _refused(what: str, where: Path) -> UserError:
    return UserError(what, where=str(where), remedy=_REMEDY)
