"""Code of users that a study needs: found at launch, stored in study.yaml, and made importable on every node."""

from study.sources.importing import add_working_folder, make_importable, shipped_modules
from study.sources.study_sources import code_folders, import_paths_of, models_of, with_sources

__all__ = [
    "add_working_folder",
    "code_folders",
    "import_paths_of",
    "make_importable",
    "models_of",
    "shipped_modules",
    "with_sources",
]
