"""Fill frozen dataclasses from YAML and `key.sub=value` arguments, strictly.

Order, later wins: dataclass defaults, the file named by `base:`, the file itself, the arguments.
Mappings merge key by key, any other value is replaced whole. An error names the key, the file,
what was found, what is allowed, and for an unknown key the nearest known one.

An argument for text or a path is what was typed, whatever it means in YAML ('run.out=/x/run #2');
any other is read as YAML. `~` in a path is the home folder.
"""

import contextlib
import dataclasses as dc
import difflib
import types
import typing as tp
from collections.abc import Mapping
from pathlib import Path

import yaml

from affekt.runtime.files import write_text

T = tp.TypeVar("T")


class ConfigError(ValueError):
    """A configuration names an unknown key or holds a value that does not fit."""


class _Argument(tp.NamedTuple):
    """The value of a `key=value` argument: text as it was typed, or YAML, as its field wants."""

    item: str
    text: str

    def __repr__(self) -> str:
        return repr(self.text)

    def as_wanted(self, hint: tp.Any) -> tp.Any:
        """Return the text itself for text, a path or one of some words, else what YAML reads."""
        origin, args = tp.get_origin(hint), tp.get_args(hint)
        if origin in (tp.Union, types.UnionType):
            inner = next(arg for arg in args if arg is not type(None))
            return None if self.text.strip() in ("", "null") else self.as_wanted(inner)
        if hint is Path and not self.text.strip():
            raise ConfigError(f"the argument {self.item!r} is empty, wanted a path")
        if hint in (str, Path) or (origin is tp.Literal and self.text in args):
            return self.text
        loader = yaml.BaseLoader if _is_text(hint) else yaml.SafeLoader
        return _parse(self.text, f"the argument {self.item!r}", loader)


def _is_text(hint: tp.Any) -> bool:
    """Return whether a field holds text or paths, alone or in tuples: 03 is no number there."""
    if tp.get_origin(hint) is tuple:
        return all(_is_text(each) for each in tp.get_args(hint) if each is not ...)
    return hint in (str, Path)


def _is_section(cls: tp.Any, keys: tp.Sequence[str]) -> bool:
    """Return whether a dotted key names a dataclass of the configuration."""
    for key in keys:
        hint = tp.get_type_hints(cls).get(key) if dc.is_dataclass(cls) else None
        cls = next((each for each in tp.get_args(hint) if dc.is_dataclass(each)), hint)
    return dc.is_dataclass(cls)


def load_config(cls: type[T], path: Path, overrides: tp.Sequence[str] = ()) -> T:
    """Return `cls` filled from the YAML file at `path`, then from `key.sub=value` strings.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a key is unknown, a value does not fit.
    """
    data = _read(Path(path))
    source = str(path)
    for item in overrides:
        dotted, equals, text = item.partition("=")
        if not equals:
            raise ConfigError(f"{item!r} is not of the form key.sub=value")
        value: tp.Any = _Argument(item, text)
        keys = dotted.split(".")
        if _is_section(cls, keys):
            value = value.as_wanted(dict)  # a mapping is merged key by key, as one of a file
        for key in reversed(keys):
            value = {key: value}
        data = _merge(data, value)
        source = f"{path} with {' '.join(overrides)}"
    return from_mapping(cls, data, source)


def from_mapping(cls: type[T], data: tp.Any, source: str) -> T:
    """Return `cls` filled from a mapping that a file holds; `source` names it in messages.

    Raises:
        ConfigError: no mapping, a key is unknown or missing, a value does not fit.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{source} holds {type(data).__name__}, not a mapping of keys to values")
    try:
        return build(cls, data)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def dump_config(config: tp.Any, path: Path) -> None:
    """Write every value of `config`, defaults included, as YAML that `load_config` reads back."""
    write_text(path, yaml.safe_dump(plain(config), sort_keys=False))


def plain(config: tp.Any) -> tp.Any:
    """Return `config` as mappings, lists and scalars, fit for YAML and JSON."""
    value = (
        dc.asdict(config) if dc.is_dataclass(config) and not isinstance(config, type) else config
    )
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def differences(
    old: tp.Any, new: tp.Any, where: str = ""
) -> tp.Iterator[tuple[str, tp.Any, tp.Any]]:
    """Yield the dotted key, the old and the new value wherever two plain configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))
    elif old != new:
        yield where, old, new


