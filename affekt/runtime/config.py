"""Fill frozen dataclasses from YAML and `key.sub=value` arguments, strictly.

Order, later wins: dataclass defaults, the file named by `base:`, the file itself, the arguments.
Mappings merge key by key, any other value is replaced whole. An error names the key, the file,
what was found, what is allowed, and for an unknown key the nearest known one.

An argument for text or a path is what was typed, whatever it means in YAML ('run.out=/x/run #2');
any other is read as YAML. `~` in a path is the home folder.

A file that is no text, too large, or hostile (aliases that multiply, `base:` of itself) is refused
before it is built.
"""

import contextlib
import dataclasses as dc
import difflib
import types
import typing as tp
from collections.abc import Mapping
from pathlib import Path

import yaml

from affekt.runtime.files import DamagedFileError, read_text, write_text

T = tp.TypeVar("T")

LARGEST = 2**20  # bytes of a configuration file
MOST = 100_000  # values of one, aliases written out
SHOWN = 200  # characters of a value in a message


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
    data = read_mapping(Path(path))
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


def read_mapping(path: Path, above: tuple[Path, ...] = ()) -> dict[str, tp.Any]:
    """Return a YAML file's mapping, merged over that of its `base:`; `above` are based on it.

    Raises:
        ConfigError: the file is missing, or no YAML mapping of a reasonable size.
    """
    if not path.is_file():
        raise ConfigError(f"no configuration file {path}; the project's own are in configs/")
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} has {path.stat().st_size:,} bytes: it is no configuration file")
    try:
        data = _parse(read_text(path), str(path)) or {}
    except DamagedFileError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}, not a mapping of keys to values")
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {_short(base)}, wanted the name of a file")
    below, chain = path.parent / base, (*above, path)
    if below.resolve() in [each.resolve() for each in chain]:
        names = " -> ".join(map(str, (*chain, below)))
        raise ConfigError(f"{path}: its base is based on it ({names}); remove one `base:`")
    return _merge(read_mapping(below, chain), data)


def _parse(text: str, what: str, kind: tp.Any = yaml.SafeLoader) -> tp.Any:
    try:
        loader = kind(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}) > MOST:
            raise ConfigError(f"{what} has aliases (*name) that stand for over {MOST:,} values")
        return loader.construct_document(node)
    except RecursionError:
        raise ConfigError(f"{what} is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date that is none
        if isinstance(error, ConfigError):
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(f"{what} is not YAML: {reason}") from None


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of a node's values with every alias written out; too many if in itself."""
    if id(node) not in known:
        known[id(node)] = MOST + 1  # of an alias inside of what it names
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _short(value: tp.Any) -> str:
    """Return a value as it stands in a message."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


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
            raise ConfigError(f"unknown key {_short(f'{where}{key}')}; {known}")
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
        raise ConfigError(f"{where} is {_short(value)}, not one of {choices}{hint_text}")
    if type(value) is hint:
        return value
    raise ConfigError(f"{where} is {_short(value)}, which is not {_name(hint)}")


def _name(hint: tp.Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not tp.get_args(hint) else str(hint)


def flat(mapping: Mapping[str, tp.Any], above: str = "") -> dict[str, tp.Any]:
    """Return nested mappings as one, with dotted keys."""
    settings: dict[str, tp.Any] = {}
    for key, value in mapping.items():
        nested = isinstance(value, Mapping)
        settings |= flat(value, f"{above}{key}.") if nested else {above + key: value}
    return settings
