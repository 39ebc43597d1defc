"""Bundling of the page's script from the modules in `web/js`.

A page that is opened from a file cannot load ES modules, and its content security policy allows a single script.
Therefore the modules are joined in one function, in the order of their imports.
"""

import re
from importlib import resources
from importlib.resources.abc import Traversable

ENTRY = "report"
_IMPORT = re.compile(r'^import \{[^}]+\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function)\b)", re.MULTILINE)


def bundled_script() -> str:
    """Return the text of the page's script."""
    modules: dict[str, str] = {}
    _collect(ENTRY, resources.files("analysis.report") / "web" / "js", modules)
    return '"use strict";\n(() => {\n' + "\n".join(modules.values()) + "})();\n"


def _collect(name: str, folder: Traversable, modules: dict[str, str]) -> None:
    """Add a module to `modules`, after the modules that it imports; none may import each other in a circle."""
    if name in modules:
        return
    text = (folder / f"{name}.js").read_text(encoding="utf-8")
    for imported in _IMPORT.findall(text):
        _collect(imported, folder, modules)
    modules[name] = _EXPORT.sub("", _IMPORT.sub("", text))
