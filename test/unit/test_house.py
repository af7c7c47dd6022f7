"""The package's own description agrees with the tree."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def described(name):
    """The literal assigned to `name` in setup.py, which is not run here."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py has no {name}")


def test_setup_lists_every_folder_that_holds_modules():
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("calibration", "como_ros", "policies", "training")
        for path in (ROOT / package).rglob("*.py")
    }
    assert sorted(folders) == sorted(described("PACKAGES"))


def test_every_node_with_a_main_is_an_executable():
    files = (ROOT / "como_ros" / "nodes").glob("*.py")
    assert sorted(described("NODES")) == sorted(f.stem for f in files if "\ndef main(" in f.read_text())


def test_package_xml_and_setup_name_the_same_version():
    inside_xml = re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text())[1]
    assert f'version="{inside_xml}"' in (ROOT / "setup.py").read_text()


def test_every_extra_is_pinned():
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {
        re.split(r"[\[<>=]", name)[0].lower() for extra in described("EXTRAS").values() for name in extra
    }
    assert wanted <= pins, f"constraints.txt lacks {sorted(wanted - pins)}"
