"""The command `microblog translate`: write the catalogues of translations, and check them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from gettext import c2py
from html.parser import HTMLParser
from pathlib import Path

import click
import jinja2
from babel import Locale, UnknownLocaleError
from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import PoFileError, read_po, write_po
from jinja2 import nodes

from app.settings.parsing import LOCALES, known_languages

ROOT = LOCALES.parent
UPDATE = "`microblog translate update`"
SOURCES = [("**.py", "python"), ("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2")]
KEYWORDS = {**DEFAULT_KEYWORDS, "lazy_gettext": None, "lazy_pgettext": ((1, "c"), 2)}
OPTIONS = {
    pattern: {"newstyle_gettext": "yes", "trimmed": "yes", "silent": "no"} for pattern, _ in SOURCES[1:]
}
COMMENT_TAG = "Translators:"
HEADER = """\
# {name} translations of Microblog.
#
# Glossary
# post:
# reply:
# follow:
# timeline:
# profile:
# account:
# username:
"""

PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w*\}|%(?!\()|</?\w[^>]*>|&\w+;|[\"<>&]")
"""What a translation must hold as often as its message: places for values, and what has a meaning in HTML."""
NUMBERS = range(1000)  # tried to find out how many numbers use each plural form

PAGES = ("accounts", "posts", "profiles", "search", "web", "greeting.py", "personal_data.py", "mailer.py")
"""The Python code in which there are texts for readers."""
FOR_OPERATORS = ("mailbox/", "email/error_report")  # templates that are not translated
NOT_ENGLISH = re.compile(r"Microblog|light dark|[\w-]+=\"[^\"]*\"")  # a name, a value in CSS, attributes
ENGLISH = re.compile(r"(?<![A-Za-z])[A-Z][a-z]+(?=[ .!?]|$)|[A-Za-z]{2,},? [a-z]{2,}")
SENTENCE = re.compile(r"[A-Z].* .*[.!?]")
SHOWN_ATTRIBUTES = {"alt", "aria-label", "placeholder", "title"}
SHOWING = re.compile(
    r"flash|flash_once|add_error|abort|\w+Field|\w+_field|ValidationError|StopValidation|InputRequired|DataRequired"
    r"|Email|EqualTo|Regexp"
)
"""Functions whose arguments people see."""
SHOWN_KEYWORDS = {"title", "message", "label", "empty"}


@click.group()
def translate() -> None:
    """Write and check the catalogues of translations.

    They are the files src/app/locales/LANG/LC_MESSAGES/messages.po.
    """


@translate.command()
@click.argument("lang")
def init(lang: str) -> None:
    """Write an empty catalogue for the language LANG, such as fr."""
    if lang in known_languages():
        raise click.ClickException(f"The site is already translated into {lang}.")
    try:
        locale = Locale.parse(lang)
    except (UnknownLocaleError, ValueError):
        raise click.ClickException(f"{lang!r} is not the code of a language.") from None
    header = HEADER.format(name=locale.english_name)
    catalog = Catalog(locale, project="Microblog", header_comment=header, fuzzy=False)
    path = _path(lang)
    path.parent.mkdir(parents=True)
    _write(catalog, path)
    click.echo(f"Wrote {path} with {len(catalog)} messages.")


@translate.command()
def update() -> None:
    """Bring all catalogues up to date with the sources.

    New messages have no translation yet. Messages that are no longer used become comments.
    """
    for path in _paths():
        catalog = _read(path)
        _write(catalog, path)
        missing = sum(not all(_forms(message)) for message in catalog if message.id)
        click.echo(f"{catalog.locale}: {len(catalog)} messages, {missing} without a translation.")


@translate.command()
def check() -> None:
    """Check that everything people read is translated.

    The status is 1 if it is not.
    """
    faults = [*untranslatable_texts(), *(fault for path in _paths() for fault in catalogue_faults(path))]
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise click.exceptions.Exit(1)
    click.echo("All texts are translated.")


def _path(code: str) -> Path:
    return LOCALES / code / "LC_MESSAGES" / "messages.po"


def _paths() -> list[Path]:
    return [_path(code) for code in known_languages()[1:]]


def _read(path: Path) -> Catalog:
    try:
        with path.open("rb") as file:
            catalog = read_po(file, locale=path.parts[-3], abort_invalid=True)
        catalog.header_comment = path.read_text().partition("\nmsgid")[0]  # with its indentation
        return catalog
    except (OSError, ValueError, PoFileError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def _write(catalog: Catalog, path: Path) -> None:
    """Write `catalog`, brought up to date. It holds no dates and line numbers, so that few lines change."""
    catalog.update(messages_in_sources(), no_fuzzy_matching=True, update_creation_date=False)
    with path.open("wb") as file:
        write_po(file, catalog, width=110, include_lineno=False)


@cache
def messages_in_sources() -> Catalog:
    """Return the messages of all Python files and templates."""
    catalog = Catalog()
    found = extract_from_dir(ROOT, SOURCES, OPTIONS, KEYWORDS, (COMMENT_TAG,), strip_comment_tags=True)
    for name, line, message, comments, context in found:
        catalog.add(message, locations=[(name, line)], auto_comments=comments, context=context)
    return catalog


def _forms(message: Message) -> list[str]:
    """Return the translations of `message`: one, or one for each plural form; "" for missing ones."""
    forms = message.string if isinstance(message.string, list | tuple) else [message.string]
    return [str(form or "") for form in forms]


def _quoted(message: Message) -> str:
    return repr(message.id[0] if isinstance(message.id, list | tuple) else message.id)


def catalogue_faults(path: Path) -> Iterator[str]:
    """Yield a line for each fault of the catalogue at `path`."""
    code, catalog, sources = path.parts[-3], _read(path), messages_in_sources()
    expected = Catalog(code).plural_forms
    if catalog.plural_forms != expected:
        yield f"{code}: its header must say Plural-Forms: {expected}"
        return
    for message in sources:
        if message.id and catalog.get(message.id, message.context) is None:
            yield f"{code}: {_quoted(message)} is missing; run {UPDATE}."
    for message in [*catalog, *catalog.obsolete.values()]:
        if not message.id:
            continue
        if sources.get(message.id, message.context) is None:
            yield f"{code}: {_quoted(message)} is no longer used; delete it."
        elif message.fuzzy:
            yield f"{code}: {_quoted(message)} is marked as fuzzy."
        elif not all(_forms(message)) or len(_forms(message)) < _number_of_forms(message, catalog):
            yield f"{code}: {_quoted(message)} has no translation."
        else:
            yield from (f"{code}: {_quoted(message)}: {fault}" for fault in _differences(message, catalog))


def _number_of_forms(message: Message, catalog: Catalog) -> int:
    return catalog.num_plurals if message.pluralizable else 1


def _differences(message: Message, catalog: Catalog) -> Iterator[str]:
    """Yield what is wrong with the placeholders of a translation.

    A plural form that is used for one number only may leave out what the English singular leaves out.
    """
    ids = [str(text) for text in message.id] if message.pluralizable else [str(message.id)]
    singular, plural = (Counter(PLACEHOLDER.findall(text)) for text in (ids[0], ids[-1]))
    form_of = c2py(catalog.plural_expr)
    used = Counter(form_of(number) for number in NUMBERS)
    for index, form in enumerate(_forms(message)):
        placeholders = Counter(PLACEHOLDER.findall(form))
        allowed = [plural, singular] if used[index] == 1 else [plural]
        if placeholders not in allowed:
            missing, surplus = allowed[-1] - placeholders, placeholders - allowed[0]
            parts = [f"lacks {text}" for text in missing] + [f"has {text}" for text in surplus]
            yield f"the translation {form!r} {' and '.join(parts)}."


def untranslatable_texts() -> Iterator[str]:
    """Yield a line for each English text that is not passed to gettext."""
    for path in sorted((ROOT / "templates").rglob("*.*")):
        name = str(path.relative_to(ROOT / "templates"))
        if not name.startswith(FOR_OPERATORS):
            for text in texts_of_template(path.read_text(), is_html=path.suffix != ".txt"):
                yield f"templates/{name}: {text!r} is not passed to gettext."
    paths = [path for name in PAGES for path in ROOT.glob(name if "." in name else f"{name}/**/*.py")]
    trees = {path: ast.parse(path.read_text()) for path in sorted(paths) if path.name != "cli.py"}
    constants = {name: text for tree in trees.values() for name, text in _constants(tree)}
    for path, tree in trees.items():
        for text in texts_of_code(tree, constants):
            yield f"{path.relative_to(ROOT)}: {text!r} is not passed to gettext."


def texts_of_template(source: str, *, is_html: bool) -> Iterator[str]:
    """Yield the English texts in a template that are not passed to gettext."""
    environment = jinja2.Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    template = environment.parse(source)
    data = "".join(node.data for node in template.find_all(nodes.TemplateData))
    yield from filter(_is_english, ShownTexts(data).texts if is_html else data.splitlines())
    translated = {
        id(argument)
        for call in template.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name in KEYWORDS
        for argument in call.args
    }
    for constant in template.find_all(nodes.Const):
        if isinstance(constant.value, str) and id(constant) not in translated and _is_english(constant.value):
            yield constant.value


def _is_english(text: str) -> bool:
    return ENGLISH.search(NOT_ENGLISH.sub("", text)) is not None


class ShownTexts(HTMLParser):
    """The texts of a page, in elements and in attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.is_hidden = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take the attributes that people see or hear."""
        self.is_hidden = tag in ("script", "style")
        values = dict(attributes)
        about = values.get("property") or values.get("name") or ""
        is_submit = tag == "input" and values.get("type") == "submit"
        for name, value in attributes:
            if (
                name in SHOWN_ATTRIBUTES
                or name.startswith("data-")
                or (name == "value" and is_submit)
                or (name == "content" and about.endswith(("title", "description", "alt")))
            ):
                self.texts.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style sheet."""
        self.is_hidden = False

    def handle_data(self, data: str) -> None:
        """Take a text."""
        if not self.is_hidden:
            self.texts.append(" ".join(data.split()))


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the constants of a module that are plain text."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr):
            for target in node.targets:
                if isinstance(target, ast.Name) and (text := _plain(node.value, {})):
                    yield target.id, text


def _plain(node: ast.expr, constants: dict[str, str]) -> str:
    """Return the text of a string, an f-string or the name of a constant, "" for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_plain(part, constants) or "{}" for part in node.values)
    return constants.get(node.id, "") if isinstance(node, ast.Name) else ""


def texts_of_code(tree: ast.Module, constants: dict[str, str]) -> Iterator[str]:
    """Yield the English texts in a module that are shown without being passed to gettext.

    These are arguments of the functions SHOWING, subjects of mails, and sentences in constants.
    """
    shown: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            shown += node.args if SHOWING.fullmatch(_name(node)) else []
            shown += [keyword.value for keyword in node.keywords if keyword.arg in SHOWN_KEYWORDS]
        elif isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "subject" for target in node.targets
        ):
            shown.append(node.value)
    texts = [_plain(node, constants) for node in shown]
    yield from filter(_is_english, texts)
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        calls = [node for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
        translated = {id(part) for call in calls if _name(call) in KEYWORDS for part in call.args}
        for node in ast.walk(statement.value):
            if isinstance(node, ast.Constant) and id(node) not in translated and node.value not in texts:
                yield from filter(SENTENCE.fullmatch, [str(node.value)])


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
