"""The documentation site, made of docs/, notebooks/ and the docstrings.

places.py      where everything lies, and how pages link to each other
pages.py       the pages of docs/: titles, links, and the order in which a reader finds them
names.py       every public name, with its place in the reference
docstrings.py  a docstring as HTML: its lines, shapes and lists stay what they are
reference.py   the pages of the reference
examples.py    what a call of a layer, an operation or an optimizer gave, by the cases of the laws
written.py     examples that are written in docs/examples/, run and shown
usage.py       which page uses which name, by resolving the code on it
notebooks.py   executed notebooks as pages
pictures.py    pictures that pages ask for, drawn while the site is built
staging.py     all of it as one folder of Markdown
extension.py   what Sphinx is told besides: formulas as MathML
links.py       the built pages: every link leads somewhere, and nothing is loaded from elsewhere
main.py        the command
"""
