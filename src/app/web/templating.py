"""Templates: compiled once for each language, with filters for texts; flashed messages; the Blueprint.

Nothing in these templates is awaited. Jinja's async mode would still make each block, macro and loop an async
generator, which costs a page of posts a fifth of its whole time.
"""

import textwrap
import unicodedata
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import jinja2
import markupsafe
import quart
from jinja2 import nodes, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape
from quart import Quart, request, session
from quart.globals import request_ctx
from quart.templating import Environment

from app.web import languages
from app.web.languages import Language

FLASHES_KEY = "_flashes"  # of the session, where `quart.flash` stores messages
MAIL_COLUMNS = 72
FIRST_CJK = "\u2e80"  # Chinese and Japanese are written without spaces
MAX_LINES = 10  # of a post that a page shows at once

escape_string: Callable[[str], str] = markupsafe._escape_inner  # type: ignore[attr-defined]
"""What `escape` calls before it wraps the result in a Markup, which takes five times as long.

A release of markupsafe without that name fails when this module is imported.
"""


class SyncTemplate(jinja2.Template):
    """A template whose `render_async`, which Quart calls, renders at once."""

    async def render_async(self, *args: Any, **kwargs: Any) -> str:
        """Return the rendered text."""
        return self.render(*args, **kwargs)


class SyncEnvironment(Environment):
    """Quart's environment with Jinja's async mode switched off and the templates of each language.

    `language`: that of its templates, into which they are translated when they are compiled. It is None in
    the app's own environment, whose `get_template` goes to the environment of the current language.
    """

    template_class = SyncTemplate
    language: Language | None = None

    def __init__(self, app: Quart, **options: Any) -> None:
        super().__init__(app, **options)
        self.is_async = False
        self.code_generator_class = TranslatingCodeGenerator
        self.translated: dict[str, SyncEnvironment] = {}

    def get_template(self, name: Any, *args: Any, **kwargs: Any) -> jinja2.Template:
        """Return the template called `name` in the current language."""
        if self.language is not None:
            return super().get_template(name, *args, **kwargs)
        language = languages.current()
        if language.code not in self.translated:
            self.translated[language.code] = self.overlay()
            self.translated[language.code].language = language
        return self.translated[language.code].get_template(name, *args, **kwargs)

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return the global names of a template: the environment's own, if it has no others.

        Jinja puts a ChainMap around them, whose keys take a tenth of a template's time.
        """
        return super().make_globals(d) if d else self.globals


class TranslatingCodeGenerator(CodeGenerator):
    """Jinja's compiler, for templates in one language and with a faster `escape`.

    Each of the two saves a quarter of the time of a page's template.
    """

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        """Write the code of a template, which finds `escape` among the names of its module."""
        language = self.environment.language  # type: ignore[attr-defined]
        if language is not None:
            Translator(language).visit(node)
        super().visit_Template(node, frame)
        self.writeline(f"from {__name__} import escape_output as escape")


class Translator(NodeTransformer):
    """Replaces each call that asks for a constant text by the text in `language`."""

    def __init__(self, language: Language) -> None:
        gettext, pgettext = language.texts.gettext, language.texts.pgettext
        self.functions: dict[str, Callable[..., Any]] = {
            "_": gettext,
            "gettext": gettext,
            "pgettext": pgettext,
        }

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """Return what takes the place of a call."""
        self.generic_visit(node)
        function = self.functions.get(node.node.name) if isinstance(node.node, nodes.Name) else None
        arguments = [argument.value for argument in node.args if isinstance(argument, nodes.Const)]
        if function is None or node.kwargs or len(arguments) < len(node.args):
            return node
        text = nodes.Const(function(*arguments) % {}, lineno=node.lineno)  # messages write "%" as "%%"
        return nodes.MarkSafeIfAutoescape(text, lineno=node.lineno)


def escape_output(value: object) -> str:
    """Return `value` escaped for a page, like markupsafe's `escape` but as plain text."""
    if type(value) is str:
        return escape_string(value)
    if type(value) is Markup:
        return value
    return str(value) if type(value) is int else escape(value)


class Blueprint(quart.Blueprint):
    """Quart's Blueprint without the template context processor it inherits from Flask.

    That one adds nothing in Quart 0.22, but it is sync, so Quart would run it in a thread for every page.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.template_context_processors.clear()


def init_app(app: Quart) -> None:
    """Set up the templates of `app`; must run before anything reads `app.jinja_env`."""
    app.jinja_environment = SyncEnvironment
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.newstyle_gettext = True  # type: ignore[attr-defined] # of the extension
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.jinja_env.globals.update(gettext=_gettext, ngettext=_ngettext, pgettext=_pgettext, _=_gettext)
    app.jinja_env.filters.update(fold=fold, wrap=wrap, facts=facts)

    @app.before_request
    async def keep_flashes_on_head() -> None:
        """Keep flashed messages for the next GET: nobody sees the body of a response to HEAD."""
        if request.method == "HEAD":
            request_ctx.flashes = []  # type: ignore[assignment]


@pass_eval_context
def _gettext(context: nodes.EvalContext, message: str, /, **variables: Any) -> str:
    return _fill(context, languages.current().texts.gettext(message), variables)


@pass_eval_context
def _ngettext(context: nodes.EvalContext, singular: str, plural: str, num: int, /, **variables: Any) -> str:
    text = languages.current().texts.ngettext(singular, plural, num)
    return _fill(context, text, {"num": num, **variables})


@pass_eval_context
def _pgettext(context: nodes.EvalContext, meaning: str, message: str, /, **variables: Any) -> str:
    return _fill(context, str(languages.current().texts.pgettext(meaning, message)), variables)


def _fill(context: nodes.EvalContext, text: str, variables: dict[str, Any]) -> str:
    """Return a text of a catalogue, which is markup in a template for HTML, with `variables` in it."""
    return languages.current().fill(Markup(text) if context.autoescape else text, variables)  # noqa: S704


def wrap(text: str) -> str:
    """Return a paragraph of a mail in lines of MAIL_COLUMNS; one in Chinese or Japanese is not wrapped."""
    if any(character >= FIRST_CJK for character in text):
        return text
    return textwrap.fill(text, MAIL_COLUMNS, break_long_words=False, break_on_hyphens=False)


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return the names and values in `rows` as two columns of a mail, without those that have no value."""
    width = max(_columns(name) for name, _ in rows)
    return "\n".join(f"{name}{' ' * (width - _columns(name))} {value}" for name, value in rows if value)


def _columns(text: str) -> int:
    """Return how many columns `text` takes: Chinese signs are as wide as two letters."""
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


def fold(text: str) -> tuple[str, str]:
    """Return the first MAX_LINES lines of `text` and the rest, which pages show on request."""
    if text.isprintable():  # one line
        return text, ""
    lines = text.splitlines(keepends=True)
    if len(lines) <= MAX_LINES:
        return text, ""
    return "".join(lines[:MAX_LINES]).rstrip("\r\n"), "".join(lines[MAX_LINES:])


async def flash(message: str, category: str = "message") -> None:
    """Show `message`, in the language of this page, on the next one."""
    await quart.flash(str(message), category)


async def flash_once(message: str) -> None:
    """Flash `message` unless it is already waiting for the next page."""
    if all(waiting != str(message) for _, waiting in session.get(FLASHES_KEY, ())):
        await flash(message)