def _read(path: Path) -> dict[str, tp.Any]:
    if not path.is_file():
        raise ConfigError(f"no configuration file {path}; the project's own are in configs/")
    data = _parse(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}, not a mapping of keys to values")
    base = data.pop("base", None)
    return data if base is None else _merge(_read(path.parent / base), data)


def _parse(text: str, what: str, loader: tp.Any = yaml.SafeLoader) -> tp.Any:
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} is not YAML: {error}") from None


def _merge(old: dict[str, tp.Any], new: dict[str, tp.Any]) -> dict[str, tp.Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def build(cls: type[T], data: Mapping[str, tp.Any], where: str = "") -> T:
    """Return the dataclass `cls` filled from a mapping; `where` is put before keys in messages.

    Raises:
        ConfigError: a key is unknown or missing, a value does not fit.
    """
    hints = tp.get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"unknown key '{where}{key}'; {known}")
    fields = dc.fields(cls)  # type: ignore[arg-type]
    for field in fields:
        needed = field.default is dc.MISSING and field.default_factory is dc.MISSING
        if needed and field.name not in data:
            raise ConfigError(f"the key '{where}{field.name}' is missing")
    # A mapping adds to the field's own default, which may differ from its class's
    for field in fields:
        given, default = data.get(field.name), field.default
        if field.default_factory is not dc.MISSING:
            default = field.default_factory()
        if isinstance(given, dict) and dc.is_dataclass(default):
            data = {**data, field.name: _merge(plain(default), given)}
    values = {key: _convert(hints[key], value, f"{where}{key}") for key, value in data.items()}
    try:
        return cls(**values)
    except ValueError as error:  # a dataclass may refuse a combination in __post_init__
        raise ConfigError(f"{where or 'the configuration'}: {error}") from None


def _convert(hint: tp.Any, value: tp.Any, where: str) -> tp.Any:
    value = value.as_wanted(hint) if isinstance(value, _Argument) else value
    origin, args = tp.get_origin(hint), tp.get_args(hint)
    if origin in (tp.Union, types.UnionType):  # only `X | None` is used here
        inner = next(arg for arg in args if arg is not type(None))
        return None if value is None else _convert(inner, value, where)
    if dc.is_dataclass(hint) and isinstance(value, dict):
        return build(tp.cast(type, hint), value, f"{where}.")
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = args[:1] * len(value) if args[-1] is ... else args
        if len(kinds) == len(value):
            return tuple(
                _convert(kind, item, f"{where}[{i}]")
                for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
            )
    if hint in (float, Path) and type(value) in (str, int, float):
        with contextlib.suppress(ValueError, TypeError):
            converted = hint(value)  # YAML 1.1 reads 1e-4, without a dot, as a string
            return converted.expanduser() if isinstance(converted, Path) else converted
    if origin is tp.Literal:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        near = difflib.get_close_matches(str(value), [str(arg) for arg in args], n=1)
        hint_text = f"; did you mean {near[0]!r}?" if near else ""
        choices = ", ".join(repr(arg) for arg in args)
        raise ConfigError(f"{where} is {value!r}, not one of {choices}{hint_text}")
    if type(value) is hint:
        return value
    raise ConfigError(f"{where} is {value!r}, which is not {_name(hint)}")


def _name(hint: tp.Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not tp.get_args(hint) else str(hint)


def flat(mapping: Mapping[str, tp.Any], above: str = "") -> dict[str, tp.Any]:
    """Return nested mappings as one, with dotted keys."""
    settings: dict[str, tp.Any] = {}
    for key, value in mapping.items():
        nested = isinstance(value, Mapping)
        settings |= flat(value, f"{above}{key}.") if nested else {above + key: value}
    return settings
