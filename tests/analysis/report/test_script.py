"""The page's script is one text, made of modules."""

import re
from importlib import resources

from analysis.report.script import bundled_script

MODULES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (resources.files("analysis.report") / "web" / "js").iterdir()
    if path.name.endswith(".js")
}
DEFINITION = re.compile(r"^(?:export )?(?:async )?(?:const|let|function) (\w+|\$)", re.MULTILINE)


def test_script_holds_each_module_once_and_imports_nothing() -> None:
    script = bundled_script()
    for name, text in MODULES.items():
        assert script.count(text.splitlines()[0]) == 1, name
    assert re.search(r"^(import|export)\b", script, re.MULTILINE) is None


def test_names_of_modules_do_not_clash() -> None:
    names = [name for text in MODULES.values() for name in DEFINITION.findall(text)]
    assert len(names) > 40
    assert sorted(names) == sorted(set(names))


def test_imports_name_what_modules_export() -> None:
    for importer, text in MODULES.items():
        for names, module in re.findall(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', text, re.MULTILINE):
            exported = re.findall(
                r"^export (?:async )?(?:const|let|function) (\w+|\$)", MODULES[f"{module}.js"], re.MULTILINE
            )
            assert set(names.split(", ")) <= set(exported), (importer, module)


def test_modules_stand_after_what_they_import() -> None:
    """No two import each other in a circle, so that each can be read without those that use it."""
    script = bundled_script()
    for importer, text in MODULES.items():
        for module in re.findall(r'^import .* from "\./(\w+)\.js";$', text, re.MULTILINE):
            first, then = (script.index(MODULES[name].splitlines()[0]) for name in (f"{module}.js", importer))
            assert first < then, (importer, module)
