"""README and docs are true: their code prints what they say; the README's commands are CI's."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PAGES = {
    page.name: blocks
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "python" in dict(blocks := BLOCK.findall(page.read_text(encoding="utf-8")))
}
SETUP = "python3 -m venv .venv && . .venv/bin/activate && "
MARK = "--- what was printed until here is shown here ---"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs_from_top_to_bottom_and_prints_what_follows_it(page, tmp_path):
    # In a process of its own: one block declares a wrong primitive, which must not outlive it.
    blocks = [(language, text) for language, text in PAGES[page] if language in {"python", "text"}]
    script = "\n".join(
        text if language == "python" else f"print({MARK!r})" for language, text in blocks
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, rest = done.stdout.split(f"{MARK}\n")
    shown = [text for language, text in blocks if language == "text"]
    assert shown
    assert not rest, "a page shows everything that its code prints"
    for ours, stated in zip(printed, shown, strict=True):
        # Decimal fractions are the machine's; all else is compared as it stands.
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", stated)
        for number, claim in zip(NUMBER.findall(ours), NUMBER.findall(stated), strict=True):
            assert float(number) == pytest.approx(float(claim), rel=0.05)


def test_the_first_example_is_a_layer_and_its_training_loop_in_fifteen_lines():
    first = next(text for language, text in BLOCKS if language == "python")
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) == 15
    assert "class " in first
    assert "for " in first
    assert max(map(len, lines)) <= 100


def test_the_two_commands_that_set_up_a_fresh_machine_are_there_once():
    lines = [line for _, text in BLOCKS for line in text.splitlines()]
    assert [line for line in lines if line.startswith(SETUP)] == [
        SETUP + "pip install '.[demo]' && tapegrad demo",
        SETUP + "pip install -e '.[test]' && pytest",
    ]


def test_every_extra_is_described():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for extra in extras:
        assert re.search(rf"^\| `{extra}` ", README, flags=re.MULTILINE), extra


def test_every_file_that_it_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" not in target, "links lead into the repository"
        assert (ROOT / target).exists(), target
