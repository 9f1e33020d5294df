"""Write errors.md: every message that a command may end with, collected from the code: python docs/messages.py."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "basrelief"

# What the user was doing -> the parts of the code that say so then; the first that fits a file counts.
DOING: dict[str, tuple[str, ...]] = {
    "Writing a loss, an augmentation or a network": ("losses", "augment", "language", "models", "schedules"),
    "Composing and generating data": ("composing", "data/scenes", "data/purdue_write", "data/purdue_draw"),
    "Having data read": ("data",),
    "Running a study": ("studies", "statistics", "report", "app_report"),
    "Training": ("engine", "launch", "worker", "config", "option_texts", "batch", "parallel", "recipes"),
    "Using a trained network": ("inference", "scoring", "app_scores", "app_use", "metrics", "functional"),
    "Exporting": ("exporting",),
    "Serving": ("serving", "app_share"),
    "Anywhere": ("",),
}
# Values that are called by what is done to them, or by a word of Python's.
CALLED = {
    "strerror": "the system's reason",
    "st size": "its size",
    "…": "what was found",
    "id": "name",
    "get": "setting",
}
# Calls that say nothing of a value: it has its own name.
PLAIN = {"sorted", "list", "map", "str", "len", "repr", "type", "tuple", "int", "float", "shorten"}
ASIDE = {"strip", "rstrip", "removeprefix", "splitlines", "capitalize", "absolute", "relative_to", "lower", "as_list"}
HEAD = """# Messages

Every message that a command may end with, made from the code by `python docs/messages.py`. Words in `⟨ ⟩` stand for
what the message names: a file, an option, a number; where a / stands between words, one or the other is said. A
command that could not do its work ends with one of these and exit code 1; one that was called wrongly ends with exit
code 2. The kind in brackets is the exception that Python code meets (`basrelief.errors`).
"""


def messages_page() -> str:
    """Return ``docs/errors.md``."""
    kinds = _kinds()
    found: dict[str, dict[str, str]] = {title: {} for title in DOING}
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).with_suffix("").as_posix()
        title = next(title for title, parts in DOING.items() if any(place.startswith(part) for part in parts))
        tree = _FilledIn(_constants(path)).visit(ast.parse(path.read_text(encoding="utf-8")))
        for kind, text in _messages(tree, kinds):
            found[title].setdefault(" ".join(text.split()), kind)
    lines = [HEAD]
    for title, messages in found.items():
        if messages:
            lines += [f"## {title}", ""]
            for text, kind in sorted(messages.items(), key=lambda line: _bare(line[0])):
                shown = re.sub(r"([*<])", r"\\\1", re.sub(r"⟨(\d+)⟩", r"\1", f"{text} ({kind})"))
                lines += textwrap.wrap(f"- {shown}", 120, subsequent_indent="  ", break_on_hyphens=False)
            lines.append("")
    return "\n".join(lines)


def _kinds() -> set[str]:
    """Return the names of Basrelief's exceptions: those of errors.py, and what any file derives from them."""
    bases: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    kinds = {"BasreliefError"}
    while more := {name for name, over in bases.items() if over & kinds} - kinds:
        kinds |= more
    return kinds


def _constants(path: Path) -> dict[str, str | int]:
    """Return the texts and whole numbers of a file that have a name in capitals, its own and those it imports."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), dict[str, str | int]()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("basrelief."):
            asked = {name.name for name in node.names if name.name.isupper()}
            home = SOURCE.parent / (str(node.module).replace(".", "/") + ".py")
            if asked and home.exists():
                found |= {name: value for name, value in _constants(home).items() if name in asked}
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node.value.value, str | int):
                found |= {name: node.value.value for name in names if name.isupper()}
    return found


class _FilledIn(ast.NodeTransformer):
    """Puts the values of named constants in the place of their names."""

    def __init__(self, constants: dict[str, str | int]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        known = isinstance(node.ctx, ast.Load) and node.id in self.constants
        return ast.copy_location(ast.Constant(self.constants[node.id]), node) if known else node


def _messages(tree: ast.AST, kinds: set[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each message in a file, also of those that are made to be raised elsewhere."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if name == "MissingExtraError" and len(node.args) == 3:
            package, extra, purpose = map(_text, node.args)
            yield name, f'{purpose} needs the package {package}: pip install "basrelief[{extra}]"'
        elif name == "unknown_name":
            yield "UsageError", f"Unknown {_text(node.args[0])} {_text(node.args[1])}. Known: ⟨all of them⟩."
        elif name == "FileError" and len(node.args) == 3:  # file, problem, remedy
            file, problem, remedy = map(_text, node.args)
            yield name, f"{file}: {problem}. {remedy}."
        elif name in ("fail_at", "fail_at_word", "fail"):  # of the small languages, with a caret below the text
            yield "UsageError", f"In the ⟨language⟩, ⟨part⟩ {_text(node.args[0])}"
        elif name in kinds:
            said = [_text(argument) for argument in node.args if _is_text(argument)]
            if said:
                yield name, said[-1] if len(said) == 1 else " ".join(said)


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr)


def _text(node: ast.expr) -> str:
    """Return a message as one reads it, with what is put in named."""
    match node:
        case ast.Constant(value=str() as value):
            text = value
        case ast.JoinedStr(values=parts):
            text = "".join(_text(part) for part in parts)
        case ast.FormattedValue(value=ast.Constant(value=value)):
            text = str(value)
        case ast.FormattedValue(value=ast.JoinedStr() as inner) | ast.FormattedValue(value=ast.IfExp() as inner):
            text = _text(inner)
        case ast.FormattedValue(value=value):
            text = f"⟨{_called(value)}⟩"
        case ast.IfExp(body=body, orelse=orelse):
            text = " / ".join(part for part in (_text(body), _text(orelse)) if part.strip())
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            text = _text(left) + _text(right)
        case _:
            text = f"⟨{_called(node)}⟩"
    return text


def _called(node: ast.expr) -> str:
    name = _named(node)
    return CALLED.get(name, name)


def _named(node: ast.expr) -> str:
    """Return a short name of a value: the word that the code calls it by."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").replace("_", " ")
        case ast.Call(func=ast.Attribute(value=ast.Constant()), args=[first, *_]):  # ", ".join(names)
            return _named(first)
        case ast.Call(func=ast.Name(id=name), args=[*_, last]) if name in PLAIN:
            return _named(last)
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in ASIDE:
            return _named(value)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.strip("_").replace("_", " ")
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
            return key.replace("_", " ") or _named(value)
        case (
            ast.Subscript(value=value)
            | ast.GeneratorExp(elt=value)
            | ast.ListComp(elt=value)
            | ast.Starred(value=value)
        ):
            return _named(value)
        case ast.BinOp(left=left):
            return _named(left)
        case ast.IfExp(body=body, orelse=orelse):
            words = [_text(part) for part in (body, orelse) if _is_text(part)]
            return " / ".join(word.strip() for word in words if word.strip()) or _named(body)
        case ast.JoinedStr():
            return _text(node).strip("⟨⟩")
        case ast.Constant(value=value):
            return str(value)
    return "…"


def _bare(text: str) -> str:
    return text.lower().lstrip("⟨`'\"").strip()


def main() -> None:
    """Write the page."""
    (Path(__file__).parent / "errors.md").write_text(messages_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
