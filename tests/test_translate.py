"""The command `microblog translate`: it writes catalogues, and finds every kind of fault that it names."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po, write_po
from click.testing import CliRunner, Result

from app.cli.translate import (
    catalogue_faults,
    texts_of_code,
    texts_of_template,
    translate,
    untranslatable_texts,
)
from tests.test_translations import catalogue

LOGIN = 'New User? <a href="/register%(query)s">Click to Register!</a>'
REPLIES = ("%(num)s reply", "%(num)s replies")
LOGINS = ("One more login from a new browser followed.", "%(num)s more logins from new browsers followed.")


@pytest.fixture
def locales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of catalogues."""
    monkeypatch.setattr("app.cli.translate.LOCALES", tmp_path)
    monkeypatch.setattr("app.settings.parsing.LOCALES", tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(translate, arguments)


def copied(code: str) -> Catalog:
    """Return a copy of a catalogue in which everything is translated."""
    copy = Catalog(code, fuzzy=False)
    for message in catalogue(code):
        if message.id:
            copy.add(message.id, message.string, context=message.context)
    return copy


def stored(catalog: Catalog, locales: Path, code: str) -> Path:
    path = locales / code / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, catalog)
    return path


def _of(catalog: Catalog, id_: str | tuple[str, str]) -> Message:
    message = catalog.get(id_)
    assert message is not None
    return message


def _set(id_: str | tuple[str, str], translation: str | tuple[str, ...]) -> Callable[[Catalog], None]:
    def change(catalog: Catalog) -> None:
        _of(catalog, id_).string = translation

    return change


FAULTS: dict[str, tuple[Callable[[Catalog], object], str]] = {
    "missing": (lambda catalog: catalog.delete("Log out"), "'Log out' is missing; run `microblog translate update`."),
    "empty": (_set("Log out", ""), "'Log out' has no translation."),
    "one form empty": (_set(REPLIES, ("%(num)s a", "", "%(num)s b")), "'%(num)s reply' has no translation."),
    "too few forms": (_set(REPLIES, ("%(num)s a", "%(num)s b")), "'%(num)s reply' has no translation."),
    "fuzzy": (lambda catalog: _of(catalog, "Log out").flags.add("fuzzy"), "'Log out' is marked as fuzzy."),
    "unused": (lambda catalog: catalog.add("Like", "Нравится"), "'Like' is no longer used; delete it."),
    "obsolete": (
        lambda catalog: catalog.obsolete.update(Like=Message("Like", "Нравится")),
        "'Like' is no longer used; delete it.",
    ),
    "no placeholder": (_set("Hi, %(username)s!", "Привет!"), "the translation 'Привет!' lacks %(username)s."),
    "another placeholder": (
        _set("Hi, %(username)s!", "Привет, %(name)s!"), "lacks %(username)s and has %(name)s.",
    ),
    "a placeholder of JavaScript": (_set("{num} left", "Осталось"), "lacks {num}."),
    "no tag": (_set(LOGIN, "Войти%(query)s"), "lacks </a>"),
    "a quotation mark in an attribute": (_set("Search", 'По"иск'), 'has ".'),
    "a percent sign": (_set("Hi, %(username)s!", "%(username)s 100%"), "has %."),
    "no number for 21": (_set(LOGINS, ("Ещё один", "%(num)s a", "%(num)s b")), "'Ещё один' lacks %(num)s."),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_a_catalogue_is_found(locales: Path, fault: str) -> None:
    catalog = copied("ru")
    change, line = FAULTS[fault]
    change(catalog)
    [found] = catalogue_faults(stored(catalog, locales, "ru"))
    assert found.startswith("ru: ")
    assert line in found


@pytest.mark.parametrize("rule", ["nplurals=2; plural=(n != 1);", "nplurals=3; plural=(n != ;"])
def test_the_plural_rule_is_that_of_the_language(locales: Path, rule: str) -> None:
    path = stored(copied("es"), locales, "ru")
    path.write_text(path.read_text().replace("nplurals=2; plural=(n != 1);", rule))
    assert [*catalogue_faults(path)] == [
        "ru: its header must say Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && "
        "n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"
    ]


def test_check_lists_the_faults_and_has_the_status_1(locales: Path) -> None:
    catalog = copied("ru")
    for id_ in ("Log out", "Search"):
        _set(id_, "")(catalog)
    stored(catalog, locales, "ru")
    result = run("check")
    assert result.exit_code == 1
    assert sorted(result.stderr.splitlines()) == [
        f"ru: {id_!r} has no translation." for id_ in ("Log out", "Search")
    ]


def test_a_complete_catalogue_is_accepted(locales: Path) -> None:
    spanish = copied("es")
    _set(LOGINS, ("Hubo uno más", "Hubo %(num)s más"))(spanish)  # its first form is for the number 1 only
    stored(spanish, locales, "es")
    result = run("check")
    assert (result.exit_code, result.output) == (0, "All texts are translated.\n")


@pytest.mark.parametrize("content", [b"nonsense", b"\xff\xfe"])
def test_a_catalogue_that_cannot_be_read_is_one_line(locales: Path, content: bytes) -> None:
    stored(Catalog("ru"), locales, "ru").write_bytes(content)
    for command in ("check", "update"):
        result = run(command)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {locales}/ru/LC_MESSAGES/messages.po: ")
        assert result.stderr.count("\n") == 1


def test_a_catalogue_is_begun_and_kept_up_to_date(locales: Path) -> None:
    assert run("init", "fr").exit_code == 0
    path = locales / "fr" / "LC_MESSAGES" / "messages.po"
    assert path.read_text().startswith("# French translations of Microblog.\n#\n# Glossary\n")
    assert "is already translated into fr" in run("init", "fr").stderr
    assert "is not the code of a language" in run("init", "no such").stderr
    with path.open("rb") as file:
        catalog = read_po(file)
    _set("Log out", "Quitter")(catalog)
    catalog.add("Like", "Aimer")
    catalog.delete("Search")
    with path.open("wb") as file:
        write_po(file, catalog)
    path.write_text(path.read_text().replace("# reply:\n", "# reply:\n#   in the header: short\n"))
    assert "fr: " in run("update").output
    content = path.read_text()
    assert "# reply:\n#   in the header: short\n# follow:\n" in content
    assert 'msgid "Log out"\nmsgstr "Quitter"' in content
    assert 'msgid "Search"\nmsgstr ""' in content
    assert '#~ msgid "Like"\n#~ msgstr "Aimer"' in content
    run("update")
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("<p>Log out</p>", ["Log out"]),
        ("<p>{{ _('Log out') }}{% trans %}Sign in{% endtrans %}</p>", []),
        ("<p>{% if more %}and more{% endif %}</p>", ["and more"]),
        ('<img alt="Your picture"><a title="Back">1</a>', ["Your picture", "Back"]),
        ('<input placeholder="Search" class="wide thing" type="text">', ["Search"]),
        ('<input type="submit" value="Send"><input type="hidden" value="Send">', ["Send"]),
        ('<p data-left="{num} too many" data-limit="140" aria-label="Main">', ["{num} too many", "Main"]),
        ("{{ 'Follow' if followed else _('Unfollow') }}", ["Follow"]),
        ("{{ render(form, label='Send it') }}{% set title = 'Your Data' %}", ["Send it", "Your Data"]),
        ('<meta name="description" content="A small site"><meta name="viewport" content="width of it">', ["A small site"]),
        ("<style>p { color: light dark }</style><p>Microblog {{ name }}, 140</p>", []),
        ("{{ ngettext('%(num)s reply', '%(num)s replies', n) }}{{ pgettext('button', 'Log Out') }}", []),
    ],
)  # fmt: skip
def test_texts_of_templates_outside_gettext_are_found(source: str, texts: list[str]) -> None:
    assert list(texts_of_template(source, is_html=True)) == texts


