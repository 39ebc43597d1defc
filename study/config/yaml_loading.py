"""Reading and writing of YAML for configurations: plain data by the rules of YAML 1.2, with ambiguities refused.

PyYAML reads YAML 1.1, in which `on` is a boolean, `010` is 8 and `1:30` is 90, and it silently keeps the last of two
equal keys. Here `on` is text; numbers with a leading zero or a colon and duplicate keys are refused.
"""

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from trainables.errors import message_of

MOST_CHARACTERS = 1_000_000
"""Largest number of characters that is read. A study's configuration has a few thousand."""
MOST_NODES = 100_000
"""Largest number of values in a text, where values that aliases repeat count again."""
DEEPEST = 50
"""Largest depth of nesting. A study's configuration has four levels."""

_TAG = "tag:yaml.org,2002:"
_MERGE, _TEXT, _NUMBER = f"{_TAG}merge", f"{_TAG}str", f"{_TAG}int"
_PLAIN = {_MERGE, *(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))}

_AMBIGUOUS = re.compile(r"[-+]?(0[0-9_]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[0-9]+(_[0-9]+)+)")
"""Scalars that readers of YAML 1.1 and YAML 1.2 read as different numbers."""

_RESOLVERS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_NUMBER, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    (_MERGE, r"<<", "<"),
)
"""Tag, pattern and first characters of scalars that are not text, by YAML 1.2's core schema."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's scalars, and without dates, sets and other types."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own shape

    def construct_integer(self, node: ScalarNode) -> int:
        """Return the integer that a scalar writes."""
        text = str(self.construct_scalar(node))
        if _AMBIGUOUS.fullmatch(text):
            raise _refusal(node, f"{text} is ambiguous; write it without leading zeros, or in quotes if it is text")
        if len(text) > 1000:
            raise _refusal(node, "this integer has too many digits; correct it")
        return int(text, 0)


class _WriterLoader(yaml.SafeLoader):
    """Loader of files that `dump_yaml` of earlier versions wrote in YAML 1.1, with text such as 1e5 unquoted."""

    def construct_integer(self, node: ScalarNode) -> int:
        """Return the integer that a scalar writes; the writer never writes an ambiguous one."""
        text = str(self.construct_scalar(node))
        if _AMBIGUOUS.fullmatch(text) or len(text) > 1000:
            raise _refusal(node, f"{text[:50]} is not how qar writes an integer; correct it")
        return int(text, 0)


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes every text that a reader of YAML 1.1 or YAML 1.2 would read as another type."""

    def represent_text(self, text: str) -> ScalarNode:
        """Return a text as a block of lines if it has several, as code does."""
        return self.represent_scalar(f"{_TAG}str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)

for _tag, _pattern, _first in _RESOLVERS:
    _compiled = re.compile(rf"(?:{_pattern})\Z")
    _Loader.add_implicit_resolver(_tag, _compiled, [character.strip("\0") for character in _first])
    _Dumper.add_implicit_resolver(_tag, _compiled, [character.strip("\0") for character in _first])
_ambiguous_numbers = re.compile(rf"(?:{_AMBIGUOUS.pattern})\Z")
_Loader.add_implicit_resolver(_NUMBER, _ambiguous_numbers, list("-+0123456789"))
_Loader.add_constructor(_NUMBER, _Loader.construct_integer)
_WriterLoader.add_constructor(_NUMBER, _WriterLoader.construct_integer)


def load_yaml(text: str | bytes, source: str) -> Any:
    """Return the plain data that a YAML text holds.

    Args:
        text: one document; bytes in UTF-8.
        source: name of the text in messages.

    Raises:
        ValueError: the text is not YAML, too long or nested too deeply, or holds a duplicate key, a key that is not
            text, an ambiguous number or a tag; one line.
    """
    return _load(text, source, _Loader)


def load_written_yaml(text: str | bytes, source: str) -> Any:
    """Return the data of a file that `dump_yaml` of this or an earlier version wrote. Raises as `load_yaml` does."""
    return _load(text, source, _WriterLoader)


def dump_yaml(values: Any) -> str:
    """Return data as YAML that `load_yaml` and `load_written_yaml` read as the same data."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def _load(text: str | bytes, source: str, kind: type[yaml.SafeLoader]) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{source}: a configuration has at most {MOST_CHARACTERS} characters, got {len(text)}; cut it")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        loader = kind(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, 1, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError(f"{source}: brackets may be nested {DEEPEST} deep at most; correct it") from None
    except _RefusedError as refusal:
        raise ValueError(f"{source}: {refusal}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source}: a configuration is text in UTF-8, got another at byte {error.start}; save it as UTF-8"
        ) from None
    except (yaml.YAMLError, ValueError, KeyError) as error:
        raise ValueError(f"{source}: not YAML: {_reason(error)}; correct it") from None


def _reason(error: Exception) -> str:
    """Return PyYAML's reason in one line, with line and column counted from 1."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        context = f"{error.context}, " if error.context else ""
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {context}{error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {chr(error.character)!r} at position {error.position} is not allowed"
    return message_of(error)


class _RefusedError(Exception):
    """A configuration holds something that YAML allows but configurations don't; one line with place and remedy."""


def _refusal(node: Node, text: str) -> _RefusedError:
    return _RefusedError(f"line {node.start_mark.line + 1}: {text}")


def _check(node: Node, depth: int, sizes: dict[int, int]) -> int:
    """Check a node and those below it; return the number of values, counting those that aliases repeat again.

    Args:
        node: root of a document, or a node below it.
        depth: depth of the node.
        sizes: number of values of each node checked already, by `id`; 0 while the node is being checked.

    Raises:
        _RefusedError: the document holds something that a configuration may not.
    """
    if depth > DEEPEST:
        raise _refusal(node, f"brackets may be nested {DEEPEST} deep at most; correct it")
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise _refusal(node, "an alias stands inside of what it names; correct it")
        return sizes[id(node)]
    if node.tag not in _PLAIN:
        raise _refusal(node, f"tags are not allowed, got {node.tag.removeprefix(_TAG)!r}; leave it out")
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, MappingNode):
        _check_keys(node)
        size += sum(_check(value, depth + 1, sizes) for _, value in node.value)
    elif isinstance(node, SequenceNode):
        size += sum(_check(value, depth + 1, sizes) for value in node.value)
    if size > MOST_NODES:
        raise _refusal(node, f"a configuration has at most {MOST_NODES} values; correct it")
    sizes[id(node)] = size
    return size


def _check_keys(mapping: MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, ScalarNode) or key.tag not in (_TEXT, _MERGE):
            written = f", got {key.value!r}" if isinstance(key, ScalarNode) else ""
            raise _refusal(key, f"a key must be text{written}; correct it, or put it in quotes")
        if key.value in lines:
            first, second = lines[key.value], key.start_mark.line + 1
            where = f"lines {first} and {second}" if first != second else f"line {first}"
            raise _RefusedError(f"key {key.value!r} is there twice, in {where}; remove one of them")
        lines[key.value] = key.start_mark.line + 1
