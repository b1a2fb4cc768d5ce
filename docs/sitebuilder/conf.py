"""Sphinx's settings."""

from pathlib import Path

from tapegrad import __version__

project = "tapegrad"
author = "The tapegrad authors"
copyright = "the tapegrad authors, MIT licence"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sitebuilder.extension"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True

# Anchors of headings as code hosts make them, so that one link serves on both.
myst_heading_anchors = 4
myst_heading_slug_func = "sitebuilder.pages.slug"
myst_links_external_new_tab = False

add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries = False  # 3,000 entries in the navigation of each page would take minutes
html_math_renderer = "mathml"
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "monokai"

html_theme = "furo"
html_title = f"tapegrad {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("static") / "scorer.js")
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_domain_indices = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": "#1d5a96",
        "color-brand-content": "#1d5a96",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7ab8f5",
        "color-brand-content": "#7ab8f5",
    },
}
