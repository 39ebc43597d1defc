"""Collection of the Python files that parts named by import path need; no code runs."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from study.config.code import is_module_path
from trainables.files.regular import read_regular

MOST_CHARACTERS = 500_000
"""Largest size of a study's code, which study.yaml holds. A larger package is better installed on the nodes."""

OWN_PACKAGES = frozenset({"analysis", "study", "trainables"})


def collect(modules: Iterable[str], folders: Sequence[Path]) -> dict[str, str]:
    """Return the files of modules that lie in given folders, and of the modules there that they import.

    A package is taken with all its modules; files that `import` can't find, such as `run-all.py`, are left out. So is a
    module that lies in no folder: it is installed, or missing.

    Args:
        modules: dotted names of modules.
        folders: folders to search, in order.

    Returns:
        Text of each file by its path relative to its folder, with `/` between parts, sorted by path.

    Raises:
        ValueError: a file can't be read, or there is too much code; one line.
    """
    code: dict[str, str] = {}
    waiting = sorted({module.partition(".")[0] for module in modules})
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in OWN_PACKAGES:
            continue
        seen.add(name)
        for path, text in _files_of(name, folders):
            code[path] = text
            waiting += sorted(_imported(text) - seen)
    total = sum(len(text) for text in code.values())
    if total > MOST_CHARACTERS:
        raise ValueError(
            f"the code of a study must have at most {MOST_CHARACTERS} characters, got {total} in {len(code)} files "
            f"({', '.join(sorted(code)[:3])}, …); install the package on every node instead"
        )
    return dict(sorted(code.items()))


def _files_of(name: str, folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files of a top-level module or package; none if it lies in no folder."""
    for folder in folders:
        package, module = folder / name, folder / f"{name}.py"
        if (package / "__init__.py").is_file() or (not module.is_file() and any(package.glob("*.py"))):
            for file in sorted(package.rglob("*.py")):
                relative = file.relative_to(folder).as_posix()
                if is_module_path(relative):
                    yield relative, _read(file)
            return
        if module.is_file():
            yield module.name, _read(module)
            return


def _read(file: Path) -> str:
    try:
        return read_regular(file, MOST_CHARACTERS).decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} must be a readable file of Python in UTF-8, got: {error}; mend it") from None


def _imported(text: str) -> set[str]:
    """Return the top-level modules that a file imports anywhere; none if it can't be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names