def test_texts_of_mails_outside_gettext_are_found() -> None:
    source = "{{ _('Dear %(name)s,', name=name) }}\n\nYou are welcome.\n{{ link }}\n"
    assert list(texts_of_template(source, is_html=False)) == ["You are welcome."]


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("class F:\n    name = StringField('Your name')", ["Your name"]),
        ("class F:\n    name = StringField(lazy_gettext('Your name'), [InputRequired(REQUIRED)])", []),
        ("class F:\n    name = UsernameField(label='Name')", ["Name"]),
        ("DONE = 'It is done.'\nasync def view():\n    await flash(DONE, 'success')", ["It is done."]),
        ("DONE = lazy_gettext('It is done.')\nasync def view():\n    await flash(DONE, 'success')", []),
        ("raise ValidationError(f'Too long by {n} characters')", ["Too long by {} characters"]),
        ("abort(400, 'This is wrong.')\nabort(404)", ["This is wrong."]),
        ("class M:\n    subject = 'Your password was changed'", ["Your password was changed"]),
        ("form.render('a/b.html', title='Your Data')", ["Your Data"]),
        ("REASONS = {1: ('Short', 'It is too short.')}", ["It is too short."]),
        ("log.warning('The database is down.')\nPATH = '/sessions'", []),
    ],
)
def test_texts_of_forms_and_views_outside_gettext_are_found(source: str, texts: list[str]) -> None:
    tree = ast.parse(source)
    constants = {"DONE": "It is done."} if "DONE = '" in source else {}
    assert list(texts_of_code(tree, constants)) == texts


def test_no_text_of_the_site_is_outside_gettext() -> None:
    assert list(untranslatable_texts()) == []
