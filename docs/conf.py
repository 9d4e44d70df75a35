"""Sphinx configuration: ``sphinx-build -W -n docs docs/_build/html`` (extra ``docs``).

Builds without the internet. The gallery runs `examples/` at small size; MCVAR_EXAMPLE_SIZE=full
runs them as they stand.
"""

import os
import re
import shutil
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

import mcvar

HERE = Path(__file__).parent
ROOT = HERE.parent
EXAMPLES = ROOT / "examples"

project = "mcvar"
author = copyright = "the mcvar developers"
version = release = mcvar.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_examples", "gallery/**/*.ipynb", "gallery/**/*.py"]
html_theme = "furo"
html_title = f"mcvar {version}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["width.css"]
templates_path = ["_templates"]
nitpicky = True

# Backticks are names where there is such a name, and else what numpydoc means by them: words.
default_role = "autolink"
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say types, and more: shapes
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    # scikit-learn's metadata routing hangs these on every estimator.
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",
}
autodoc_mock_imports = [] if find_spec("torch") else ["torch"]
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True

myst_heading_anchors = 3
# A bare lower-case name in backticks is a parameter or an attribute, told in the table around it;
# and a build without the internet knows no other project.
nitpick_ignore_regex = [("py:obj", r"[a-z_]+"), ("py:class", r"(collections|numpy)\..+")]


def reachable(url: str) -> bool:
    """Whether an inventory answers: a build without the internet links to no other project."""
    try:
        with urllib.request.urlopen(url + "objects.inv", timeout=3):
            return True
    except (urllib.error.URLError, OSError):
        return False


intersphinx_mapping = {
    name: (url, None)
    for name, url in {
        "python": "https://docs.python.org/3/",
        "numpy": "https://numpy.org/doc/stable/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "sklearn": "https://scikit-learn.org/stable/",
    }.items()
    if reachable(url)
}

# Pages that are files of the repository, and where what those link to is found here.
PAGES = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "benchmarks": "benchmarks/README.md",
}
LINKS = {
    r"(?<=\]\()examples/([\w/]+)\.py(?=\))": r"gallery/\1.rst",
    r"(?<=\]\()(examples/\w+\.png)(?=\))": r"../\1",
    r"(?<=\]\()(\w+\.(?:png|json))(?=\))": r"../benchmarks/\1",  # the one page from a folder
    **{rf"(?<=\]\(){re.escape(path)}(?=\))": f"{page}.md" for page, path in PAGES.items()},
    r"(?<=\]\()docs/(\w+\.md)(?=\))": r"\1",
}


def repository_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Put a file of the repository before what `page` says itself, which is a table of contents."""
    if page in PAGES:
        path = ROOT / PAGES[page]
        app.env.note_dependency(path)
        text = path.read_text(encoding="utf-8")
        for link, here in LINKS.items():
            text = re.sub(link, here, text)
        source[0] = f"{text}\n{source[0]}"


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", repository_page)


def for_gallery(source: str, picture: Path) -> str:
    """Say an example's titles, and its picture at full size, in the gallery's own terms."""

    def underlined(title: re.Match[str], prefix: str = "", line: str = "=") -> str:
        text = title[1].strip().rstrip(".")
        return f"{prefix}{text}\n{prefix}{line * len(text)}\n"

    source = re.sub(
        r'(?<=\A""")(.+?)(?="""|\n)', lambda title: underlined(title).rstrip() + "\n", source
    )
    source = re.sub(
        r"^# %% (.+)\n", lambda title: "# %%\n" + underlined(title, "# ", "-"), source, flags=re.M
    )
    if picture.exists():
        source += f"\n# sphinx_gallery_thumbnail_path = '{os.path.relpath(picture, HERE)}'\n"
    return source


# Examples save their pictures where they run: the gallery runs copies.
os.environ.setdefault("MCVAR_EXAMPLE_SIZE", "small")
COPIES = HERE / "_examples"
for stale in (COPIES, HERE / "generated"):  # a name that is gone has no page
    shutil.rmtree(stale, ignore_errors=True)
RUN = []
for example in sorted(EXAMPLES.rglob("*.py")):
    copy = COPIES / example.relative_to(EXAMPLES)
    copy.parent.mkdir(parents=True, exist_ok=True)
    text = example.read_text(encoding="utf-8")
    copy.write_text(for_gallery(text, example.with_suffix(".png")), encoding="utf-8")
    # What needs somebody else's sampler, torch, or a command line is shown, not run.
    if copy.parent == COPIES and ("import torch" not in text or find_spec("torch")):
        RUN.append(re.escape(os.sep + copy.name))
for folder, title, line, lead in (
    ("", "Examples", "=", "Each prints a table and saves a figure; here they ran at small size."),
    ("samplers", "Draws from other samplers", "-", "Extras ``jax`` and ``pymc``."),
    ("vehicle_safety", "Crash rates", "-", "From the shell, or as functions."),
):
    head = f"{title}\n{line * len(title)}\n\n{lead}\n"
    (COPIES / folder / "GALLERY_HEADER.rst").write_text(head, encoding="utf-8")

sphinx_gallery_conf = {
    "examples_dirs": str(COPIES),
    "gallery_dirs": "gallery",
    "filename_pattern": "|".join(RUN),
    "plot_gallery": "True",
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),
    "remove_config_comments": True,
}
